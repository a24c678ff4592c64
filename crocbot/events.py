"""
Events: what a stage reports besides its result.

    stage -- emit(event) --> EventListener (telemetry's observer)

Events are emitted on the event loop only.  Their enumerations are label values of
metrics: closed sets, never text from outside.  Durations are seconds; times are Unix
time, so that they survive a restart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from crocbot.model import Disposition, ErrorEvent, Outcome, RawUpdate, ReconnectReason


class Method(StrEnum):
    """A call of the Bot API; a download is `file`, what is not listed is `other`."""

    GET_ME = "getMe"
    GET_UPDATES = "getUpdates"
    SET_WEBHOOK = "setWebhook"
    DELETE_WEBHOOK = "deleteWebhook"
    GET_WEBHOOK_INFO = "getWebhookInfo"
    SET_MY_COMMANDS = "setMyCommands"
    SEND_MESSAGE = "sendMessage"
    EDIT_MESSAGE_TEXT = "editMessageText"
    DELETE_MESSAGE = "deleteMessage"
    SEND_CHAT_ACTION = "sendChatAction"
    GET_FILE = "getFile"
    FILE = "file"
    OTHER = "other"

    @classmethod
    def of(cls, name: str) -> Method:
        """Find the word for a method's name."""
        return _METHODS.get(name, cls.OTHER)


class CallOutcome(StrEnum):
    """How a call of the Bot API ended; `refused` is any other no of Telegram's."""

    OK = "ok"
    FLOOD_WAIT = "flood_wait"
    REFUSED = "refused"
    CONFLICT = "conflict"
    UNAUTHORIZED = "unauthorized"
    TIMEOUT = "timeout"
    NETWORK = "network"
    CANCELLED = "cancelled"


class UpdateKind(StrEnum):
    """What an update is about, by the key that it has beside its id."""

    MESSAGE = "message"
    EDITED_MESSAGE = "edited_message"
    CALLBACK_QUERY = "callback_query"
    CHANNEL_POST = "channel_post"
    MEMBERSHIP = "my_chat_member"
    OTHER = "other"

    @classmethod
    def of(cls, raw: RawUpdate) -> UpdateKind:
        """Look which key there is, and at nothing else."""
        return next((kind for kind in cls if kind.value in raw), cls.OTHER)


class AgentErrorReason(StrEnum):
    """Why an agent gave no answer."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    UNAUTHORIZED = "unauthorized"
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"
    FAILED = "failed"
    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    EMPTY = "empty"
    OTHER = "other"


class WebhookOutcome(StrEnum):
    """What became of a request to our webhook; forged ones lack Telegram's secret."""

    ACCEPTED = "accepted"
    FORGED = "forged"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"


class DeliveryIssue(StrEnum):
    """What kept a reply from going out as it was meant."""

    PLAIN_TEXT = "plain_text"
    RETRIED = "retried"
    EDIT_LOST = "edit_lost"
    BLOCKED = "blocked"
    REFUSED = "refused"
    GAVE_UP = "gave_up"


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request to the Bot API ended.  A poll's time includes its long wait."""

    method: Method
    outcome: CallOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class PollingBegan:
    """Polls are due from now on; without it, as with a webhook, they have no age."""


@dataclass(frozen=True, slots=True)
class PollCompleted:
    """A getUpdates call came back well just now, with updates or without."""


@dataclass(frozen=True, slots=True)
class PollFailed:
    """A getUpdates call failed and will be tried again."""

    reason: ReconnectReason


@dataclass(frozen=True, slots=True)
class FloodWait:
    """Telegram asked to wait, whatever was called."""

    seconds: float


@dataclass(frozen=True, slots=True)
class UpdateReceived:
    """Telegram handed over an update, new or a duplicate, polled or by webhook."""

    kind: UpdateKind


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """Somebody called our webhook."""

    outcome: WebhookOutcome


@dataclass(frozen=True, slots=True)
class InboxState:
    """
    The ledger as one transaction saw it: accepted = the sum of closed + open.

    All are totals since the file was made.  `oldest` is when the oldest open row was
    accepted.  `duplicates` were not accepted: Telegram had delivered them before.
    """

    accepted: int
    open: int
    closed: Mapping[Disposition, int]
    duplicates: int
    oldest: float | None


@dataclass(frozen=True, slots=True)
class TurnsInFlight:
    """How many turns run now; told at every change."""

    count: int


@dataclass(frozen=True, slots=True)
class FirstText:
    """The first words of a reply can be read; seconds since the row was accepted."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AgentCall:
    """
    One question to the agent ended; `fault` is None if it was answered.

    `first_token` is the time until the first piece of the answer, None if there was
    none.  Tokens are what the agent says it used, 0 if it does not say.
    """

    seconds: float
    first_token: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    fault: AgentErrorReason | None = None


@dataclass(frozen=True, slots=True)
class DeliveryEvent:
    """A reply met a difficulty; whether it ended the turn is told by the Outcome."""

    snag: DeliveryIssue


Event = (
    Outcome
    | ErrorEvent
    | ApiCall
    | PollingBegan
    | PollCompleted
    | PollFailed
    | FloodWait
    | UpdateReceived
    | WebhookRequest
    | InboxState
    | TurnsInFlight
    | FirstText
    | AgentCall
    | DeliveryEvent
)


class EventListener(Protocol):
    """Receives events; telemetry is the only listener of the gateway."""

    def emit(self, event: Event) -> None:
        """Take one event.  Never raises, never blocks; event loop only."""


class _NoEvents:
    """Discards events."""

    def emit(self, event: Event) -> None:
        pass


NO_EVENTS: EventListener = _NoEvents()
"""For commands that run a stage without telemetry, such as `crocbot check`."""


_METHODS: Mapping[str, Method] = {method.value: method for method in Method}
