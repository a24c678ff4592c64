"""
What goes wrong in the gateway, as one tree.

Foreign exceptions are translated at the door; no stage raises another library's.
Each class that can end a turn carries the words it is counted under.
"""

from __future__ import annotations

from crocbot.events import AgentErrorReason
from crocbot.model import ErrorType, ReconnectReason, Severity


class CrocbotError(Exception):
    """The root."""


class OperatorError(CrocbotError):
    """Something that the operator must change; its text is the one line to show."""


class TurnError(CrocbotError):
    """A turn that cannot be finished."""

    type = ErrorType.PROCESSING
    severity = Severity.CRITICAL


class EnvelopeError(TurnError):
    """An update that nobody here can read: it is set aside."""


class AgentError(TurnError):
    """
    The agent gave no answer, or not all of it.

    `retry` says that nothing is lost or done twice by asking again, `wait` after how
    many seconds whoever refused wants to be asked.
    """

    type = ErrorType.AGENT
    severity = Severity.WARNING

    def __init__(
        self,
        message: str,
        fault: AgentErrorReason = AgentErrorReason.OTHER,
        *,
        retry: bool = False,
        wait: float | None = None,
    ) -> None:
        super().__init__(message)
        self.fault = fault
        self.retry = retry
        self.wait = wait


class DeliveryError(TurnError):
    """Telegram did not take the reply, and will not."""

    type = ErrorType.DELIVERY
    severity = Severity.WARNING


class ChatGoneError(DeliveryError):
    """The chat takes nothing from us any more: blocked, left or deleted."""


class ChatMovedError(DeliveryError):
    """The chat has another id now."""

    def __init__(self, message: str, chat_id: int) -> None:
        super().__init__(message)
        self.chat_id = chat_id


class TelegramError(CrocbotError):
    """The Bot API could not be reached or said no; may be tried again."""

    def __init__(self, message: str, reason: ReconnectReason) -> None:
        super().__init__(message)
        self.reason = reason


class WebhookSetError(TelegramError):
    """Polling is refused, since a webhook is set."""

    def __init__(self, message: str) -> None:
        super().__init__(message, ReconnectReason.CONFLICT)


class FloodWaitError(CrocbotError):
    """Telegram asks to wait; `seconds` is how long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Telegram asks to wait {seconds:g} s")
        self.seconds = seconds


class InboxError(CrocbotError):
    """The inbox could not be read or written."""


class StoreError(CrocbotError):
    """What is remembered besides the inbox could not be read or written."""
