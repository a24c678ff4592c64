"""Each event changes its metrics and no others."""

from __future__ import annotations

from dataclasses import fields
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from crocbot.delivery_outcomes import DeliveryIssue
from crocbot.events import (
    AgentCall,
    ApiCall,
    CallOutcome,
    DeliveryEvent,
    Event,
    FirstText,
    FloodWait,
    InboxState,
    MessageAccepted,
    Method,
    PendingUpdates,
    PollCompleted,
    PollFailed,
    PollingStarted,
    QueueWait,
    TurnsInFlight,
    UpdateReceived,
    UpdateType,
    WebhookOutcome,
    WebhookRequest,
)
from crocbot.model import (
    Decision,
    Disposition,
    ErrorEvent,
    ErrorType,
    MessageType,
    Outcome,
    ReconnectReason,
    Severity,
    Verdict,
)
from crocbot.replica_events import (
    DatabaseOutcome,
    DatabaseUnreached,
    HeartbeatSent,
    LeaderState,
)
from crocbot.telemetry import catalogue
from crocbot.telemetry.emitter import Emitter
from crocbot.telemetry.observer import Observer
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import Clock, RecordingTarget

AGENT_FAILED = ErrorEvent(ErrorType.AGENT, Severity.WARNING)
NO_ACCESS = Decision(Verdict.NOT_LISTED)
UNKNOWN = ["crocbot.emitter.values_dropped.unknown:1|c"]


class ObserverFixture:
    """An observer whose metrics can be read as statsd lines."""

    def __init__(self) -> None:
        self.clock = Clock(100.0)
        self.target = RecordingTarget()
        instruments = catalogue.instruments(Random(1))
        self.observer = Observer(instruments, clock=self.clock)
        self.emitter = Emitter(instruments, self.target)
        self.lines()

    def lines(self, part: str = "") -> list[str]:
        """Return the lines of a flush that contain this."""
        self.emitter.flush()
        return [line for line in self.target.take() if part in line]

    def heartbeat(self) -> list[str]:
        """Return the lines of a heartbeat."""
        self.emitter.flush(everything=True)
        return self.target.take()


@pytest.fixture
def scene() -> ObserverFixture:
    """An observer after its first flush."""
    return ObserverFixture()


