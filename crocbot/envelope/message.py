"""
One raw update to a Message, or to None.  Telegram's types stop here.

    {"update_id": 7, "message": {"text": "/start@our_bot now", ...}}
                      |                   |    |       |
                      new messages only   command      text

None means that the update is valid but needs no answer:

- it is neither a message, an edit nor the press of a button: a reaction, a channel
  post, a change of membership;
- it is a service message: a user joined, a group's photo changed, ...;
- it is a command for another bot, or was written by a bot, so that two bots never
  answer each other.

Only the parts that are used are read.  One that is wrong is skipped if the message can
be understood without it, and logged.  Otherwise `EnvelopeError` names the field.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

from crocbot import log
from crocbot.envelope import context, media, press, stop_button
from crocbot.envelope.addressed import is_addressed
from crocbot.envelope.context import SKIPPED
from crocbot.envelope.rich import rich_text
from crocbot.errors import EnvelopeError
from crocbot.events import UpdateType
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
COMMAND_ENTITY = "bot_command"
GENERAL_TOPIC_ID = 1
# Telegram keeps an update for a day; a longer lag is the difference of two clocks.
MAX_LAG_SECONDS = 86_400.0
MAX_DATE = 2**40

# Old servers send these for a field that newer ones leave out.
ABSENT: tuple[Any, ...] = (None, False, "", [])
# Telegram's longest, and SQLite's.
MAX_INTEGER = 2**63 - 1

logger = log.logger(__name__)


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
    """Return whether the update is /stop or its button, which overtake the queue."""
    if stop_button.is_pressed(raw):
        return True
    source = raw.get("message")
    if source is None:
        return press.is_stop(raw)
    text = source.get("text") if isinstance(source, Mapping) else None
    if not isinstance(text, str) or not text.startswith("/"):
        return False
    return _first_word(source, text).partition("@")[0].lower() == STOP


def _first_word(message: Mapping[str, Any], text: str) -> str:
    """
    Return the command that a text begins with, without what follows: "/stop!".

    A text that begins with code or the like has none; Telegram marks all others.
    """
    entities = message.get("entities")
    first = [
        each
        for each in (entities if isinstance(entities, list) else ())
        if isinstance(each, Mapping) and each.get("offset") == 0
    ]
    for entity in first:
        length = entity.get("length")
        if entity.get("type") == COMMAND_ENTITY and is_integer(length):
            return text[:length]
    return "" if first else text.split(maxsplit=1)[0]


def lag_seconds(raw: RawUpdate, now: float) -> float | None:
    """
    Return how long before Unix time `now` a message was sent, None if it has no date.

    It is never below 0, also if Telegram's clock is ahead.
    """
    message = raw.get("message")
    date = message.get("date") if isinstance(message, Mapping) else None
    if type(date) is not int or date <= 0:
        return None
    return float(min(max(0.0, now - min(date, MAX_DATE)), MAX_LAG_SECONDS))


def chat_move(raw: RawUpdate) -> tuple[int, int] | None:
    """Return the old and the new id of a group that became a supergroup, or None."""
    message = raw.get("message")
    chat = message.get("chat") if isinstance(message, Mapping) else None
    if not isinstance(message, Mapping) or not isinstance(chat, Mapping):
        return None
    here, there = chat.get("id"), message.get("migrate_to_chat_id")
    if there is None:
        here, there = message.get("migrate_from_chat_id"), here
    if not is_integer(here) or not is_integer(there) or here == there:
        return None
    return here, there


def guess_type(raw: RawUpdate) -> MessageType | None:
    """Return the type of a message without reading it; None if it is no message."""
    if stop_button.is_pressed(raw):
        return MessageType.COMMAND
    message = raw.get("message")
    if not isinstance(message, Mapping):
        return None
    text = message.get("text")
    if text is None:
        return MessageType.MEDIA
    is_command = isinstance(text, str) and text.startswith("/")
    return MessageType.COMMAND if is_command else MessageType.TEXT


def read(row: Row, bot: BotIdentity) -> Message | None:
    """Read a row for this bot.  Raise EnvelopeError."""
    try:
        if (message := row.raw.get(UpdateType.MESSAGE)) is not None:
            return _read(Fields(message, UpdateType.MESSAGE), row, bot)
        if (message := row.raw.get(UpdateType.EDITED_MESSAGE)) is not None:
            edited = _read(Fields(message, UpdateType.EDITED_MESSAGE), row, bot)
            return None if edited is None else replace(edited, edited=True)
        if (query := row.raw.get(UpdateType.CALLBACK_QUERY)) is not None:
            return _read_press(Fields(query, UpdateType.CALLBACK_QUERY), row, bot)
        if stop_button.is_pressed(row.raw):
            stopped = Fields(row.raw[stop_button.KEY], stop_button.KEY)
            return stop_button.read(stopped, row)
        return None
    except EnvelopeError as error:
        raise EnvelopeError(f"unreadable update: {error}") from error


def _read(message: Fields, row: Row, bot: BotIdentity) -> Message | None:
    chat = message.fields("chat")
    here, private = chat.integer("id"), chat.text("type") == "private"
    sender, by_chat = message.optional_fields("from"), message.has("sender_chat")
    if sender is not None and sender.has("is_bot") and not by_chat:
        return None
    written = message.optional_text("text")
    if written is None:
        written = rich_text(message.raw("rich_message")) or None
    attachment = media.read(message) if written is None else None
    if written is None and attachment is None:
        return None
    addressed = private or is_addressed(message, bot)
    if attachment is media.NO_CONTENT and not addressed:
        # It may be an event of the group.
        return None
    text = _caption(message) if written is None else written
    command, text = _command(message, text) if written is not None else (None, text)
    if command is not None:
        command, _, target = command.lower().partition("@")
        if target and target != bot.username.lower():
            return None
    return Message(
        update_id=row.update_id,
        chat=ChatThread(here, _topic(message)),
        message_id=message.integer("message_id"),
        sender_id=None if sender is None or by_chat else sender.integer("id"),
        private=private,
        type=_type(command, attachment),
        text=replace_lone_surrogates(text),
        command=command,
        accepted_at=row.accepted_at,
        attachments=(attachment,) if attachment else (),
        addressed=addressed,
        full_length=utf16_length(written or "") == MAX_MESSAGE_UNITS,
        context=context.read(message, bot),
    )


def _read_press(query: Fields, row: Row, bot: BotIdentity) -> Message | None:
    message = query.optional_fields("message")
    return press.read(query, row, bot, None if message is None else _topic(message))


def _caption(message: Fields) -> str:
    """Return the caption; media is answered without one that cannot be read."""
    try:
        return message.optional_text("caption") or ""
    except EnvelopeError as error:
        logger.warning(SKIPPED, error=str(error))
        return ""


def _command(message: Fields, text: str) -> tuple[str | None, str]:
    """
    Return the command as written, if there is one, and the text after it.

    Telegram marks commands; only one at the very start is for a bot.  Its length is in
    UTF-16 units, but a command is ASCII, so these are characters.
    """
    for entity in message.marked_texts("entities"):
        if entity.type == COMMAND_ENTITY and entity.offset == 0:
            return text[1 : entity.length], text[entity.length :].strip()
    return None, text


def _type(command: str | None, attachment: object) -> MessageType:
    if command is not None:
        return MessageType.COMMAND
    return MessageType.MEDIA if attachment else MessageType.TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedText:
    """A part of a text that Telegram marked, in UTF-16 units; `url` is its address."""

    type: str
    offset: int
    length: int
    user_id: int | None = None
    url: str | None = None

    def of(self, text: str) -> str:
        """Return the part itself."""
        data = text.encode("utf-16-le", "surrogatepass")
        part = data[2 * self.offset : 2 * (self.offset + self.length)]
        return part.decode("utf-16-le", "replace")


def _marked_text(entity: Fields) -> MarkedText:
    user = entity.optional_fields("user")
    return MarkedText(
        type=entity.text("type"),
        offset=max(0, entity.integer("offset")),
        length=max(0, entity.integer("length")),
        user_id=None if user is None else user.optional_integer("id"),
        url=entity.optional_text("url"),
    )


def _topic(message: Fields) -> int | None:
    """
    Return the forum topic; elsewhere the id only names a chain of replies.

    None stands for the topic General too: Telegram accepts no messages with its id.
    """
    if not message.has("is_topic_message"):
        return None
    try:
        thread_id = message.optional_integer("message_thread_id")
    except EnvelopeError as error:
        logger.warning(SKIPPED, error=str(error))
        return None
    return None if thread_id == GENERAL_TOPIC_ID else thread_id


def is_integer(value: object) -> TypeGuard[int]:
    """Return whether a value is an integer of at most 64 bits, and no boolean."""
    return type(value) is int and abs(value) <= MAX_INTEGER


class Fields:
    """
    Typed access to the fields of one object; `path` is its name in errors.

        Fields({"id": "7"}, "message.chat").integer("id")
        --> EnvelopeError: message.chat.id is not an integer

    A field that is null counts as missing, like one that is not there.

    Each method raises EnvelopeError if the field has another type; those without
    `optional` in their name, also if it is missing.
    """

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, Mapping):
            raise EnvelopeError(f"{path} is not an object")
        self._value: Mapping[str, Any] = value
        self.path = path

    def has(self, name: str) -> bool:
        """Return whether a field is there, and neither false nor an empty list."""
        return self._value.get(name) not in ABSENT

    def names(self) -> Sequence[str]:
        """Return the names of all fields."""
        return list(self._value)

    def raw(self, name: str) -> Any:
        """Return a field as it was sent, None if it is missing."""
        return self._value.get(name)

    def text(self, name: str) -> str:
        """Return a text."""
        value = self._required(name)
        if not isinstance(value, str):
            raise self._wrong(name, "a text")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None."""
        return None if self.raw(name) is None else self.text(name)

    def integer(self, name: str) -> int:
        """Return an integer."""
        value: object = self._required(name)
        if not is_integer(value):
            raise self._wrong(name, "an integer")
        return value

    def optional_integer(self, name: str) -> int | None:
        """Return an integer, or None."""
        return None if self.raw(name) is None else self.integer(name)

    def number(self, name: str) -> float:
        """Return a number."""
        value = self._required(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self._wrong(name, "a number")
        return value

    def fields(self, name: str) -> Fields:
        """Return an object."""
        return Fields(self._required(name), f"{self.path}.{name}")

    def optional_fields(self, name: str) -> Fields | None:
        """Return an object, or None."""
        return None if self.raw(name) is None else self.fields(name)

    def objects(self, name: str) -> list[Fields]:
        """Return a list of objects; a missing one is empty."""
        value = self.raw(name)
        values = [] if value is None else value
        if not isinstance(values, list):
            raise self._wrong(name, "a list")
        path = f"{self.path}.{name}"
        return [Fields(each, f"{path}[{i}]") for i, each in enumerate(values)]

    def marked_texts(self, name: str) -> Iterator[MarkedText]:
        """Yield the marked parts of a text, except those that cannot be read."""
        entities = self.raw(name) or []
        for entity in entities if isinstance(entities, list) else [entities]:
            try:
                yield _marked_text(Fields(entity, f"{self.path}.{name}"))
            except EnvelopeError as error:
                logger.warning(SKIPPED, error=str(error))

    def _required(self, name: str) -> Any:
        value = self.raw(name)
        if value is None:
            raise EnvelopeError(f"{self.path}.{name} is missing")
        return value

    def _wrong(self, name: str, type_: str) -> EnvelopeError:
        return EnvelopeError(f"{self.path}.{name} is not {type_}")
