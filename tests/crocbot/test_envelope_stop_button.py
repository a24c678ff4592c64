"""A press of Telegram's Stop button is the command /stop."""

from __future__ import annotations

from typing import Any

import pytest

from crocbot import envelope
from crocbot.errors import EnvelopeError
from crocbot.model import BotIdentity, ChatThread, MessageType, Row

BOT = BotIdentity(1, "our_bot")
PRIVATE = {"id": 7, "type": "private", "first_name": "Ada"}


def row(**stopped: Any) -> Row:
    """Return the row of a press."""
    update = {"update_id": 9, "stopped_message_generation": stopped}
    return Row(9, update, 5.0)


def test_a_press() -> None:
    """It comes from the person whose private chat it is, and overtakes the queue."""
    pressed = row(chat=PRIVATE, draft_id=3, message_thread_id=4)
    message = envelope.read(pressed, BOT)

    assert message is not None
    assert (message.command, message.stopped_draft) == ("stop", 3)
    assert (message.sender_id, message.chat) == (7, ChatThread(7, 4))
    assert message.private
    assert envelope.is_stop(pressed.raw)
    assert envelope.chat_key(pressed.raw) == 7
    assert envelope.guess_type(pressed.raw) is message.type is MessageType.COMMAND


def test_a_press_in_a_group() -> None:
    """It does not name its sender, so it is ignored."""
    group = {"id": -5, "type": "group", "title": "Crocodiles"}
    assert envelope.read(row(chat=group, draft_id=3), BOT) is None


@pytest.mark.parametrize(
    "stopped",
    [
        {},
        {"chat": PRIVATE},
        {"chat": 7, "draft_id": 3},
        {"chat": {"id": "7", "type": "private"}, "draft_id": 3},
        {"chat": PRIVATE, "draft_id": "3"},
        {"chat": PRIVATE, "draft_id": 3, "message_thread_id": "x"},
    ],
)
def test_unreadable_presses(stopped: dict[str, Any]) -> None:
    """The error names the field."""
    with pytest.raises(EnvelopeError, match="stopped_message_generation"):
        envelope.read(row(**stopped), BOT)
