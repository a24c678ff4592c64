"""`crocbot chat`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from crocbot.cli import common


@click.command()
@click.option(
    "--user",
    type=click.IntRange(1, common.MAX_ID),
    help="Your user id, for access as it is set; else you are let in.",
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the conversation there; else it is forgotten.",
)
@click.option(
    "--files",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for files of answers; else a new temporary one.",
)
def chat(user: int | None, state_dir: Path | None, files: Path | None) -> int:
    """Talk to the agent in the terminal; needs no bot.

    A line is a message. /file PATH CAPTION sends a file, /press N presses a button.
    Ctrl-C stops an answer, Ctrl-D ends the chat. Lines may also come from a pipe:
    the exit code is 1 then if one of them got no answer.
    """
    from crocbot import chat as chats
    from crocbot.chat.screen import open_missing_descriptors
    from crocbot.service.shutdown import exit_now

    open_missing_descriptors()
    session = chats.Session(
        environment=os.environ, user=user, state_dir=state_dir, files=files
    )
    code = common.run_async(session.run())
    # The agent's function may have left threads that Python would wait for.
    exit_now(code)
    return code