@pytest.mark.parametrize(
    ("event", "lines"),
    [
        (
            Outcome(
                Disposition.ANSWERED,
                message_type=MessageType.TEXT,
                seconds=2.5,
                update_ids=(7,),
            ),
            [
                "crocbot.messages.text:1|c",
                "crocbot.turns.answered:1|c",
                "crocbot.telegram.latency.text:2500.000000|ms",
            ],
        ),
        (
            Outcome(
                Disposition.ANSWERED,
                message_type=MessageType.COMMAND,
                seconds=0.001,
                update_ids=(7,),
            ),
            [
                "crocbot.messages.command:1|c",
                "crocbot.turns.answered:1|c",
                "crocbot.telegram.latency.command:1.000000|ms",
            ],
        ),
        (
            Outcome(
                Disposition.DENIED,
                message_type=MessageType.TEXT,
                decision=NO_ACCESS,
                update_ids=(7,),
            ),
            [
                "crocbot.messages.text:1|c",
                "crocbot.turns.denied:1|c",
                "crocbot.access.denials.not_listed:1|c",
            ],
        ),
        (
            Outcome(
                Disposition.CANCELLED, message_type=MessageType.TEXT, update_ids=(7, 8)
            ),
            ["crocbot.messages.text:2|c", "crocbot.turns.cancelled:1|c"],
        ),
        # It was counted when it failed, and waited for the operator.
        (
            Outcome(
                Disposition.ANSWERED,
                message_type=MessageType.TEXT,
                seconds=30_000.0,
                update_ids=(7, 8),
                retried=2,
            ),
            ["crocbot.turns.answered:1|c", "crocbot.retried_answers.answered:2|c"],
        ),
        # Further fragments of a message that failed.
        (
            Outcome(
                Disposition.FAILED,
                message_type=MessageType.MEDIA,
                update_ids=(7, 8, 9),
                retried=1,
            ),
            [
                "crocbot.messages.media:2|c",
                "crocbot.turns.failed:1|c",
                "crocbot.retried_answers.failed:1|c",
            ],
        ),
        (
            Outcome(
                Disposition.FAILED,
                message_type=MessageType.MEDIA,
                error=AGENT_FAILED,
                update_ids=(7,),
            ),
            [
                "crocbot.messages.media:1|c",
                "crocbot.turns.failed:1|c",
                "crocbot.errors.agent.warning:1|c",
            ],
        ),
        # An album is one turn of several messages.
        (
            Outcome(
                Disposition.FAILED,
                message_type=MessageType.MEDIA,
                update_ids=(7, 8, 9),
            ),
            ["crocbot.messages.media:3|c", "crocbot.turns.failed:1|c"],
        ),
        # Not every update is a message.
        (Outcome(Disposition.IGNORED), ["crocbot.turns.ignored:1|c"]),
        (
            Outcome(
                Disposition.SET_ASIDE,
                error=ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL),
            ),
            ["crocbot.turns.set_aside:1|c", "crocbot.errors.processing.critical:1|c"],
        ),
        (AGENT_FAILED, ["crocbot.errors.agent.warning:1|c"]),
        *(
            (
                PollFailed(reason),
                [
                    f"crocbot.telegram.reconnects.{reason}:1|c",
                    f"crocbot.errors.{reason}.warning:1|c",
                ],
            )
            for reason in ReconnectReason
        ),
        (
            ApiCall(Method.SEND_MESSAGE, CallOutcome.OK, 0.25),
            ["crocbot.telegram.api.sendMessage.ok:250.000000|ms"],
        ),
        # A refused token needs a person, whatever the method.
        (
            ApiCall(Method.GET_UPDATES, CallOutcome.UNAUTHORIZED, 0.5),
            [
                "crocbot.telegram.api.getUpdates.unauthorized:500.000000|ms",
                "crocbot.errors.auth.critical:1|c",
            ],
        ),
        (PollingStarted(), ["crocbot.telegram.poll_age:0|g"]),
        (PollCompleted(), ["crocbot.telegram.poll_age:0|g"]),
        (
            FloodWait(2.5),
            [
                "crocbot.telegram.flood_waits:1|c",
                "crocbot.telegram.flood_wait_time:2.5|c",
            ],
        ),
        (
            UpdateReceived(UpdateType.MESSAGE),
            ["crocbot.telegram.updates.message:1|c"],
        ),
        (MessageAccepted(2.5), ["crocbot.telegram.delivery_lag:2500.000000|ms"]),
        (PendingUpdates(7), ["crocbot.telegram.pending_updates:7|g"]),
        (PendingUpdates(None), []),
        # A failure is counted once, as lasting or not.
        (
            PollFailed(ReconnectReason.CONFLICT, lasting=True),
            [
                "crocbot.telegram.reconnects.conflict:1|c",
                "crocbot.errors.conflict.critical:1|c",
            ],
        ),
        (
            WebhookRequest(WebhookOutcome.FORGED),
            ["crocbot.webhook.requests.forged:1|c"],
        ),
        (
            InboxState(
                accepted=9,
                open=2,
                closed={Disposition.ANSWERED: 7},
                duplicates=3,
                oldest_accepted_at=70.0,
            ),
            [
                "crocbot.inbox.accepted:9|g",
                "crocbot.inbox.open:2|g",
                "crocbot.inbox.closed.answered:7|g",
                "crocbot.inbox.duplicates:3|g",
                "crocbot.inbox.oldest_age:30.0|g",
            ],
        ),
        (TurnsInFlight(3), ["crocbot.turns_in_flight:3|g"]),
        (QueueWait(0.25), ["crocbot.queue_wait:250.000000|ms"]),
        (FirstText(0.5), ["crocbot.telegram.first_text:500.000000|ms"]),
        (
            AgentCall(
                seconds=2.0, first_token_seconds=0.5, input_tokens=11, output_tokens=7
            ),
            [
                "crocbot.agent.latency:2000.000000|ms",
                "crocbot.agent.first_token:500.000000|ms",
                "crocbot.agent.tokens.input:11|c",
                "crocbot.agent.tokens.output:7|c",
            ],
        ),
        (
            AgentCall(seconds=60.0, error=AgentErrorReason.TIMEOUT),
            [
                "crocbot.agent.latency:60000.000000|ms",
                "crocbot.agent.errors.timeout:1|c",
            ],
        ),
        (
            DeliveryEvent(DeliveryIssue.PLAIN_TEXT),
            ["crocbot.delivery.snags.plain_text:1|c"],
        ),
        ("no event", UNKNOWN),
        (None, UNKNOWN),
        (
            Outcome(Disposition.ANSWERED, message_type="sticker", update_ids=(7,)),  # type: ignore[arg-type]
            ["crocbot.turns.answered:1|c", *UNKNOWN],
        ),
        (ErrorEvent(ErrorType.AGENT, "fatal"), UNKNOWN),  # type: ignore[arg-type]
        (ErrorEvent(["agent"], Severity.INFO), UNKNOWN),  # type: ignore[arg-type]
        (PollFailed("weather"), UNKNOWN),  # type: ignore[arg-type]
        (PollFailed(None), UNKNOWN),  # type: ignore[arg-type]
    ],
)
def test_an_event_changes_its_metrics(
    scene: ObserverFixture, event: Event, lines: list[str]
) -> None:
    """An event is recorded where it belongs; an invalid one is counted as unknown."""
    scene.observer.emit(event)

    assert sorted(scene.lines()) == sorted(lines)


