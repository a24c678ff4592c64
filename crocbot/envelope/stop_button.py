"""
Telegram's Stop button below a draft, as the command /stop.

    {"stopped_message_generation": {"chat": {"id": 7, ...}, "draft_id": 3}}
    --> Message(command="stop", stopped_draft=3, sender_id=7)

The update does not name the sender: in a private chat, where drafts are, the id of the
chat is theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crocbot.model import ChatThread, Message, MessageType, RawUpdate, Row

if TYPE_CHECKING:
    from crocbot.envelope.message import Fields

KEY = "stopped_message_generation"


def is_pressed(raw: RawUpdate) -> bool:
    """Return whether an update is a press of the button."""
    return raw.get(KEY) is not None


def read(stopped: Fields, row: Row) -> Message | None:
    """Return the message; None outside of private chats.  Raise EnvelopeError."""
    chat = stopped.fields("chat")
    if chat.text("type") != "private":
        return None
    chat_id = chat.integer("id")
    return Message(
        update_id=row.update_id,
        chat=ChatThread(chat_id, stopped.optional_integer("message_thread_id")),
        message_id=0,
        sender_id=chat_id,
        private=True,
        type=MessageType.COMMAND,
        text="",
        command="stop",
        accepted_at=row.accepted_at,
        stopped_draft=stopped.integer("draft_id"),
    )
