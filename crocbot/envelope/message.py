"""
One raw update to a Message, or to None.  Telegram's types stop here.

    {"update_id": 7, "message": {"text": "/start@our_bot now", ...}}
                      |                   |    |       |
                      new messages only   command      text

None means that the update is valid but needs no answer:

- it is not a new message: an edit, reaction, channel post, membership, query;
- it is a service message: a user joined, a group's photo changed, ...;
- it is a command for another bot, or was written by a bot, so that two bots never
  answer each other.

An update that cannot be read raises `EnvelopeError`, whatever is wrong with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import telegram
from telegram import MessageEntity

from crocbot.envelope import media
from crocbot.errors import EnvelopeError
from crocbot.model import (
    BotIdentity,
    ChatThread,
    Message,
    MessageType,
    RawUpdate,
    Row,
)
from crocbot.text import MAX_MESSAGE_UNITS, replace_lone_surrogates, utf16_length

STOP = "/stop"


def chat_key(raw: RawUpdate) -> Hashable:
    """Return the id of the chat in which an update keeps its order, or None."""
    for value in raw.values():
        if not isinstance(value, Mapping):
            continue
        inner = value.get("message")
        source = inner if isinstance(inner, Mapping) else value
        chat = source.get("chat")
        if isinstance(chat, Mapping) and isinstance(chat.get("id"), int):
            return int(chat["id"])
    return None


def is_stop(raw: RawUpdate) -> bool:
    """Return whether the update is the command /stop, which overtakes the queue."""
    message = raw.get("message")
    text = message.get("text") if isinstance(message, Mapping) else None
    if not isinstance(text, str) or not text.startswith("/"):
        return False
    return text.split(maxsplit=1)[0].partition("@")[0].lower() == STOP


def read(row: Row, bot: BotIdentity) -> Message | None:
    """Read a row for this bot.  Raise EnvelopeError."""
    try:
        # PTB checks no types: a wrong one may raise only where it is used.
        update = telegram.Update.de_json(dict(row.raw), None)
        return _read(update.message, row, bot) if update.message else None
    except Exception as error:
        raise EnvelopeError(f"unreadable update: {type(error).__name__}") from error


def _read(message: telegram.Message, row: Row, bot: BotIdentity) -> Message | None:
    if message.from_user and message.from_user.is_bot and not message.sender_chat:
        return None
    attachment = None if message.text is not None else media.read(message)
    if message.text is None and attachment is None:
        return None
    command, text = _command(message)
    if command is not None:
        command, _, target = command.lower().partition("@")
        if target and target != bot.username.lower():
            return None
    private = message.chat.type == telegram.Chat.PRIVATE
    return Message(
        update_id=row.update_id,
        chat=ChatThread(_integer(message.chat.id), _topic(message)),
        message_id=_integer(message.message_id),
        sender_id=_sender(message),
        private=private,
        type=_type(command, attachment),
        text=replace_lone_surrogates(text),
        command=command,
        accepted_at=row.accepted_at,
        attachments=(attachment,) if attachment else (),
        addressed=private or _is_addressed(message, bot),
        full_length=utf16_length(message.text or "") == MAX_MESSAGE_UNITS,
    )


def _command(message: telegram.Message) -> tuple[str | None, str]:
    """
    Return the command as written, if there is one, and the text after it.

    Telegram marks commands; only one at the very start is for a bot.  Its length is in
    UTF-16 units, but a command is ASCII, so these are characters.
    """
    if message.text is None:
        return None, message.caption or ""
    for entity in message.entities:
        if entity.type == MessageEntity.BOT_COMMAND and entity.offset == 0:
            text = message.text[entity.length :].strip()
            return message.text[1 : entity.length], text
    return None, message.text


def _type(command: str | None, attachment: object) -> MessageType:
    if command is not None:
        return MessageType.COMMAND
    return MessageType.MEDIA if attachment else MessageType.TEXT


def _is_addressed(message: telegram.Message, bot: BotIdentity) -> bool:
    """Return whether a message in a group mentions the bot or replies to it."""
    if _is_by(bot, message.reply_to_message):
        return True
    entities = {**message.parse_entities(), **message.parse_caption_entities()}
    return any(_mentions(bot, entity, text) for entity, text in entities.items())


def _is_by(bot: BotIdentity, original: telegram.Message | None) -> bool:
    if original is None or original.from_user is None:
        return False
    # In a topic every message replies to the one that opened the topic.
    return original.from_user.id == bot.user_id and not original.forum_topic_created


def _mentions(bot: BotIdentity, entity: MessageEntity, text: str) -> bool:
    """
    Return whether a marked part of the text is the bot's name.

        @our_bot    /ask@our_bot    Our Bot, as a link to the user
    """
    if entity.type == MessageEntity.TEXT_MENTION:
        return entity.user is not None and entity.user.id == bot.user_id
    if entity.type in (MessageEntity.MENTION, MessageEntity.BOT_COMMAND):
        return text.lower().partition("@")[2] == bot.username.lower()
    return False


def _sender(message: telegram.Message) -> int | None:
    """Return the user's id; None for a chat, which writes through a stand-in user."""
    if message.from_user is None or message.sender_chat is not None:
        return None
    return _integer(message.from_user.id)


def _topic(message: telegram.Message) -> int | None:
    """Return the forum topic; elsewhere the id only names a chain of replies."""
    if not message.is_topic_message or message.message_thread_id is None:
        return None
    return _integer(message.message_thread_id)


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected an integer, got {type(value).__name__}")
    return value
