"""
The gateway's telemetry over a real socket into the bridge: what docs/metrics.md
promises is on the page, and counts are exact.
"""

from __future__ import annotations

import asyncio
import gc
import re
import socket
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from crocbot.events import (
    AgentCall,
    AlertNotice,
    ApiCall,
    ButtonsEvent,
    CallOutcome,
    DeliveryEvent,
    DiskSpace,
    DraftShown,
    EditHandled,
    Event,
    FileEvent,
    FirstText,
    FloodWait,
    InboxState,
    MembershipChanged,
    MessageAccepted,
    Method,
    PendingUpdates,
    PollCompleted,
    PollFailed,
    PollingStarted,
    PressHandled,
    PushedState,
    PushRequest,
    QueueWait,
    RichMessage,
    Transcription,
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
    HostPort,
    MessageType,
    Outcome,
    ReconnectReason,
    Severity,
    Verdict,
)
from crocbot.replica_events import (
    ChatsHeld,
    DatabaseOutcome,
    DatabaseUnreached,
    HeartbeatSent,
    LeaderState,
    LeaseLost,
    WriteRefused,
)
from crocbot.telemetry import Telemetry, catalogue
from crocbot.telemetry.catalogue import CATALOGUE
from crocbot.telemetry.emitter import MAX_DATAGRAM_BYTES, sampling_rate
from crocbot.turn_outcomes import (
    AgentErrorReason,
    FallbackOutcome,
    FileDirection,
    FileOutcome,
    Limit,
    TranscriptionOutcome,
)
from statsd_bridge import line
from tests.contract.in_memory_bridge import InMemoryBridge, Series

TABLE = Path(__file__).parents[2] / "docs/metrics.md"

EVENTS: list[Event] = [
    *(
        Outcome(Disposition.ANSWERED, message_type=type_, seconds=0.75, update_ids=(7,))
        for type_ in MessageType
    ),
    *(Outcome(disposition) for disposition in Disposition),
    *(
        Outcome(disposition, message_type=MessageType.TEXT, update_ids=(7,), retried=1)
        for disposition in Disposition
    ),
    *(Outcome(Disposition.DENIED, decision=Decision(verdict)) for verdict in Verdict),
    *(ErrorEvent(type, severity) for type in ErrorType for severity in Severity),
    PollingStarted(),
    PollCompleted(),
    *(PollFailed(reason) for reason in ReconnectReason),
    FloodWait(3.0),
    *(DraftShown(outcome) for outcome in DraftOutcome),
    *(RichMessage(outcome) for outcome in RichOutcome),
    *(UpdateReceived(type_) for type_ in UpdateType),
    MessageAccepted(2.0),
    PendingUpdates(3),
    *(WebhookRequest(outcome) for outcome in WebhookOutcome),
    InboxState(
        accepted=700,
        open=100,
        closed=dict.fromkeys(Disposition, 100),
        duplicates=5,
        oldest_accepted_at=1.0,
    ),
    PushedState(dict.fromkeys(PushState, 3)),
    *(PushRequest(outcome) for outcome in PushRequestOutcome),
    *(AlertNotice(way, each) for way in AlertWay for each in NoticeOutcome),
    DiskSpace(free=10, size=100),
    TurnsInFlight(2),
    QueueWait(0.25),
    FirstText(0.5),
    *(
        AgentCall(
            seconds=2.0,
            first_token_seconds=0.5,
            input_tokens=30,
            output_tokens=20,
            error=error,
        )
        for error in AgentErrorReason
    ),
    *(MessageLimited(limit) for limit in Limit),
    *(AgentFallback(outcome) for outcome in FallbackOutcome),
    AgentCost("gpt-4o", 0.25),
    AgentCost("qwen3_8b", 0.000_001_5),
    *(DeliveryEvent(issue) for issue in DeliveryIssue),
    *(FileEvent(way, outcome) for way in FileDirection for outcome in FileOutcome),
    *(Transcription(outcome, 2.0) for outcome in TranscriptionOutcome),
    *(EditHandled(outcome) for outcome in EditOutcome),
    *(PressHandled(outcome) for outcome in PressOutcome),
    *(MembershipChanged(change) for change in Membership),
    *(ButtonsEvent(outcome, 2) for outcome in ButtonOutcome),
    LeaderState(bot=4242, epoch=7),
    ChatsHeld(3),
    LeaseLost(),
    WriteRefused(),
    *(HeartbeatSent(outcome, 0.01) for outcome in DatabaseOutcome),
    DatabaseUnreached(),
]
# Nine in ten series are the buckets of methods and outcomes that never meet.
MAX_SERIES = 2500
# Once: as often as the others they would overflow the receiver's buffer.
CALLS: list[Event] = [
    ApiCall(method, outcome, 0.5) for method in Method for outcome in CallOutcome
]


async def run_gateway(times: int) -> InMemoryBridge:
    """Run telemetry from start to stop, and emit each event `times` times."""
    bridge = InMemoryBridge()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        telemetry = Telemetry(HostPort(*receiver.getsockname()), version="0.1.0")
        await telemetry.start()
        for generation in range(3):
            gc.collect(generation)
        for event in [*CALLS, *(EVENTS * times)]:
            telemetry.observer.emit(event)
        received: list[bytes] = []
        loop = asyncio.get_running_loop()
        # Read as soon as they arrive: the buffer of a receiver has its bound.
        loop.add_reader(receiver, lambda: received.extend(pending(receiver)))
        async with asyncio.timeout(60):
            # The first lag of the event loop is measured after a tenth of a second.
            while not any(b"event_loop.lag" in each for each in received):
                await asyncio.sleep(0.05)
        await telemetry.stop()
        loop.remove_reader(receiver)
        bridge.feed(*received, *pending(receiver))
    return bridge


