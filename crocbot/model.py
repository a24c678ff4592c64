"""
The nouns of the gateway: what travels between the stages. Read first.

    raw update --> Row --> Message --> Decision --> Reply --> Outcome
    (botapi)     (inbox)  (envelope)   (access)   (agents)   (turn)

What messages contain is in `content.py`, what stages report besides their results in
`events.py`.
Durations are seconds.  A point in time is on the monotonic clock, whatever the process
that it belongs to: the inbox translates the times of its file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Any, Final, Literal

from crocbot.content import (
    NO_CONTEXT,
    UNREADABLE,
    Attachment,
    Context,
    Entity,
    File,
    Image,
    draft_id,
)
from crocbot.context import MAX_REMEMBERED_QUOTED_CHARS, with_context
from crocbot.leases import Lease
from crocbot.outgoing import Buttons, OutgoingFile, SentSteps

MAX_PORT = 65_535

Clock = Callable[[], float]
"""Returns the time in seconds: Unix time, or monotonic where it says so."""

Sleep = Callable[[float], Awaitable[None]]
"""Waits for a number of seconds."""

RandomFloat = Callable[[], float]
"""Returns a random number in [0, 1)."""

RawUpdate = Mapping[str, Any]
"""An update as Telegram sent it: parsed JSON, of which only `update_id` was checked."""

OFF = "off"
"""The value of an address setting that turns its part of the gateway off."""

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that are this machine, which no proxy can reach."""


class MessageType(StrEnum):
    """The type of a message: label `type` of crocbot_messages_total."""

    TEXT = "text"
    MEDIA = "media"
    COMMAND = "command"


class ReconnectReason(StrEnum):
    """
    Why receiving updates failed, or a Bot API call.

    Label `reason` of crocbot_telegram_reconnects_total.
    """

    NETWORK = "network"
    CONFLICT = "conflict"
    TIMEOUT = "timeout"


class ErrorType(StrEnum):
    """What failed, or how a call failed: label `type` of crocbot_errors_total."""

    PROCESSING = "processing"
    NETWORK = "network"
    TIMEOUT = "timeout"
    CONFLICT = "conflict"
    AUTH = "auth"
    AGENT = "agent"
    DELIVERY = "delivery"
    INBOX = "inbox"
    TRANSCRIPTION = "transcription"


class Severity(StrEnum):
    """
    The severity of an error; only critical ones need the operator.

    `info` is a label value that nothing emits yet.
    """

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class Disposition(StrEnum):
    """How a row of the inbox was closed.  An open row has no disposition yet."""

    ANSWERED = "answered"
    FAILED = "failed"
    DENIED = "denied"
    CANCELLED = "cancelled"
    IGNORED = "ignored"
    SET_ASIDE = "set_aside"


class Verdict(StrEnum):
    """The result of the access policy and of the limits; all but ALLOWED deny."""

    ALLOWED = "allowed"
    NOT_LISTED = "not_listed"
    NOT_PAIRED = "not_paired"
    GROUP = "group"
    NOT_ADDRESSED = "not_addressed"
    NO_SENDER = "no_sender"
    LIMITED = "limited"


@dataclass(frozen=True, slots=True)
class HostPort:
    """A network address.  `host` is a name or an IP address, without brackets."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> HostPort:
        """
        Read `host:port`; an IPv6 address stands in brackets.  Raise ValueError.

            [::1]:8787 --> HostPort("::1", 8787)
        """
        host, _, port = text.rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if bracketed else host
        unusual = any(letter.isspace() or letter in "[]" for letter in host)
        if not host or unusual or not (port.isascii() and port.isdigit()):
            raise ValueError(f"{text!r} has no host or no port: write host:port")
        if int(port) > MAX_PORT:
            raise ValueError(f"{text!r} has a port above {MAX_PORT}")
        if ":" in host and not bracketed:
            raise ValueError(f"{text!r}: write [{host}]:{port} for an IPv6 address")
        return cls(host, int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ChatThread:
    """The chat that a message belongs to, or one forum topic of it."""

    chat_id: int
    thread_id: int | None = None

    @property
    def key(self) -> str:
        """Return the name of the conversation for an agent: -1001234 or -1001234:5."""
        topic = "" if self.thread_id is None else f":{self.thread_id}"
        return f"{self.chat_id}{topic}"


@dataclass(frozen=True, slots=True)
class BotIdentity:
    """
    The bot's account on Telegram; `username` is without the `@`.

    With `privacy_mode` Telegram delivers from groups only commands, mentions and
    replies to the bot, unless it is an administrator.
    """

    user_id: int
    username: str
    privacy_mode: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class Row:
    """
    One update in the inbox, stored at `accepted_at` on the monotonic clock.

    `reply` is the answer of an earlier turn that could not be delivered: it is
    delivered instead of asking the agent again, from where `sent` ends.  `retried`
    means that the row failed and the operator opened it again.  `tries` is how often
    the process crashed while a turn of this row ran.  `lease` is that of its chat.
    """

    update_id: int
    raw: RawUpdate
    accepted_at: float
    reply: Reply | None = field(default=None, kw_only=True)
    sent: SentSteps | None = field(default=None, kw_only=True)
    retried: bool = field(default=False, kw_only=True)
    tries: int = field(default=0, kw_only=True)
    lease: Lease | None = field(default=None, kw_only=True, compare=False)

    @property
    def draft_id(self) -> int:
        """Return the id of the draft in which the answer grows; it is never 0."""
        return draft_id(self.update_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """
    A message to the bot, free of Telegram's types.

    `command` is the word after the slash in lower case, without `@bot`; `text` is then
    the text after it.  With attachments `text` is their caption.  `addressed` means
    that the message is for the bot: private, a mention, or a reply to the bot.
    `full_length` means that the text has as many units as a message can have: it may
    end in the middle of a word.  `edited` means that it is the new version of a message
    whose turn has begun before, `spoken` that a recording was turned into its text.
    `stopped_draft` is the draft whose Stop button was pressed: the command is stop, and
    there is no message, so `message_id` is 0.
    """

    update_id: int
    chat: ChatThread
    message_id: int
    sender_id: int | None
    private: bool
    type: MessageType
    text: str
    command: str | None
    accepted_at: float
    attachments: tuple[Attachment, ...] = ()
    addressed: bool = True
    full_length: bool = False
    context: Context = NO_CONTEXT
    edited: bool = False
    spoken: bool = False
    stopped_draft: int | None = None

    @property
    def person_id(self) -> int:
        """Return the id of the sender, or of the chat without one."""
        return self.chat.chat_id if self.sender_id is None else self.sender_id

    @property
    def unreadable(self) -> bool:
        """Return whether it has only attachments whose kind is not known."""
        known = [each for each in self.attachments if each.type != UNREADABLE]
        return bool(self.attachments) and not (known or self.text)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a message may be answered, and if not, why."""

    verdict: Verdict

    @property
    def allowed(self) -> bool:
        """Return whether the message may be answered."""
        return self.verdict is Verdict.ALLOWED


