"""
The gateway's telemetry as it runs, over a real socket into the bridge's path: what
docs/metrics.md promises is on the page, and counts are exact.
"""

from __future__ import annotations

import asyncio
import gc
import re
import socket
from itertools import product
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

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
from crocbot.telemetry import Telemetry
from crocbot.telemetry.instruments import RESERVOIR, Counter, Timer, rate
from statsd_bridge import exposition, line, mapping
from statsd_bridge.model import Stats
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.series import SeriesStore
from tests.statsd_bridge.in_memory import ReportedBugs

ROOT = Path(__file__).parents[2]
MAPPING, TABLE = ROOT / "crocbot/mapping.yml", ROOT / "docs/metrics.md"

FACTS: list[Event] = [
    *(Outcome(Disposition.ANSWERED, kind, seconds=0.75) for kind in MessageType),
    *(Outcome(disposition) for disposition in Disposition),
    *(Outcome(Disposition.DENIED, decision=Decision(why)) for why in Verdict),
    *(ErrorEvent(type, severity) for type in ErrorType for severity in Severity),
    PollingStarted(),
    PollCompleted(),
    *(PollFailed(reason) for reason in ReconnectReason),
    FloodWait(3.0),
    *(UpdateReceived(kind) for kind in UpdateType),
    *(WebhookRequest(outcome) for outcome in WebhookOutcome),
    InboxState(
        accepted=700,
        open=100,
        closed=dict.fromkeys(Disposition, 100),
        duplicates=5,
        oldest_accepted_at=1.0,
    ),
    TurnsInFlight(2),
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
    *(DeliveryEvent(snag) for snag in DeliveryIssue),
]
# Once is enough: as often as the rest they would overrun the receiver's buffer.
CALLS = [ApiCall(method, how, 0.5) for method in Method for how in CallOutcome]

Series = tuple[str, frozenset[tuple[str, str]]]


class Bridge:
    """The bridge in memory: datagrams in, its page out."""

    def __init__(self) -> None:
        self.failures = ReportedBugs()
        self.stats = Stats()
        self.store = SeriesStore(
            clock=lambda: 0.0, reserved=exposition.reserved_names()
        )
        table = mapping.load(str(MAPPING), strict=True)
        self.pipeline = Pipeline(
            table=table, store=self.store, stats=self.stats, bugs=self.failures
        )

    def page(self) -> str:
        """What Prometheus would read, without the bridge's own metrics."""
        families = self.store.families()
        return b"".join(exposition.page.render(families, 0.0, self.failures)).decode()


def run_gateway(times: int) -> Bridge:
    """Let telemetry run from start to stop and report every fact so many times."""
    bridge = Bridge()

    async def scenario(port: int) -> None:
        telemetry = Telemetry("127.0.0.1", port, version="0.1.0")
        await telemetry.start()
        for generation in range(3):
            gc.collect(generation)
        for fact in [*CALLS, *(FACTS * times)]:
            telemetry.emit(fact)
        # The sampler of the event loop needs a tenth of a second for its first.
        await asyncio.sleep(0.15)
        await telemetry.stop()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        receiver.bind(("127.0.0.1", 0))
        receiver.setblocking(False)
        asyncio.run(scenario(receiver.getsockname()[1]))
        while datagram := received(receiver):
            assert len(datagram) < 1432
            bridge.pipeline.feed([datagram], "udp")
    return bridge


def received(receiver: socket.socket) -> bytes:
    """One datagram, or nothing."""
    try:
        return receiver.recv(65_535)
    except BlockingIOError:
        return b""


@pytest.fixture(scope="module")
def bridge() -> Bridge:
    """A bridge that heard a whole run in which everything happened 700 times."""
    return run_gateway(700)


