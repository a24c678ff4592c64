"""The agent that needs nothing from outside."""

from __future__ import annotations

import asyncio

import pytest

from crocbot.agents.echo import Echo
from crocbot.model import Attachment, ChatThread, Message, MessageType, Prompt


async def said(prompt: Prompt) -> list[object]:
    """Everything that the echo says."""
    return [piece async for piece in Echo().answer(prompt)]


@pytest.mark.parametrize(
    ("text", "command", "media", "answer"),
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
def test_echo(text: str, command: str | None, media: str | None, answer: str) -> None:
    """The echo says the same, or what came when there were no words."""
    kind = (
        MessageType.COMMAND
        if command
        else MessageType.MEDIA
        if media
        else MessageType.TEXT
    )
    sent = (Attachment(media, "something"),) if media else ()
    message = Message(1, ChatThread(7), 1, 7, True, kind, text, command, 0.0, sent)

    assert asyncio.run(said(Prompt(message))) == [answer]
    assert asyncio.run(Echo().check()) == "echo answers the same text"