@dataclass(frozen=True, slots=True)
class Exchange:
    """One earlier message of a chat and the answer to it."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """The input of an agent: a message and the chat's history, oldest first."""

    message: Message
    history: tuple[Exchange, ...] = ()
    images: tuple[Image, ...] = ()
    files: tuple[File, ...] = field(default=(), kw_only=True)

    @property
    def text(self) -> str:
        """Return the message as text, with a description of each attachment."""
        message = self.message
        command = "" if message.command is None else f"/{message.command} "
        descriptions = [each.text for each in message.attachments]
        lines = [f"{command}{message.text}".strip(), *descriptions]
        return "\n".join(filter(None, lines))

    @property
    def with_context(self) -> str:
        """Return the text with what it replies to, and so on, for a model."""
        message = self.message
        return with_context(
            self.text,
            message.context,
            private=message.private,
            edited=message.edited,
        )

    @property
    def remembered(self) -> str:
        """Return the text for the history: with less of what it replies to."""
        return with_context(
            self.text,
            self.message.context,
            private=self.message.private,
            edited=self.message.edited,
            max_quoted_chars=MAX_REMEMBERED_QUOTED_CHARS,
        )


class Retracted(Enum):
    """The type of RETRACTED."""

    RETRACTED = "retracted"


RETRACTED: Final = Retracted.RETRACTED
"""In place of a text of an answer: those before it turned out to be no part of it."""

AnswerText = str | Literal[Retracted.RETRACTED]
"""A part of an answer's text, or RETRACTED."""


@dataclass(frozen=True, slots=True)
class Usage:
    """
    The tokens that an answer took, as the agent counts them.

    `cached_tokens` are those of the input that the server had in its cache.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """
    An answer: its text, in Markdown if a model wrote it, else plain, and its files.

    The buttons are below the last message of the text, or the last file without one.
    """

    text: str
    markdown: bool = False
    files: tuple[OutgoingFile, ...] = field(default=(), kw_only=True)
    buttons: Buttons = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class MessagePart:
    """A part of a reply that fits into one Telegram message."""

    text: str
    entities: tuple[Entity, ...] = ()
    buttons: Buttons = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """
    A result of a turn, which closes the rows of `update_ids`.

    A turn has one for each row without a readable message, and one for all other rows.

    `message_type` is None if the update is not a message.  `seconds` is the time from
    acceptance to delivery, None unless answered.  `retried` is how many of the rows
    failed before and were reopened by the operator.  If the turn failed, `error` is the
    class of the error, `reason` its text, and `undelivered` the answer that did not
    reach the chat.  `chat_gone` means that the chat accepts no messages any more.
    `replaced_by` is the row that takes the place of the closed one.
    """

    disposition: Disposition = field(kw_only=False)
    message_type: MessageType | None = None
    seconds: float | None = None
    retried: int = 0
    decision: Decision | None = None
    error: ErrorEvent | None = None
    update_ids: tuple[int, ...] = ()
    reason: str | None = None
    undelivered: Reply | None = None
    chat_gone: bool = False
    replaced_by: Row | None = None


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """
    An error to count: part of an Outcome, or emitted by itself.

    A PollFailed is counted as a warning without one.
    """

    type: ErrorType
    severity: Severity