def test_an_event_that_cannot_be_recorded_is_logged(scene: ObserverFixture) -> None:
    """Each is counted; a minute's errors are logged once, with the traceback."""
    with capture_logs() as logs:
        for now in (100.0, 159.0, 161.0):
            scene.clock.now = now
            scene.observer.emit(PollFailed("weather"))  # type: ignore[arg-type]

    assert scene.lines() == ["crocbot.emitter.values_dropped.unknown:3|c"]
    assert [(line["event"], line["event_type"]) for line in logs] == [
        ("event not recorded", "PollFailed")
    ] * 2
    assert all(line["exc_info"] for line in logs)


def test_the_age_of_the_last_poll_grows(scene: ObserverFixture) -> None:
    """It grows through failed polls until one succeeds; before the first poll, none."""
    scene.observer.update_ages()
    ages = [scene.lines("poll_age")]
    for event in (
        PollingStarted(),
        PollFailed(ReconnectReason.NETWORK),
        PollCompleted(),
    ):
        scene.observer.emit(event)
        scene.clock.now += 30
        scene.observer.update_ages()
        ages.append(scene.lines("poll_age"))

    assert ages == [
        [],
        ["crocbot.telegram.poll_age:30.0|g"],
        ["crocbot.telegram.poll_age:60.0|g"],
        ["crocbot.telegram.poll_age:30.0|g"],
    ]


def test_the_age_grows_from_the_begin_of_a_term(scene: ObserverFixture) -> None:
    """Of a leader that has not polled yet, once polls are due."""
    scene.observer.emit(LeaderState(bot=42, epoch=0))
    scene.observer.emit(PollingStarted())
    scene.clock.now += 30
    scene.observer.update_ages()
    assert scene.lines("poll_age") == []

    scene.observer.emit(LeaderState(bot=42, epoch=7))
    scene.clock.now += 5
    scene.observer.update_ages()
    assert scene.lines("poll_age") == ["crocbot.telegram.poll_age:5.0|g"]
    # The lease is renewed.
    scene.observer.emit(LeaderState(bot=42, epoch=7))
    scene.clock.now += 5
    scene.observer.update_ages()
    assert scene.lines("poll_age") == ["crocbot.telegram.poll_age:10.0|g"]


def inbox_state(oldest_accepted_at: float | None) -> InboxState:
    """A state of the inbox."""
    return InboxState(
        accepted=1,
        open=int(oldest_accepted_at is not None),
        closed={},
        duplicates=0,
        oldest_accepted_at=oldest_accepted_at,
    )


def test_the_age_of_the_oldest_row_grows(scene: ObserverFixture) -> None:
    """It grows between two events, and is 0 as soon as no row is open."""
    scene.observer.update_ages()
    ages = [scene.lines("oldest")]
    scene.observer.emit(inbox_state(90.0))
    scene.clock.now += 25
    scene.observer.update_ages()
    ages.append(scene.lines("oldest"))
    scene.observer.emit(inbox_state(None))
    ages.append(scene.lines("oldest"))

    assert ages == [
        [],
        ["crocbot.inbox.oldest_age:35.0|g"],
        ["crocbot.inbox.oldest_age:0|g"],
    ]


def test_a_standby_shows_no_numbers_of_the_leader(scene: ObserverFixture) -> None:
    """Its old ones are not renewed, and an event that comes late changes nothing."""
    scene.observer.emit(LeaderState(bot=42, epoch=7))
    events = (PollingStarted(), inbox_state(90.0), PendingUpdates(3))
    for event in events:
        scene.observer.emit(event)
    led = scene.heartbeat()
    scene.observer.emit(LeaderState(bot=42, epoch=0))
    for event in events:
        scene.observer.emit(event)
    scene.observer.update_ages()

    assert "crocbot.leader_epoch.42:7|g" in led
    assert "crocbot.inbox.open:1|g" in led
    renewed = " ".join(scene.heartbeat())
    assert "crocbot.leader_epoch.42:0|g" in renewed
    assert "crocbot.inbox." not in renewed
    assert "crocbot.telegram.poll_age" not in renewed
    assert "crocbot.telegram.pending_updates" not in renewed


def test_whether_the_leader_is_known(scene: ObserverFixture) -> None:
    """It is by the answer of the database; no answer means that it is not."""
    shown = []
    for event in (
        DatabaseUnreached(),
        HeartbeatSent(DatabaseOutcome.OK, 0.01, leader_known=True),
        HeartbeatSent(DatabaseOutcome.FAILED, 10.0),
    ):
        scene.observer.emit(event)
        shown += scene.lines("leader_known")

    assert shown == [f"crocbot.leader_known:{value}|g" for value in (0, 1, 0)]


ODD = st.one_of(st.none(), st.text(), st.floats(), st.lists(st.text()))
ODD_EVENTS = st.one_of(
    *(
        st.builds(event, **{each.name: ODD for each in fields(event)})
        for event in get_args(Event)
    )
)


@given(st.one_of(ODD, ODD_EVENTS))
def test_emit_never_raises(event: Event) -> None:
    """Whatever is emitted is recorded, or counted as unknown or invalid."""
    scene = ObserverFixture()
    with capture_logs():
        scene.observer.emit(event)

    assert all("|" in line for line in scene.lines())
