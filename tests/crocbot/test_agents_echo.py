"""The echo agent."""

from __future__ import annotations

import pytest

from crocbot.agents.echo import Echo
from crocbot.model import Attachment, Prompt
from tests.crocbot.fakes import a_message


@pytest.mark.parametrize(
    ("text", "command", "type_", "answer"),
    [
        ("hello", None, None, "hello"),
        (" two  words\n", None, None, " two  words\n"),
        ("now", "ask", None, "/ask now"),
        ("", "ask", None, "/ask"),
        ("a cat", None, "photo", "a cat"),
        ("", None, "video_note", "Received: video note, without words."),
        (" ", None, None, "Received: something, without words."),
        ("\u200b", None, None, "Received: something, without words."),
    ],
)
async def test_echo(
    text: str, command: str | None, type_: str | None, answer: str
) -> None:
    """The echo is the same text, or the types of the attachments without one."""
    attachments = (Attachment(type_, "something"),) if type_ else ()
    message = a_message(text, command=command, attachments=attachments)

    assert [part async for part in Echo().answer(Prompt(message))] == [answer]
    assert await Echo().check() == "echo answers the same text"
