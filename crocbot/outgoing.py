"""
The nouns of what an answer has besides its text: files, and buttons below it.

    AgentFile, AgentButtons   as the agent gave them, nothing of them is checked
    OutgoingFile, Buttons     as they are sent

The limits are those of the Bot API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum

MAX_FILES = 10
MAX_FILE_BYTES = 50_000_000
MAX_PHOTO_BYTES = 10_000_000
MAX_CAPTION_UNITS = 1024
MAX_CALLBACK_BYTES = 64
# What the data of the gateway's own buttons begins with; no agent may use it.
RESERVED_DATA = "crocbot:"
MAX_BUTTONS = 100
MAX_BUTTONS_IN_ROW = 8
MAX_BUTTON_CHARS = 128
MAX_BUTTON_URL_CHARS = 2048


class FileKind(StrEnum):
    """How a file is shown in the chat; the value is the Bot API's parameter."""

    PHOTO = "photo"
    VOICE = "voice"
    AUDIO = "audio"
    DOCUMENT = "document"


class TextFormat(Enum):
    """The format of the texts that follow in an answer."""

    PLAIN = "plain"
    MARKDOWN = "markdown"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFile:
    """
    A file in an answer, with its content or its address.

    `kind` is how the agent wants it to be shown, None if it does not say.  `problem` is
    why it has neither content nor address; `too_large` if that is its size.
    """

    content: bytes | None = field(default=None, repr=False)
    url: str | None = None
    name: str = ""
    kind: FileKind | None = None
    caption: str = ""
    problem: str | None = None
    too_large: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentButtons:
    """The rows of buttons in an answer, as JSON; the last ones of an answer count."""

    rows: object


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingFile:
    """
    A file that is sent; the inbox has its content until then.

    `wanted` is how the agent wants it to be shown, None if it does not say.
    """

    kind: FileKind
    name: str
    mime_type: str
    size: int
    caption: str = ""
    wanted: FileKind | None = None

    @property
    def description(self) -> str:
        """Return it in words, for the history of the chat."""
        caption = f", {self.caption}" if self.caption else ""
        return f"[{self.kind} {self.name}{caption}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileUpload:
    """A file as one call of the Bot API sends it."""

    kind: FileKind
    name: str
    mime_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A button below a message; pressing it sends `data` to the bot, or opens `url`."""

    text: str
    data: str | None = None
    url: str | None = None


Buttons = tuple[tuple[Button, ...], ...]
"""Rows of buttons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclosures:
    """
    What an answer has besides its text.

    `more_text` belongs at the end of the text: captions that are too long, and what is
    missing, in words.
    """

    files: tuple[OutgoingFile, ...] = ()
    buttons: Buttons = ()
    more_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentSteps:
    """
    How far a reply that the inbox keeps has been sent.

    `messages` are the ids of its text messages, `files` is how many files are sent.
    `unknown` means that the process ended while a step was under way: it may be in the
    chat.
    """

    messages: tuple[int, ...] = ()
    files: int = 0
    unknown: bool = False
