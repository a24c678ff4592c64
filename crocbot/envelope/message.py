"""
One raw update to a Message, or to None.  Telegram's types stop here.

    {"update_id": 7, "message": {"text": "/start@our_bot now", ...}}
                      |                   |    |       |
                      new messages only   command      text

None means: nothing for us, and that is no fault.  These are None:

- updates that are no new message: edits, reactions, channel posts, members, queries;
- messages that a service wrote: somebody joined, a photo of the group changed, ...;
- commands for another bot, and everything that bots write, so that two never chat.

What cannot be read raises `EnvelopeError`, whatever is wrong with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import telegram

from crocbot.envelope import media
from crocbot.errors import EnvelopeError
from crocbot.model import (
    Attachment,
    BotIdentity,
    ChatThread,
    Message,
    MessageType,
    RawUpdate,
    Row,
)
from crocbot.text import whole

STOP = "/stop"


def chat_key(raw: RawUpdate) -> Hashable:
    """The chat whose order an update belongs to; looks at the raw JSON only."""
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
    """Whether this asks to stop what its chat is busy with, and so cannot wait."""
    message = raw.get("message")
    text = message.get("text") if isinstance(message, Mapping) else None
    if not isinstance(text, str) or not text.startswith("/"):
        return False
    return text.split(maxsplit=1)[0].partition("@")[0].lower() == STOP


def read(row: Row, me: BotIdentity) -> Message | None:
    """Read a row; what `me` is decides which commands are ours."""
    try:
        # Telegram's JSON is read leniently; a wrong type may show up only when used.
        update = telegram.Update.de_json(dict(row.raw), None)
        return _message(update.message, row, me) if update.message else None
    except Exception as error:
        raise EnvelopeError(f"unreadable update: {type(error).__name__}") from error


def _message(message: telegram.Message, row: Row, me: BotIdentity) -> Message | None:
    if message.from_user and message.from_user.is_bot and not message.sender_chat:
        return None
    kind, text, command, medium = _content(message)
    if kind is None:
        return None
    if not isinstance(text, str):
        raise TypeError("the text is no text")
    if command is not None:
        command, _, target = command.lower().partition("@")
        if target and target != me.username.lower():
            return None
    return Message(
        update_id=row.update_id,
        chat=ChatThread(_whole(message.chat.id), _thread(message)),
        message_id=_whole(message.message_id),
        sender_id=_sender(message),
        private=message.chat.type == telegram.Chat.PRIVATE,
        type=kind,
        text=whole(text),
        command=command,
        accepted_at=row.accepted_at,
        attachments=(medium,) if medium else (),
        addressed=message.chat.type == telegram.Chat.PRIVATE or _for(me, message),
    )


def _for(me: BotIdentity, message: telegram.Message) -> bool:
    """Whether it mentions the bot, or replies to it."""
    if _answers(me, message.reply_to_message):
        return True
    marked = {**message.parse_entities(), **message.parse_caption_entities()}
    name = me.username.lower()
    return any(
        _names(entity, words.lower(), me.user_id, name)
        for entity, words in marked.items()
    )


def _answers(me: BotIdentity, replied: telegram.Message | None) -> bool:
    """Whether a message that was replied to is ours."""
    if replied is None or replied.from_user is None:
        return False
    # In a topic everything replies to the topic's beginning.
    return replied.from_user.id == me.user_id and not replied.forum_topic_created


def _names(entity: telegram.MessageEntity, words: str, user_id: int, name: str) -> bool:
    """
    Whether a marked part of the text is the bot's name.

        @our_bot    /ask@our_bot    Our Bot, as a link to the user
    """
    if entity.type == telegram.MessageEntity.TEXT_MENTION:
        return entity.user is not None and entity.user.id == user_id
    if entity.type in (
        telegram.MessageEntity.MENTION,
        telegram.MessageEntity.BOT_COMMAND,
    ):
        return words.partition("@")[2] == name
    return False


def _content(
    message: telegram.Message,
) -> tuple[MessageType | None, str, str | None, Attachment | None]:
    """What it is, its text, the command as written, and which medium."""
    if message.text is not None:
        command, text = _command(message.text, message.entities)
        return (
            (MessageType.COMMAND if command else MessageType.TEXT),
            text,
            command,
            None,
        )
    medium = media.read(message)
    if medium is None:
        return None, "", None, None
    return MessageType.MEDIA, message.caption or "", None, medium


def _command(
    text: str, entities: tuple[telegram.MessageEntity, ...]
) -> tuple[str | None, str]:
    """
    Telegram marks commands; only one at the very start is meant for the bot.

    Its length is in UTF-16 units, but a command is ASCII, so these are characters.
    """
    for entity in entities:
        if entity.type == telegram.MessageEntity.BOT_COMMAND and entity.offset == 0:
            return text[1 : entity.length], text[entity.length :].strip()
    return None, text


def _sender(message: telegram.Message) -> int | None:
    """Who wrote; None for a chat that speaks through a stand-in user."""
    if message.from_user is None or message.sender_chat is not None:
        return None
    return _whole(message.from_user.id)


def _thread(message: telegram.Message) -> int | None:
    """The forum topic; elsewhere the id only names a chain of answers."""
    if not message.is_topic_message or message.message_thread_id is None:
        return None
    return _whole(message.message_thread_id)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"expected a whole number, got {type(value).__name__}")
    return value
