"""Each fact to the numbers that it moves, and to no others."""

from __future__ import annotations

from dataclasses import fields
from random import Random
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.events import (
    AgentCall,
    AgentErrorReason,
    ApiCall,
    CallOutcome,
    DeliveryEvent,
    DeliveryIssue,
    Event,
    FirstText,
    FloodWait,
    InboxState,
    Method,
    PollCompleted,
    PollFailed,
    PollingStarted,
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
from crocbot.telemetry.catalogue import Loss
from crocbot.telemetry.emitter import Emitter
from crocbot.telemetry.observer import Observer

AGENT_FAILED = ErrorEvent(ErrorType.AGENT, Severity.WARNING)
NO_ACCESS = Decision(Verdict.NOT_LISTED)
LET_IN = Decision(Verdict.ALLOWED)
UNKNOWN = ["crocbot.emitter.values_dropped.unknown:1|c"]


class FakeWire:
    """A wire that keeps the lines."""

    connected = True
    generation = 1
    sent = 0

    def __init__(self) -> None:
        self.lost = dict.fromkeys(Loss, 0)
        self.lines: list[str] = []

    def send(self, datagram: bytes) -> None:
        """Keep its lines, but for the total that ends each flush."""
        lines = datagram.decode().split("\n")
        self.lines += [line for line in lines if "lines_sent" not in line]


class Clock:
    """A clock that the test sets."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


def watched(clock: Clock, wall: Clock) -> tuple[Observer, Emitter, FakeWire]:
    """An observer that has told what it tells at the start."""
    wire = FakeWire()
    emitter = Emitter(wire, random=Random(1))  # type: ignore[arg-type]
    observer = Observer(emitter, clock=clock, wall=wall)
    emitter.flush()
    wire.lines.clear()
    return observer, emitter, wire


def told(*facts: object) -> list[str]:
    """The lines that facts make."""
    observer, emitter, wire = watched(Clock(100.0), Clock(1000.0))
    for fact in facts:
        observer.emit(fact)  # type: ignore[arg-type]
    emitter.flush()
    return wire.lines


@pytest.mark.parametrize(
    ("fact", "lines"),
    [
        (
            Outcome(Disposition.ANSWERED, MessageType.TEXT, seconds=2.5),
            [
                "crocbot.messages.text:1|c",
                "crocbot.turns.answered:1|c",
                "crocbot.telegram.latency.text:2500.000000|ms",
            ],
        ),
        (
            Outcome(Disposition.ANSWERED, MessageType.COMMAND, seconds=0.001),
            [
                "crocbot.messages.command:1|c",
                "crocbot.turns.answered:1|c",
                "crocbot.telegram.latency.command:1.000000|ms",
            ],
        ),
        (
            Outcome(Disposition.DENIED, MessageType.TEXT, decision=NO_ACCESS),
            [
                "crocbot.messages.text:1|c",
                "crocbot.turns.denied:1|c",
                "crocbot.access.denials.not_listed:1|c",
            ],
        ),
        (
            Outcome(Disposition.CANCELLED, MessageType.TEXT, decision=LET_IN),
            ["crocbot.messages.text:1|c", "crocbot.turns.cancelled:1|c"],
        ),
        (
            Outcome(Disposition.FAILED, MessageType.MEDIA, error=AGENT_FAILED),
            [
                "crocbot.messages.media:1|c",
                "crocbot.turns.failed:1|c",
                "crocbot.errors.agent.warning:1|c",
            ],
        ),
        # An album is one turn, and as many messages.
        (
            Outcome(Disposition.CANCELLED, MessageType.MEDIA, update_ids=(7, 8, 9)),
            ["crocbot.messages.media:3|c", "crocbot.turns.cancelled:1|c"],
        ),
        # Only what was answered has a latency, even if somebody measured one.
        (
            Outcome(Disposition.FAILED, MessageType.TEXT, 3.0),
            ["crocbot.messages.text:1|c", "crocbot.turns.failed:1|c"],
        ),
        # Not everything is a message.
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
        # A refused token is for a person, however it came out.
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
            UpdateReceived(UpdateType.CALLBACK_QUERY),
            ["crocbot.telegram.updates.callback_query:1|c"],
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
                oldest_accepted_at=970.0,
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
        ("no fact", UNKNOWN),
        (None, UNKNOWN),
        (
            Outcome(Disposition.ANSWERED, "sticker", 1.0),  # type: ignore[arg-type]
            ["crocbot.turns.answered:1|c", *UNKNOWN],
        ),
        (ErrorEvent(ErrorType.AGENT, "fatal"), UNKNOWN),  # type: ignore[arg-type]
        (ErrorEvent(["agent"], Severity.INFO), UNKNOWN),  # type: ignore[arg-type]
        (PollFailed("weather"), UNKNOWN),  # type: ignore[arg-type]
        (PollFailed(None), UNKNOWN),  # type: ignore[arg-type]
    ],
)
def test_a_fact_moves_its_numbers(fact: object, lines: list[str]) -> None:
    """A fact is counted where it belongs; an unknown one is counted as unknown."""
    assert sorted(told(fact)) == sorted(lines)


def test_every_word_is_known() -> None:
    """No word of the nouns and the facts lacks a handle."""
    facts = [
        *(Outcome(end, kind, 1.0) for end in Disposition for kind in MessageType),
        *(Outcome(Disposition.DENIED, decision=Decision(why)) for why in Verdict),
        *(ErrorEvent(type, severity) for type in ErrorType for severity in Severity),
        *(PollFailed(reason) for reason in ReconnectReason),
        *(ApiCall(method, how, 1.0) for method in Method for how in CallOutcome),
        *(UpdateReceived(kind) for kind in UpdateType),
        *(WebhookRequest(outcome) for outcome in WebhookOutcome),
        *(AgentCall(seconds=1.0, error=error) for error in AgentErrorReason),
        *(DeliveryEvent(snag) for snag in DeliveryIssue),
        InboxState(
            accepted=6,
            open=0,
            closed=dict.fromkeys(Disposition, 1),
            duplicates=0,
            oldest_accepted_at=None,
        ),
    ]

    assert not [line for line in told(*facts) if "unknown" in line]


def test_every_fact_is_known() -> None:
    """A fact that was added to the union has its line in the observer."""
    observer, _, _ = watched(Clock(0.0), Clock(0.0))

    assert set(observer._observers) == set(get_args(Event))


def test_a_poll_grows_old() -> None:
    """The age grows by itself, through failed polls, until a poll comes back well."""
    clock = Clock(50.0)
    observer, emitter, wire = watched(clock, Clock(0.0))
    ages = []
    for fact in (
        PollingStarted(),
        PollFailed(ReconnectReason.NETWORK),
        PollCompleted(),
    ):
        observer.emit(fact)
        clock.now += 30
        observer.sample()
        emitter.flush()
        ages += [line for line in wire.lines if "poll_age" in line]
        wire.lines.clear()

    assert ages == [
        "crocbot.telegram.poll_age:30.0|g",
        "crocbot.telegram.poll_age:60.0|g",
        "crocbot.telegram.poll_age:30.0|g",
    ]


def test_no_polls_have_no_age() -> None:
    """With a webhook there is no age of polls, and before the inbox none of rows."""
    observer, emitter, wire = watched(Clock(50.0), Clock(1000.0))
    observer.sample()
    emitter.flush()

    assert wire.lines == []


def test_the_oldest_row_grows_old() -> None:
    """The age grows between two reports, and is 0 as soon as no row is open."""
    wall = Clock(1000.0)
    observer, emitter, wire = watched(Clock(0.0), wall)
    nothing = dict.fromkeys(Disposition, 0)
    observer.emit(
        InboxState(
            accepted=1, open=1, closed=nothing, duplicates=0, oldest_accepted_at=990.0
        )
    )
    wall.now += 25
    observer.sample()
    emitter.flush()
    old = [line for line in wire.lines if "oldest" in line]
    wire.lines.clear()
    observer.emit(
        InboxState(
            accepted=1,
            open=0,
            closed={**nothing, Disposition.ANSWERED: 1},
            duplicates=0,
            oldest_accepted_at=None,
        )
    )
    emitter.flush()
    young = [line for line in wire.lines if "oldest" in line]

    assert old == ["crocbot.inbox.oldest_age:35.0|g"]
    assert young == ["crocbot.inbox.oldest_age:0|g"]


def test_clocks_that_were_set_back_make_no_negative_age() -> None:
    """An age is 0 at least, whatever happened to the clock."""
    clock, wall = Clock(50.0), Clock(1000.0)
    observer, emitter, wire = watched(clock, wall)
    observer.emit(PollCompleted())
    observer.emit(
        InboxState(
            accepted=1, open=1, closed={}, duplicates=0, oldest_accepted_at=1000.0
        )
    )
    clock.now, wall.now = 40.0, 900.0
    observer.sample()
    emitter.flush()

    assert "crocbot.telegram.poll_age:0|g" in wire.lines
    assert "crocbot.inbox.oldest_age:0|g" in wire.lines


ODD = st.one_of(st.none(), st.text(), st.floats(), st.lists(st.text()))


ODD_FACTS = st.one_of(
    *(
        st.builds(fact, **{each.name: ODD for each in fields(fact)})
        for fact in get_args(Event)
    )
)


@given(st.one_of(ODD, ODD_FACTS))
def test_no_fact_raises(fact: object) -> None:
    """Whatever is reported, reporting returns."""
    assert "|" in "".join(told(fact)) or told(fact) == []
