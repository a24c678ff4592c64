"""
The nouns of what messages contain, in both directions.

`model.py` has the messages themselves, and everything else that travels between stages.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

UNREADABLE = "unreadable"
"""The type of an attachment whose kind is not known to the gateway."""

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})
"""The MIME types that models accept as images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """
    A photo, file, location or anything else in a message besides its text.

    `type` is Telegram's word for it, `description` what an agent reads in its place.
    `file_id` is valid at the Bot API only; `size` is in bytes.
    """

    type: str = field(kw_only=False)
    description: str = field(kw_only=False)
    file_id: str | None = None
    mime_type: str | None = None
    size: int | None = None

    @property
    def is_image(self) -> bool:
        """Return whether it can be given to a model as an image."""
        return self.file_id is not None and self.mime_type in IMAGE_TYPES


@dataclass(frozen=True, slots=True)
class Image:
    """An image for the agent."""

    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Entity:
    """Telegram's MessageEntity: formatting of a part of a text, in UTF-16 units."""

    type: str
    offset: int
    length: int
    url: str | None = field(default=None, kw_only=True)
    language: str | None = field(default=None, kw_only=True)


class OriginType(StrEnum):
    """Who wrote a forwarded message first: Telegram's four kinds of origin."""

    USER = "user"
    HIDDEN_USER = "hidden_user"
    CHAT = "chat"
    CHANNEL = "channel"


@dataclass(frozen=True, slots=True)
class ForwardOrigin:
    """
    The first author of a forwarded message; `date` is Unix time.

    A hidden user has only a name, and a name may be missing.
    """

    type: OriginType
    name: str | None = None
    date: int | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A part of a text, and the address behind it, which the text does not show."""

    text: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotedMessage:
    """
    The message that another one replies to, as far as Telegram shows it.

    `own` means that the bot wrote it.  `part` is what the sender chose to quote, empty
    if nothing was chosen.  `message_id` is None if it is a message of another chat.
    """

    author: str | None = None
    own: bool = False
    text: str = ""
    part: str = ""
    attachments: tuple[Attachment, ...] = ()
    links: tuple[Link, ...] = ()
    message_id: int | None = None


@dataclass(frozen=True, slots=True)
class Press:
    """
    A button under a message of the bot that a person pressed.

    `query_id` is Telegram's, to answer the press.  `label` is what the button shows,
    None if Telegram does not tell.
    """

    query_id: str
    data: str
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """
    What a message comes with besides its own words.

    All texts in it are untrusted, and bounded.  Names have one line.
    """

    sender: str | None = None
    quoted: QuotedMessage | None = None
    forward: ForwardOrigin | None = None
    links: tuple[Link, ...] = ()
    press: Press | None = None


NO_CONTEXT = Context()
