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

MAX_DRAFT_ID = 2**31 - 1


def draft_id(update_id: int) -> int:
    """Return the id of the draft in which the answer to an update grows; never 0."""
    return update_id % MAX_DRAFT_ID + 1


FILE_TYPES = frozenset(
    ("animation", "audio", "document", "photo", "video", "video_note", "voice")
)
"""The types of attachments that are files; others are complete in words."""

SPOKEN_TYPES = frozenset({"audio", "video_note", "voice"})
"""The types of files that are turned into words, if there is a server for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """
    A photo, file, location or anything else in a message besides its text.

    `type` is Telegram's word for it, `description` what an agent reads in its place.
    `file_id` is valid at the Bot API only; `size` is in bytes, `duration` in seconds.
    The sender chose `name`.  `note` is why the agent does not get the file, `words` the
    text of a document, or what is said in a recording, in place of the file.
    """

    type: str = field(kw_only=False)
    description: str = field(kw_only=False)
    file_id: str | None = None
    mime_type: str | None = None
    size: int | None = None
    name: str | None = None
    duration: float | None = None
    note: str | None = None
    words: str | None = None

    @property
    def is_image(self) -> bool:
        """Return whether it can be given to a model as an image."""
        return self.file_id is not None and self.mime_type in IMAGE_TYPES

    @property
    def described(self) -> str:
        """Return the description and the note, in brackets."""
        more = [self.note] if self.note else []
        more += ["its words are quoted:"] if self.words else []
        return f"[{'; '.join([self.description, *more])}]"

    @property
    def text(self) -> str:
        """
        Return it in words.

        Each line of a document is quoted, so that none of it is taken for a message.
        """
        quoted = [f"> {line}".rstrip() for line in (self.words or "").splitlines()]
        return "\n".join([self.described, *quoted])


@dataclass(frozen=True, slots=True)
class Image:
    """An image for the agent."""

    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """
    A file for the agent.

    `type` is Telegram's word for it, `mime_type` that of its content, `name` what its
    sender calls it, `duration` the length of a recording in seconds.  `quoted` means
    that it is of the message that this one replies to.
    """

    type: str
    mime_type: str
    content: bytes = field(repr=False)
    name: str | None = None
    duration: float | None = None
    quoted: bool = False


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
