"""
The nouns of the gateway: what travels between the stages. Read first.

    raw update --> Row --> Message --> Decision --> Reply --> Outcome
    (botapi)     (inbox)  (envelope)   (access)   (agents)   (turn)

What happens besides a turn is told with the facts in `facts.py`.
Times are seconds; a moment is Unix time, so that it survives a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

RawUpdate = Mapping[str, Any]
"""An update as Telegram sent it: parsed JSON, nothing looked at but `update_id`."""


IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/webp", "image/gif"})
"""What models look at."""


class MessageType(StrEnum):
    """What somebody sent: label `type` of crocbot_messages_total."""

    TEXT = "text"
    MEDIA = "media"
    COMMAND = "command"


class ReconnectReason(StrEnum):
    """Why a poll failed and was tried again: label `reason`."""

    NETWORK = "network"
    CONFLICT = "conflict"
    TIMEOUT = "timeout"


class ErrorType(StrEnum):
    """Where something went wrong: label `type` of crocbot_errors_total."""

    PROCESSING = "processing"
    NETWORK = "network"
    TIMEOUT = "timeout"
    CONFLICT = "conflict"
    AUTH = "auth"
    AGENT = "agent"
    DELIVERY = "delivery"
    INBOX = "inbox"


class Severity(StrEnum):
    """How bad: critical needs a person, a warning mends itself."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Disposition(StrEnum):
    """How a row of the inbox ends.  `open` is none of these: it has not ended."""

    ANSWERED = "answered"
    FAILED = "failed"
    DENIED = "denied"
    CANCELLED = "cancelled"
    IGNORED = "ignored"
    SET_ASIDE = "set_aside"


class Verdict(StrEnum):
    """Why access was given or not; every value but ALLOWED is a denial."""

    ALLOWED = "allowed"
    NOT_LISTED = "not_listed"
    NOT_PAIRED = "not_paired"
    GROUP = "group"
    NOT_ADDRESSED = "not_addressed"
    NO_SENDER = "no_sender"


@dataclass(frozen=True, slots=True)
class ChatThread:
    """Where a conversation takes place: a chat, or one forum topic of it."""

    chat_id: int
    thread_id: int | None = None

    @property
    def key(self) -> str:
        """The name of the conversation for an agent: -1001234, or -1001234:5."""
        topic = "" if self.thread_id is None else f":{self.thread_id}"
        return f"{self.chat_id}{topic}"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the bot is on Telegram; `username` is without the `@`."""

    user_id: int
    username: str


@dataclass(frozen=True, slots=True)
class Row:
    """
    One accepted update in the inbox.  `accepted` is when it was stored.

    `reply` is an answer that could not be delivered then and is to be tried again.
    """

    update_id: int
    raw: RawUpdate
    accepted: float
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """
    Something that was sent and is no text.

    `kind` is Telegram's word for it, `description` what an agent reads in its place.
    `file_id` is for Telegram only.
    """

    kind: str
    description: str
    file_id: str | None = None
    mime_type: str | None = None
    size: int | None = None

    @property
    def is_image(self) -> bool:
        """Whether a model may be able to look at it."""
        return self.file_id is not None and self.mime_type in IMAGE_TYPES


@dataclass(frozen=True, slots=True)
class Message:
    """
    What somebody wrote, free of Telegram's types.

    `command` is the word after the slash in lower case, without `@bot`; `text` is then
    what follows it.  For media `text` is the caption, and `media` says what came.
    `addressed` means that it is for the bot: private, a mention, or a reply to it.
    """

    update_id: int
    address: ChatThread
    message_id: int
    sender_id: int | None
    private: bool
    kind: MessageType
    text: str
    command: str | None
    accepted: float
    media: tuple[Attachment, ...] = ()
    addressed: bool = True


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a message is answered, and why not."""

    verdict: Verdict

    @property
    def allowed(self) -> bool:
        """Nothing else in the program may answer this."""
        return self.verdict is Verdict.ALLOWED


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was said before: one message, and what was answered."""

    asked: str
    answered: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that an agent may look at."""

    mime_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """What an agent is asked: a message, with what was said before, oldest first."""

    message: Message
    history: tuple[Exchange, ...] = ()
    images: tuple[Image, ...] = ()

    @property
    def words(self) -> str:
        """The message as a text, whatever was sent."""
        message = self.message
        command = "" if message.command is None else f"/{message.command} "
        media = [f"[{medium.description}]" for medium in message.media]
        return "\n".join(filter(None, [f"{command}{message.text}".strip(), *media]))


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that an answer took, as whoever answered counts them."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """What is answered; what a model writes is Markdown, everything else is plain."""

    text: str
    markdown: bool = False


@dataclass(frozen=True, slots=True)
class Entity:
    """How a part of a text looks; offset and length are UTF-16 units."""

    type: str
    offset: int
    length: int
    url: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """As much of a reply as fits into one message of Telegram."""

    text: str
    entities: tuple[Entity, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How one turn ended, and with it the updates that made it.

    `kind` is None for an update that is no message.  `seconds` is from accepted to
    delivered, None unless answered.  `error` is None unless something went wrong;
    `reason` says then in words what, and `undelivered` is the answer that is left.
    `gone` means that the chat takes nothing from us any more.
    """

    disposition: Disposition
    kind: MessageType | None = None
    seconds: float | None = None
    decision: Decision | None = None
    error: ErrorEvent | None = None
    update_ids: tuple[int, ...] = ()
    reason: str | None = None
    undelivered: str | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """Something went wrong that was not a poll: a part of an Outcome, or a fact."""

    type: ErrorType
    severity: Severity
