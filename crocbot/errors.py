"""
The exceptions of the gateway, as one tree.

The module that uses a library translates its exceptions; no other module sees them.
A class that can end a turn has the labels under which crocbot_errors_total counts it.
"""

from __future__ import annotations

import sys
from enum import StrEnum

from crocbot.model import ErrorType, ReconnectReason, Reply, Severity
from crocbot.turn_outcomes import AgentErrorReason


def is_missing_library(error: Exception) -> bool:
    """Return whether an import failed because a library of an extra is missing."""
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return False
    package = error.name.partition(".")[0]
    return package != "crocbot" and package not in sys.stdlib_module_names


class CrocbotError(Exception):
    """Any error that the gateway raises on purpose."""


class OperatorError(CrocbotError):
    """The operator must change something; the text is the line that they read."""


class TurnError(CrocbotError):
    """A turn cannot be completed."""

    type = ErrorType.PROCESSING
    severity = Severity.CRITICAL


class CrashError(TurnError):
    """The process crashed each time that it ran this turn: its rows are set aside."""


class EnvelopeError(TurnError):
    """An update is malformed: it is set aside."""


class AgentError(TurnError):
    """
    The agent gave no answer, or only a part of it.

    `retry` means that another call loses nothing and does nothing twice; `wait` is how
    many seconds the server asks to wait before it.  `may_be_history` means that the
    same prompt with less history may be answered.  An error that only the operator can
    mend is critical.
    """

    type = ErrorType.AGENT
    severity = Severity.WARNING
    for_operator = (AgentErrorReason.OPERATOR, AgentErrorReason.UNAUTHORIZED)

    def __init__(
        self,
        message: str,
        reason: AgentErrorReason = AgentErrorReason.OTHER,
        *,
        retry: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        if reason in self.for_operator:
            self.severity = Severity.CRITICAL
        self.retry = retry
        self.wait = wait
        self.may_be_history = reason is AgentErrorReason.CONTEXT_LENGTH


class TranscriptionError(TurnError):
    """
    A recording could not be turned into words.

    An error that only the operator can mend is critical; `wait` is how many seconds the
    server asks to wait.
    """

    type = ErrorType.TRANSCRIPTION
    severity = Severity.WARNING

    def __init__(self, error: AgentError) -> None:
        super().__init__(str(error))
        self.reason = error.reason
        self.severity = error.severity
        self.wait = error.wait


class Refusal(StrEnum):
    """
    What Telegram did not accept in a call.

    MESSAGE means that a message cannot be edited or deleted, because there is none.
    """

    THREAD = "thread"
    QUOTE = "quote"
    FORMATTING = "formatting"
    BUTTONS = "buttons"
    FILE = "file"
    LENGTH = "length"
    MESSAGE = "message"
    OTHER = "other"


class DeliveryError(TurnError):
    """
    Telegram did not accept a call, and will not.

    `undelivered` is the reply that could not be delivered, if the call was for one.
    """

    type = ErrorType.DELIVERY
    severity = Severity.WARNING
    undelivered: Reply | None = None

    def __init__(self, message: str, refusal: Refusal = Refusal.OTHER) -> None:
        super().__init__(message)
        self.refusal = refusal


class FileTooLargeError(DeliveryError):
    """A file that was sent to the bot has more bytes than the caller accepts."""


class GaveUpError(DeliveryError):
    """A reply was not delivered within its waiting time."""


class ChatGoneError(DeliveryError):
    """The chat accepts no messages any more: the bot was blocked, or has left."""


class UnknownMethodError(DeliveryError):
    """The Bot API server does not have the method of the call."""


class ChatMovedError(DeliveryError):
    """The chat has a new id, `chat_id`."""

    def __init__(self, message: str, chat_id: int) -> None:
        super().__init__(message)
        self.chat_id = chat_id


class TelegramError(CrocbotError):
    """The Bot API could not be reached, or refused a call that may be retried."""

    def __init__(self, message: str, reason: ReconnectReason) -> None:
        super().__init__(message)
        self.reason = reason


class NotConnectedError(TelegramError):
    """There was no connection to the Bot API, so the call was not made."""


class AnswerTooLongError(TelegramError):
    """The Bot API's answer has more bytes than the gateway reads."""


class WebhookSetError(TelegramError):
    """Polling is refused because a webhook is set."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ReconnectReason.CONFLICT)


class FloodWaitError(CrocbotError):
    """Telegram asks to wait for `seconds` (HTTP 429)."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Telegram asks to wait {seconds:g} s")
        self.seconds = seconds


class UnconfirmedError(CrocbotError):
    """A check found nothing that is wrong for certain; the text says what may be."""


class InboxError(CrocbotError):
    """
    The inbox could not be read or written.

    `no_space` means that the disk is full or failed: a smaller write may succeed.
    """

    def __init__(self, message: str, *, no_space: bool = False) -> None:
        super().__init__(message)
        self.no_space = no_space


class StoreError(TurnError):
    """
    The database could not be read or written; the inbox raises InboxError.

    `no_space` means that the disk is full or failed: a smaller write may succeed.
    """

    type = ErrorType.INBOX

    def __init__(self, message: str, *, no_space: bool = False) -> None:
        super().__init__(message)
        self.no_space = no_space


class LeaseLostError(StoreError):
    """Another replica works the chat now: nothing may be written or sent for it."""

    def __init__(self, chat: int) -> None:
        super().__init__(f"chat {chat} is worked by another replica now")


class LeaderLostError(InboxError):
    """Another replica leads now: updates that this one polled are not stored."""
