"""`crocbot send`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from crocbot.cli import common
from crocbot.errors import CrocbotError, OperatorError

if TYPE_CHECKING:
    from crocbot.pushed import NewFile, PushedMessage


@click.command(
    # An id of a group, and a text, may begin with a minus.
    context_settings={"help_option_names": ["--help"], "ignore_unknown_options": True},
)
@click.option(
    "--file",
    "files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Send this file.",
)
@click.option("--plain", is_flag=True, help="The text is not Markdown.")
@click.option("--list", "lists", is_flag=True, help="List the latest messages.")
@click.argument("chat", required=False)
@click.argument("text", required=False)
def send(
    *,
    files: Sequence[Path],
    plain: bool,
    lists: bool,
    chat: str | None,
    text: str | None,
) -> None:
    """Send TEXT, or with `-` the standard input, to CHAT.

    CHAT is the id of a user or group, or ID:TOPIC.  With --file TEXT is its caption.
    The message is stored: a running gateway sends it within two seconds, a stopped one
    after its next start.
    """
    from crocbot import pushed, store

    chosen = common.database_settings()
    if lists:
        with common.opened(chosen, [pushed.SCHEMA]) as connection:
            now = store.load_clock(connection).read().time
            lines = list(pushed.describe(connection, now))
        for line in lines:
            click.echo(line)
        return
    if chat is None or (text is None and not files):
        raise click.UsageError("CHAT, and TEXT or --file, are needed")
    if len(files) > 1:
        raise click.UsageError("a message has one file: --file is given twice")
    file = next(iter(files), None)
    message = _message(chat, text, file, markdown=not plain)
    try:
        with common.opened(chosen, [pushed.SCHEMA]) as connection:
            now = store.load_clock(connection).read().time
            push_id = pushed.add(connection, message, now)
            runs = common.gateway_runs(chosen, connection)
    except pushed.PushedFullError as error:
        raise CrocbotError(f"{error}: see crocbot send --list") from error
    when = "" if runs else "; no gateway runs, it is sent after the next start"
    click.echo(f"stored: message {push_id} for chat {message.chat.key}{when}")


def _message(
    chat: str, text: str | None, file: Path | None, *, markdown: bool
) -> PushedMessage:
    """Return the message of the arguments.  Raise OperatorError."""
    from crocbot import pushed

    if text == "-":
        if sys.stdin is None:
            raise OperatorError("-: the standard input is closed")
        # One byte more than a text may have, so that a longer one is refused.
        content = sys.stdin.buffer.read(pushed.MAX_TEXT_BYTES + 1)
        text = content.decode("utf-8", "replace")
    # What is not UTF-8 on the command line.
    given = (text or "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    try:
        return pushed.new_message(
            chat, given, file=None if file is None else _read(file), markdown=markdown
        )
    except pushed.RequestError as error:
        raise OperatorError(str(error)) from error


def _read(file: Path) -> NewFile:
    """Return a file and its content.  Raise OperatorError."""
    from crocbot.outgoing import MAX_FILE_BYTES
    from crocbot.pushed import NewFile

    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OperatorError(f"--file: cannot read {file}: {reason}") from error
    return NewFile(name=file.name, content=content)
