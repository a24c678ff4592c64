"""
What a message comes with: its sender's name, a reply or quote, a forward, links.

    {"text": "what is that?", "reply_to_message": {"text": "an iguana", ...}, ...}
    --> Context(quoted=QuotedMessage(author="Bob", text="an iguana", ...), ...)

A part that cannot be read is skipped and logged: the message is understood without it.
Other people chose all of these texts.  They are bounded, and names get one line in
which nothing looks like a mark of the gateway.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from crocbot import log
from crocbot.content import (
    Attachment,
    Context,
    ForwardOrigin,
    Link,
    OriginType,
    QuotedMessage,
)
from crocbot.envelope import media
from crocbot.envelope.rich import rich_text
from crocbot.errors import EnvelopeError
from crocbot.model import BotIdentity
from crocbot.text import replace_lone_surrogates

if TYPE_CHECKING:
    from crocbot.envelope.message import Fields

MAX_NAME_CHARS = 64
MAX_TEXT_CHARS = 4096
MAX_LINKS = 10
MAX_URL_CHARS = 1000
SKIPPED = "part of an update cannot be read"
ZERO_WIDTH_JOINER = "\u200d"
# What the marks around a context consist of.
MARKS = str.maketrans({'"': "'", "[": "(", "]": ")"})

logger = log.logger(__name__)


def read(message: Fields, bot: BotIdentity) -> Context:
    """Return the context of a message."""
    return Context(
        sender=author(message),
        quoted=_quoted(message, bot),
        forward=_forward(message),
        links=links(message),
    )


def replied_to(message: Fields) -> Fields | None:
    """
    Return the message of the same chat that a message replies to, or None.

    In a topic every message replies to the one that opened the topic: that is none.
    Raise EnvelopeError.
    """
    original = message.optional_fields("reply_to_message")
    if original is None or original.has("forum_topic_created"):
        return None
    opens_topic = original.raw("message_id") == message.raw("message_thread_id")
    return None if opens_topic and message.has("is_topic_message") else original


def author(message: Fields) -> str | None:
    """Return the name of the chat, or else of the person, that wrote a message."""
    try:
        chat = message.optional_fields("sender_chat")
        if chat is not None:
            return _name(chat, "title") or _name(chat, "first_name")
        sender = message.optional_fields("from")
        return None if sender is None else _person(sender)
    except EnvelopeError as error:
        logger.warning(SKIPPED, error=str(error))
        return None


def links(message: Fields) -> tuple[Link, ...]:
    """Return the addresses behind the text or the caption, at most MAX_LINKS."""
    found = (
        link
        for text, entities in (("text", "entities"), ("caption", "caption_entities"))
        for link in _links(message, text, entities)
    )
    return tuple(islice(found, MAX_LINKS))


def contents(message: Fields, bot: BotIdentity, part: str = "") -> QuotedMessage:
    """Return a message that another one quotes.  Raise EnvelopeError."""
    sender = message.optional_fields("from")
    rich = replace_lone_surrogates(rich_text(message.raw("rich_message")))
    text = _text(message, "text") or _text(message, "caption") or rich
    attachment = None if message.has("text") or rich else media.read(message)
    return QuotedMessage(
        author=author(message),
        own=sender is not None and sender.raw("id") == bot.user_id,
        text=text[:MAX_TEXT_CHARS],
        part=part,
        attachments=(attachment,) if attachment else (),
        links=links(message),
        message_id=message.optional_integer("message_id"),
    )


def one_line(text: str, max_chars: int) -> str:
    """Return a text in one line, without control characters and marks, bounded."""
    visible = (
        char if char.isprintable() or char == ZERO_WIDTH_JOINER else " "
        for char in replace_lone_surrogates(text[: 2 * max_chars])
    )
    return " ".join("".join(visible).split()).translate(MARKS)[:max_chars]


def _quoted(message: Fields, bot: BotIdentity) -> QuotedMessage | None:
    try:
        part = _text(message.optional_fields("quote"), "text")
        original = replied_to(message)
        if original is not None:
            return contents(original, bot, part)
        external = message.optional_fields("external_reply")
        if external is not None:
            return _external(external, bot, part)
        if message.has("reply_to_story"):
            return QuotedMessage(attachments=(Attachment("story", "story"),))
    except EnvelopeError as error:
        logger.warning(SKIPPED, error=str(error))
    return None


def _external(external: Fields, bot: BotIdentity, part: str) -> QuotedMessage:
    """Return a message of another chat or topic, of which only its media is known."""
    origin = external.optional_fields("origin")
    sender = None if origin is None else origin.optional_fields("sender_user")
    attachment = media.read_known(external)
    return QuotedMessage(
        author=None if origin is None else _origin(origin).name,
        own=sender is not None and sender.raw("id") == bot.user_id,
        part=part,
        attachments=(attachment,) if attachment else (),
    )


def _forward(message: Fields) -> ForwardOrigin | None:
    """Return the origin of a forward; one that cannot be read has no name."""
    if not message.has("forward_origin") and not message.has("forward_date"):
        return None
    try:
        if message.has("forward_origin"):
            return _origin(message.fields("forward_origin"))
        return _old_forward(message)
    except EnvelopeError as error:
        logger.warning(SKIPPED, error=str(error))
        return ForwardOrigin(OriginType.HIDDEN_USER)


def _origin(origin: Fields) -> ForwardOrigin:
    """Return a MessageOrigin; a kind that is not known has no name."""
    date = origin.optional_integer("date")
    match origin.text("type"):
        case OriginType.USER:
            name = _person(origin.fields("sender_user"))
            return ForwardOrigin(OriginType.USER, name, date)
        case OriginType.CHAT:
            name = _name(origin.fields("sender_chat"), "title")
            return ForwardOrigin(OriginType.CHAT, name, date)
        case OriginType.CHANNEL:
            name = _name(origin.fields("chat"), "title")
            return ForwardOrigin(OriginType.CHANNEL, name, date)
    name = _name(origin, "sender_user_name")
    return ForwardOrigin(OriginType.HIDDEN_USER, name, date)


def _old_forward(message: Fields) -> ForwardOrigin:
    """Return the origin that a server before Bot API 7.0 sends."""
    date = message.optional_integer("forward_date")
    user = message.optional_fields("forward_from")
    if user is not None:
        return ForwardOrigin(OriginType.USER, _person(user), date)
    chat = message.optional_fields("forward_from_chat")
    if chat is not None:
        type_ = OriginType.CHAT
        if chat.raw("type") == OriginType.CHANNEL:
            type_ = OriginType.CHANNEL
        return ForwardOrigin(type_, _name(chat, "title"), date)
    name = _name(message, "forward_sender_name")
    return ForwardOrigin(OriginType.HIDDEN_USER, name, date)


def _links(message: Fields, text_name: str, entities: str) -> Iterator[Link]:
    text = message.raw(text_name)
    if not isinstance(text, str):
        return
    for entity in message.marked_texts(entities):
        if entity.type == "text_link" and entity.url:
            shown = one_line(entity.of(text), MAX_NAME_CHARS)
            # No space: it would end the address.
            url = "".join(char for char in entity.url if char.isprintable())
            yield Link(shown, url.replace(" ", "%20")[:MAX_URL_CHARS])


def _text(fields: Fields | None, name: str) -> str:
    text = None if fields is None else fields.optional_text(name)
    return replace_lone_surrogates((text or "")[:MAX_TEXT_CHARS])


def _person(user: Fields) -> str | None:
    names = (_name(user, "first_name"), _name(user, "last_name"))
    return " ".join(filter(None, names))[:MAX_NAME_CHARS] or None


def _name(fields: Fields, name: str) -> str | None:
    return one_line(fields.optional_text(name) or "", MAX_NAME_CHARS) or None