@pytest.fixture(scope="module")
def series(bridge: Bridge) -> dict[Series, float]:
    """Every line of its page."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(bridge.page())
        for sample in family.samples
    }


def promised() -> dict[str, tuple[str, str, dict[str, list[str]]]]:
    """Read the table of docs/metrics.md: name -> type, help, labels and their words."""
    rows = {}
    for row in TABLE.read_text().splitlines():
        if not row.startswith("| `crocbot"):
            continue
        name, kind, labels, help, *_ = (cell.strip() for cell in row.split(" | "))
        words = {
            label: text.split(", ")
            for label, text in re.findall(r"`(\w+)`: ([^<`]+)(?:<br>|$)", labels)
        }
        rows[name.strip("| `")] = (kind.partition(",")[0], help, words)
    return rows


def test_the_page_has_every_promised_metric_and_no_other(bridge: Bridge) -> None:
    """Name, type and help are those of docs/metrics.md, each of them really sent."""
    page = bridge.page()
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", page, re.MULTILINE))
    wanted = promised()

    assert types == {name: kind for name, (kind, _, _) in wanted.items()}
    assert helps == {name: help for name, (_, help, _) in wanted.items()}


@pytest.mark.parametrize("name", promised())
def test_labels_are_the_promised_words(name: str, series: dict[Series, float]) -> None:
    """A metric has a series for each combination of its documented words, no other."""
    _, _, words = promised()[name]
    found = [
        dict(labels) for metric, labels in series if metric in (name, f"{name}_sum")
    ]

    assert all(each.keys() == words.keys() for each in found)
    if ["one a process"] in words.values():
        assert len(found) == 1
        return
    combinations = [
        dict(zip(words, each, strict=True)) for each in product(*words.values())
    ]

    def ordered(all: list[dict[str, str]]) -> list[dict[str, str]]:
        return sorted(all, key=lambda labels: sorted(labels.items()))

    assert ordered(found) == ordered(combinations)


@pytest.mark.parametrize("kind", MessageType)
def test_counts_are_exact(kind: MessageType, series: dict[Series, float]) -> None:
    """700 of each, though a timer keeps 512: every one is counted."""
    labels = frozenset({("type", str(kind))})

    assert series["crocbot_messages_total", labels] == 700
    assert series["crocbot_telegram_latency_seconds_count", labels] == 700
    assert series["crocbot_telegram_latency_seconds_sum", labels] == pytest.approx(525)


def test_a_failed_poll_is_a_reconnect_and_a_warning(
    series: dict[Series, float],
) -> None:
    """Both counters rise; the warning adds to what was reported as trouble."""
    reconnects = frozenset({("reason", "conflict")})
    errors = frozenset({("type", "conflict"), ("severity", "warning")})

    assert series["crocbot_telegram_reconnects_total", reconnects] == 700
    assert series["crocbot_errors_total", errors] == 1400


def test_nothing_is_lost_on_the_way(
    bridge: Bridge, series: dict[Series, float]
) -> None:
    """No line is unmapped, refused or misread, none was lost, no value was dropped."""
    stats = bridge.stats
    losses = {
        labels: value
        for (name, labels), value in series.items()
        if name.startswith(("crocbot_emitter_lines_lost", "crocbot_emitter_values"))
    }

    assert bridge.failures == []
    assert (stats.unmapped, stats.tag_errors, stats.tags) == (0, 0, 0)
    assert not stats.sample_errors + stats.event_errors + stats.series_refused
    assert not stats.conflicts
    assert set(losses.values()) == {0}


def test_the_number_of_series_is_the_documented_one(
    series: dict[Series, float],
) -> None:
    """When everything has happened, there are as many as the table says."""
    found = re.search(r"makes at most (\d+) series", TABLE.read_text())

    assert found is not None
    assert len(series) == int(found[1]) <= 2000


@given(weight=st.integers(1, 2**50))
def test_the_bridge_reads_a_rate_as_its_weight(weight: int) -> None:
    """What a value stands for survives the wire, whatever it is."""
    parsed = line.parse(f"a:1.5|ms|@{rate(weight)}".encode())

    assert [sample.weight for sample in parsed.samples] == [weight]
    assert not parsed.errors


@given(count=st.integers(1, 10**9), kept=st.integers(1, RESERVOIR))
def test_the_bridge_counts_as_many_as_were_observed(count: int, kept: int) -> None:
    """n observations in k values: the receiver's sum of weights is n."""
    timer = Timer("a", Counter("invalid"), Random(1))
    kept = min(count, kept)
    for _ in range(kept):
        timer.observe(0.5)
    # As if the others had come and were not kept.
    timer.count = count
    lines = [f"a:500|ms|@{rate(weight)}" for _, weight in timer.take()]
    parsed = [line.parse(each.encode()) for each in lines]

    assert sum(sample.weight for each in parsed for sample in each.samples) == count
