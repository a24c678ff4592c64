"""
The press of a button under a message of the bot, as a message of who pressed it.

    {"callback_query": {"data": "/new", "from": ..., "message": ...}}
    --> Message(type=COMMAND, command="new", text="", ...)

None means that there is nothing to answer: a game, or a message that was sent by inline
mode, whose chat Telegram does not tell.  Of a message that is too old Telegram sends
only the chat and the id.  Every member of a chat can press a button, and a
program can send other data than the bot gave it.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING

from crocbot import log
from crocbot.content import Context, Press, QuotedMessage
from crocbot.envelope import context
from crocbot.envelope.raw import object_at
from crocbot.errors import EnvelopeError
from crocbot.events import UpdateType
from crocbot.model import BotIdentity, ChatThread, Message, MessageType, RawUpdate, Row
from crocbot.text import replace_lone_surrogates

if TYPE_CHECKING:
    from crocbot.envelope.message import Fields

COMMAND = re.compile(r"/([A-Za-z0-9_]{1,64})(?:@([A-Za-z0-9_]+))?(?:\s+(.*))?", re.S)
STOP = "stop"
# Telegram's own limit is 64 bytes.
MAX_DATA_CHARS = 1024
MAX_LABEL_CHARS = 64

logger = log.logger(__name__)


def read(
    query: Fields, row: Row, bot: BotIdentity, thread_id: int | None
) -> Message | None:
    """Return a press in this topic as a message, or None.  Raise EnvelopeError."""
    sender, message = query.fields("from"), query.optional_fields("message")
    if message is None or not query.has("data") or sender.has("is_bot"):
        return None
    data = replace_lone_surrogates(query.text("data")[:MAX_DATA_CHARS])
    command, text = _command(data, bot)
    chat = message.fields("chat")
    press = Press(query.text("id"), data, _label(message, data))
    return Message(
        update_id=row.update_id,
        chat=ChatThread(chat.integer("id"), thread_id),
        message_id=message.integer("message_id"),
        sender_id=sender.integer("id"),
        private=chat.text("type") == "private",
        type=MessageType.TEXT if command is None else MessageType.COMMAND,
        text=text,
        command=command,
        accepted_at=row.accepted_at,
        context=Context(
            sender=context.author(query), quoted=_quoted(message, bot), press=press
        ),
    )


def _command(data: str, bot: BotIdentity) -> tuple[str | None, str]:
    """Return the command in the data of a button, and the text after it."""
    found = COMMAND.fullmatch(data)
    if found is None or (found[2] or bot.username).lower() != bot.username.lower():
        return None, data
    if found[1].lower() == STOP and found[2]:
        # Whether it overtakes the queue is decided without the name of the bot.
        return None, data
    return found[1].lower(), (found[3] or "").strip()


def _quoted(message: Fields, bot: BotIdentity) -> QuotedMessage | None:
    """Return the message with the button, None if Telegram does not show it."""
    if not message.has("date"):
        return None
    try:
        return context.contents(message, bot)
    except EnvelopeError as error:
        logger.warning(context.SKIPPED, error=str(error))
        return None


def _label(message: Fields, data: str) -> str | None:
    """Return what the button with this data shows, None if there is no such button."""
    try:
        markup = message.optional_fields("reply_markup")
        rows = [] if markup is None else markup.raw("inline_keyboard")
        buttons = [each for row in rows for each in row] if rows else []
        pressed = (each for each in buttons if each.get("callback_data") == data)
        label = next((each["text"] for each in pressed), None)
    except (EnvelopeError, TypeError, AttributeError, KeyError):
        return None
    if not isinstance(label, str):
        return None
    return context.one_line(label, MAX_LABEL_CHARS)


def is_stop(raw: RawUpdate) -> bool:
    """
    Return whether an update is a press of a button with the command /stop.

    Reads raw JSON and never raises.
    """
    data = object_at(raw, UpdateType.CALLBACK_QUERY).get("data")
    found = COMMAND.fullmatch(data) if isinstance(data, str) else None
    return found is not None and found[1].lower() == STOP and not found[2]


def press_key(raw: RawUpdate) -> Hashable:
    """
    Return what two presses of one button by one person have in common, None without.

    Reads raw JSON and never raises.
    """
    query = object_at(raw, UpdateType.CALLBACK_QUERY)
    message, sender = object_at(query, "message"), object_at(query, "from")
    chat = object_at(message, "chat")
    place = chat.get("id"), message.get("message_id")
    key = *place, sender.get("id"), query.get("data")
    return key if all(isinstance(each, int | str) for each in key) else None