def pending(receiver: socket.socket) -> list[bytes]:
    """Return the datagrams that have arrived."""
    datagrams: list[bytes] = []
    with suppress(BlockingIOError):
        while True:
            datagrams.append(receiver.recv(MAX_DATAGRAM_BYTES))
    return datagrams


@pytest.fixture(scope="module")
def bridge() -> InMemoryBridge:
    """A bridge after a run in which each event was emitted 700 times."""
    return asyncio.run(run_gateway(700))


@pytest.fixture(scope="module")
def series(bridge: InMemoryBridge) -> dict[Series, float]:
    """Every sample of its page."""
    return bridge.series()


def promised() -> dict[str, tuple[str, str, dict[str, list[str]]]]:
    """Read the table of docs/metrics.md: name -> type, help, values of each label."""
    rows = {}
    for row in TABLE.read_text().splitlines():
        if not row.startswith("| `crocbot"):
            continue
        name, type_, labels, help_, *_ = (cell.strip() for cell in row.split(" | "))
        values = {
            label: text.split(", ")
            for label, text in re.findall(r"`(\w+)`: ([^<`]+)(?:<br>|$)", labels)
        }
        rows[name.strip("| `")] = (type_, help_, values)
    return rows


def test_the_page_has_every_promised_metric_and_no_other(
    bridge: InMemoryBridge,
) -> None:
    """Name, type and help are those of docs/metrics.md, and all of them are sent."""
    page = bridge.page()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", page, re.MULTILINE))

    assert types == {name: type_ for name, (type_, _, _) in promised().items()}
    assert helps == {name: help_ for name, (_, help_, _) in promised().items()}


@pytest.mark.parametrize("name", promised())
def test_labels_have_the_promised_values(
    name: str, series: dict[Series, float]
) -> None:
    """A metric has a series for each combination of its label values, no other."""
    _, _, values = promised()[name]
    found = [labels for metric, labels in series if metric in (name, f"{name}_sum")]
    if any(each[0].endswith(" a process") for each in values.values()):
        assert {frozenset(dict(labels)) for labels in found} == {frozenset(values)}
        return
    combinations = [
        frozenset(zip(values, each, strict=True)) for each in product(*values.values())
    ]

    assert len(found) == len(combinations)
    assert set(found) == set(combinations)


@pytest.mark.parametrize(
    "name", [each.name for each in CATALOGUE if each.type == "counter"]
)
def test_every_counter_rises(name: str, series: dict[Series, float]) -> None:
    """A row that nothing records would stay at 0, though it is on the page."""
    values = {value for (metric, _), value in series.items() if metric == name}

    assert (max(values) > 0) == (name != catalogue.VALUES_DROPPED.name)


def test_costs_are_exact(series: dict[Series, float]) -> None:
    """Fractions of a dollar, however small, add up in the bridge."""
    name = "crocbot_agent_cost_dollars_total"
    costs = {
        dict(labels)["model"]: value
        for (metric, labels), value in series.items()
        if metric == name
    }

    assert costs == {
        "gpt-4o": pytest.approx(700 * 0.25, rel=1e-12),
        "qwen3_8b": pytest.approx(700 * 0.000_001_5, rel=1e-12),
    }


@pytest.mark.parametrize("type_", MessageType)
def test_counts_are_exact(type_: MessageType, series: dict[Series, float]) -> None:
    """700 of each are counted, though a timer keeps 512."""
    labels = frozenset({("type", str(type_))})
    latency = "crocbot_telegram_latency_seconds"
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in series.items()
        if name == f"{latency}_bucket" and ("type", type_) in labels
    }

    assert series["crocbot_messages_total", labels] == 700
    assert series[f"{latency}_count", labels] == 700
    assert series[f"{latency}_sum", labels] == pytest.approx(525)
    assert buckets == {
        bound: 700.0 * (bound >= 0.75)
        for bound in (*catalogue.LATENCY.buckets, float("inf"))
    }


def test_a_failed_poll_is_a_reconnect_and_a_warning(
    series: dict[Series, float],
) -> None:
    """Both counters rise; the warning adds to the errors that were emitted."""
    reconnects = frozenset({("reason", "conflict")})
    errors = frozenset({("type", "conflict"), ("severity", "warning")})

    assert series["crocbot_telegram_reconnects_total", reconnects] == 700
    assert series["crocbot_errors_total", errors] == 1400


def test_nothing_is_lost_on_the_way(
    bridge: InMemoryBridge, series: dict[Series, float]
) -> None:
    """No line is unmapped, rejected or unreadable, none was lost, no value dropped."""
    stats = bridge.stats
    losses = {
        value
        for (name, _), value in series.items()
        if name.startswith(("crocbot_emitter_lines_lost", "crocbot_emitter_values"))
    }

    assert {type(event) for event in EVENTS + CALLS} == set(get_args(Event))
    assert (stats.unmapped, stats.tag_errors, stats.tags) == (0, 0, 0)
    assert not stats.sample_errors + stats.event_errors + stats.series_refused
    assert not stats.conflicts
    assert losses == {0}


def test_the_number_of_series_is_the_documented_one(
    series: dict[Series, float],
) -> None:
    """After every event there are as many as the table promises."""
    found = re.search(r"makes at most (\d+) series", TABLE.read_text())

    assert found is not None
    assert len(series) == int(found[1]) <= MAX_SERIES


@given(weight=st.integers(1, 2**50))
def test_the_bridge_reads_a_sampling_rate_as_its_weight(weight: int) -> None:
    """A value stands for as many observations in the bridge as in the gateway."""
    text = f"a:1.5|ms|@{sampling_rate(weight)}"
    parsed = line.parse_line(text.encode())

    assert [sample.weight for sample in parsed.samples] == [weight]
    assert not parsed.errors
