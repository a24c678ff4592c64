"""
Events: what a stage reports besides its result.

    stage -- emit(event) --> EventListener (telemetry's observer)

Events are emitted on the event loop only.  Their enumerations are label values of
metrics: closed sets, never text from outside.  Durations are seconds; times are on the
monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from crocbot.agent_events import AgentCost, AgentFallback, MessageLimited
from crocbot.alert_outcomes import AlertWay, NoticeOutcome
from crocbot.arrival_outcomes import EditOutcome, Membership, PressOutcome
from crocbot.delivery_outcomes import (
    ButtonOutcome,
    DeliveryIssue,
    DraftOutcome,
    PushRequestOutcome,
    PushState,
    RichOutcome,
)
from crocbot.model import Disposition, ErrorEvent, Outcome, RawUpdate, ReconnectReason
from crocbot.replica_events import ReplicaEvent
from crocbot.turn_outcomes import (
    AgentErrorReason,
    FileDirection,
    FileOutcome,
    TranscriptionOutcome,
)

SEND_FILE_METHODS = ("sendPhoto", "sendVoice", "sendAudio", "sendDocument")


class Method(StrEnum):
    """
    A method of the Bot API.

    SEND_FILE is any that sends a file, such as sendPhoto; FILE is a download, OTHER any
    method not listed.
    """

    GET_ME = "getMe"
    GET_UPDATES = "getUpdates"
    SET_WEBHOOK = "setWebhook"
    DELETE_WEBHOOK = "deleteWebhook"
    GET_WEBHOOK_INFO = "getWebhookInfo"
    SET_MY_COMMANDS = "setMyCommands"
    SEND_MESSAGE = "sendMessage"
    SEND_FILE = "sendFile"
    EDIT_MESSAGE_TEXT = "editMessageText"
    DELETE_MESSAGE = "deleteMessage"
    SEND_MESSAGE_DRAFT = "sendMessageDraft"
    SEND_RICH_MESSAGE = "sendRichMessage"
    SET_MESSAGE_REACTION = "setMessageReaction"
    SEND_CHAT_ACTION = "sendChatAction"
    ANSWER_CALLBACK_QUERY = "answerCallbackQuery"
    GET_FILE = "getFile"
    FILE = "file"
    OTHER = "other"

    @classmethod
    def of(cls, name: str) -> Method:
        """Return the member for a method's name; OTHER if there is none."""
        return _METHODS.get(name, cls.OTHER)


class CallOutcome(StrEnum):
    """How a Bot API call ended; REFUSED is any error status without its own member."""

    OK = "ok"
    FLOOD_WAIT = "flood_wait"
    REFUSED = "refused"
    CONFLICT = "conflict"
    UNAUTHORIZED = "unauthorized"
    TIMEOUT = "timeout"
    NETWORK = "network"
    CANCELLED = "cancelled"


class UpdateType(StrEnum):
    """The types of updates that Telegram is asked for: the key beside `update_id`."""

    MESSAGE = "message"
    STOPPED_MESSAGE_GENERATION = "stopped_message_generation"
    EDITED_MESSAGE = "edited_message"
    CALLBACK_QUERY = "callback_query"
    MY_CHAT_MEMBER = "my_chat_member"

    @classmethod
    def of(cls, raw: RawUpdate) -> UpdateType | None:
        """Return the type of an update, None if it is not one of these."""
        return next((type_ for type_ in cls if type_.value in raw), None)


class WebhookOutcome(StrEnum):
    """The outcome of a webhook request; a FORGED one lacks Telegram's secret."""

    ACCEPTED = "accepted"
    FORGED = "forged"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class ButtonsEvent:
    """Buttons of an answer were sent, or left out."""

    outcome: ButtonOutcome
    count: int


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A Bot API request ended.  The time of a poll includes its long wait."""

    method: Method
    outcome: CallOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class PollingStarted:
    """Polls are due from now on; with a webhook there are none, and no poll age."""


@dataclass(frozen=True, slots=True)
class PollCompleted:
    """A getUpdates call succeeded just now, with updates or without."""


@dataclass(frozen=True, slots=True)
class PollFailed:
    """
    Receiving updates failed and is retried: a getUpdates call, or the webhook.

    `lasting` means that it does not pass without the operator.
    """

    reason: ReconnectReason
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class FloodWait:
    """Telegram answered a call with HTTP 429 and this `retry_after`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class UpdateReceived:
    """Telegram delivered an update, new or duplicate, by poll or webhook."""

    type: UpdateType


@dataclass(frozen=True, slots=True)
class MessageAccepted:
    """A new message was stored, this long after it was sent."""

    lag_seconds: float


@dataclass(frozen=True, slots=True)
class PendingUpdates:
    """The number of updates that Telegram keeps, None if it could not be found out."""

    count: int | None


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """An HTTP request to the webhook was answered."""

    outcome: WebhookOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxState:
    """
    The ledger, read in one transaction: accepted = sum of closed + open.

    All are totals since the file was made.  `oldest_accepted_at` is the time at which
    the oldest open row was accepted, None if no row is open.  `duplicates` had been
    delivered before and are not in `accepted`.
    """

    accepted: int
    open: int
    closed: Mapping[Disposition, int]
    duplicates: int
    oldest_accepted_at: float | None


@dataclass(frozen=True, slots=True)
class PushedState:
    """The pushed messages by state; closed ones since the file was made."""

    rows: Mapping[PushState, int]


@dataclass(frozen=True, slots=True)
class PushRequest:
    """A request to push a message was answered."""

    outcome: PushRequestOutcome


@dataclass(frozen=True, slots=True)
class AlertNotice:
    """A message about an alert was sent, or was not."""

    way: AlertWay
    outcome: NoticeOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSpace:
    """The space on the disk of the state directory, in bytes, now."""

    free: int
    size: int


@dataclass(frozen=True, slots=True)
class TurnsInFlight:
    """The number of running turns, at each change."""

    count: int


@dataclass(frozen=True, slots=True)
class QueueWait:
    """A turn begins, this long after its row was accepted; once for each row."""

    seconds: float


@dataclass(frozen=True, slots=True)
class FirstText:
    """The first text of a reply is visible, this long after the row was accepted."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCall:
    """
    A prompt to the agent ended; `error` is None if it was answered, or was stopped.

    `first_token_seconds` is the time to the first part of the answer, None if there
    was none.  Token counts are the agent's own, 0 if it reports none.
    """

    seconds: float
    first_token_seconds: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    error: AgentErrorReason | None = None


@dataclass(frozen=True, slots=True)
class DeliveryEvent:
    """The delivery of a reply had an issue; the Outcome has what became of the turn."""

    issue: DeliveryIssue


@dataclass(frozen=True, slots=True)
class FileEvent:
    """What became of a file of a message, or of one of an answer."""

    direction: FileDirection
    outcome: FileOutcome


@dataclass(frozen=True, slots=True)
class Transcription:
    """A recording was turned into words, or not, in this time with all tries."""

    outcome: TranscriptionOutcome
    seconds: float


@dataclass(frozen=True, slots=True)
class RichMessage:
    """A reply was sent as a rich message, or was not."""

    outcome: RichOutcome


@dataclass(frozen=True, slots=True)
class DraftShown:
    """A draft of a growing answer was sent, or was not."""

    outcome: DraftOutcome


@dataclass(frozen=True, slots=True)
class EditHandled:
    """An edited message had this outcome."""

    outcome: EditOutcome


@dataclass(frozen=True, slots=True)
class PressHandled:
    """The press of a button had this outcome."""

    outcome: PressOutcome


@dataclass(frozen=True, slots=True)
class MembershipChanged:
    """The bot was blocked, unblocked, added to or removed from a chat."""

    change: Membership


Event = (
    Outcome
    | ErrorEvent
    | ApiCall
    | PollingStarted
    | PollCompleted
    | PollFailed
    | FloodWait
    | UpdateReceived
    | MessageAccepted
    | PendingUpdates
    | WebhookRequest
    | InboxState
    | PushedState
    | PushRequest
    | AlertNotice
    | DiskSpace
    | TurnsInFlight
    | QueueWait
    | FirstText
    | AgentCall
    | MessageLimited
    | AgentFallback
    | AgentCost
    | DeliveryEvent
    | FileEvent
    | Transcription
    | DraftShown
    | RichMessage
    | EditHandled
    | PressHandled
    | MembershipChanged
    | ReplicaEvent
    | ButtonsEvent
)


class EventListener(Protocol):
    """Receives events; telemetry's Observer is the only one in the gateway."""

    def emit(self, event: Event) -> None:
        """Take one event.  Never raises, never blocks; event loop only."""


class _NoEvents:
    """Discards events."""

    def emit(self, event: Event) -> None:
        pass


NO_EVENTS: EventListener = _NoEvents()
"""For commands that run a stage without telemetry, such as `crocbot check`."""

_METHODS: Mapping[str, Method] = {
    **{method.value: method for method in Method},
    **dict.fromkeys(SEND_FILE_METHODS, Method.SEND_FILE),
}
