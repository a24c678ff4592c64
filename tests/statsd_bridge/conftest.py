"""
The HTTP door and the path, in memory: what tests of the bridge share.

    outcome = play(["a:1|c\nb:2|g"], "mappings: ...", ["--no-statsd.parse-..."])
    outcome.series    {'a': 1.0, 'b': 2.0}, read by somebody else's parser
    outcome.own       {'lines_total': 2, ...}, the names without statsd_exporter_
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.base import DelayedCall
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from statsd_bridge import exposition, mapping, web
from statsd_bridge.batch import FastPipeline
from statsd_bridge.line import Dialect
from statsd_bridge.model import Stats
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.series import SeriesStore
from tests.statsd_bridge.in_memory import ReportedBugs

SLICES = [b"a 1\n", b"b 2\n", b"c 3\n"]


class Transport(StringTransport):
    """A transport that can be lost, as one over TCP can."""

    protocol: Any

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802
        """Lose it."""
        self.disconnected = True
        self.protocol.connectionLost(reason)

    def setTcpNoDelay(self, enabled: bool) -> None:  # noqa: N802
        """Have nothing to do."""


class Connection:
    """A connection to a door, over a transport in memory."""

    def __init__(self, opened: Any) -> None:
        self.transport = Transport()
        self.channel = self.transport.protocol = opened.buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.channel.dataReceived(data)

    @property
    def is_cut(self) -> bool:
        """Whether the door has cut it off."""
        return bool(self.transport.disconnected or self.transport.disconnecting)


class Bridge:
    """What the door is handed, and what it did with it."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.quits = 0
        self.turns: list[Callable[[], None]] = []
        self.refused = ""
        self.in_flight = 0
        self.sizes: list[int] = []
        self.slices: list[bytes | Exception] = [*SLICES]
        self.failures: list[Exception] = []
        self.connections_closed = 0
        self.clock = Clock()

    def metrics(self, accept: str) -> web.Page:
        """Give a page of three slices."""
        return web.Page("text/plain; version=0.0.4; charset=utf-8", self._slices())

    def _slices(self) -> Iterator[bytes]:
        for each in self.slices:
            if isinstance(each, Exception):
                raise each
            yield each

    def closed(self) -> None:
        """Count."""
        self.connections_closed += 1

    def quit(self) -> None:
        """Count."""
        self.quits += 1

    def door(
        self,
        *,
        lifecycle: bool = True,
        telemetry_path: str = "/metrics",
        most_connections: int = 50,
        config: str = "",
    ) -> Any:
        """Build a door that lets everybody in, unless a file says otherwise."""
        return web.door(
            self.functions(),
            web.Guard(config, lambda why: None),
            telemetry_path=telemetry_path,
            lifecycle=lifecycle,
            version="1.2.3",
            most_connections=most_connections,
        )

    def connect(self, opened: Any = None) -> Connection:
        """Open a connection, to a door of its own or to this one."""
        return Connection(opened or self.door())

    def take_turns(self) -> int:
        """Do what is to be done next until nothing is; returns how many turns."""
        turns = 0
        while self.turns:
            self.turns.pop()()
            turns += 1
        return turns

    def functions(self) -> web.Functions:
        """Hand everything over."""
        return web.Functions(
            metrics=self.metrics,
            began=self.began,
            ended=self.ended,
            failed=self.failures.append,
            closed=self.closed,
            reload=lambda: self.refused,
            quit=self.quit,
            explain=lambda line: {"line": line.decode()},
            unmapped=lambda: {"unmapped_names": ["<b>"]},
            later=self.later,
        )

    def began(self) -> None:
        """Count."""
        self.in_flight += 1

    def ended(self, status: int, seconds: float, size: int) -> None:
        """Remember."""
        self.in_flight -= 1
        self.statuses.append(status)
        self.sizes.append(size)

    def later(self, seconds: float, call: Callable[[], None]) -> DelayedCall:
        """Keep what is to be done next; bounds of time are the clock's."""
        if not seconds:
            self.turns.append(call)
        return self.clock.callLater(seconds, call)


@pytest.fixture
def bridge() -> Bridge:
    """A bridge in memory."""
    return Bridge()


FLAGS = {
    "--no-statsd.parse-dogstatsd-tags": "dogstatsd",
    "--no-statsd.parse-influxdb-tags": "influxdb",
    "--no-statsd.parse-librato-tags": "librato",
    "--no-statsd.parse-signalfx-tags": "signalfx",
}


@dataclass(frozen=True)
class Outcome:
    """What a page shows, and what was counted."""

    page: str
    series: dict[str, float]
    types: dict[str, str]
    helps: dict[str, str]
    own: dict[str, float]


def _play(
    made: type[Pipeline],
    packets: Sequence[str | bytes],
    mapping_text: str = "",
    flags: Sequence[str] = (),
) -> Outcome:
    off = {FLAGS[flag]: False for flag in flags}
    failures = ReportedBugs()
    stats = Stats()
    store = SeriesStore(clock=lambda: 1000.0, reserved=exposition.reserved_names())
    table = mapping.parse(mapping_text, "case.yml")
    path = made(
        table=table, store=store, stats=stats, bugs=failures, dialect=Dialect(**off)
    )
    # Recorded text is Latin-1: one character a byte.
    raw = [
        each.encode("latin-1") if isinstance(each, str) else each for each in packets
    ]
    path.feed(raw, "udp")
    path.flush()
    families = store.families()
    slices = exposition.page.render(families, 1000.0, failures)
    page = b"".join(slices).decode()

    assert failures == []
    return Outcome(page, *_shown(page), _own(stats))


def _shown(page: str) -> tuple[dict[str, float], dict[str, str], dict[str, str]]:
    """Read a page with somebody else's parser: series, types, helps."""
    series, types, helps = {}, {}, {}
    declared = [line.split(" ", 3) for line in page.splitlines() if line[0] == "#"]
    for _, word, name, rest in declared:
        (types if word == "TYPE" else helps)[name] = rest
    # The parser adds `_total` to a counter without it; statsd_exporter does not.
    untyped = re.sub(r"(?m)^(# TYPE \S+) counter$", r"\1 untyped", page)
    for family in text_string_to_metric_families(untyped):
        for sample in family.samples:
            labels = sample.labels
            if types.get(sample.name.removesuffix("_bucket")) == "histogram":
                # As the recording has them: whoever made it read them as numbers.
                labels = {**labels, "le": str(float(labels["le"]))}
            pairs = sorted(labels.items())
            text = ",".join(f'{key}="{_escaped(value)}"' for key, value in pairs)
            name = f"{sample.name}{{{text}}}" if pairs else sample.name
            assert name not in series
            series[name] = sample.value
    return series, types, helps


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _own(stats: Stats) -> dict[str, float]:
    """Name the counters as the recorded ones are named; those at 0 are left out."""
    found: dict[str, float] = {
        "lines_total": stats.lines,
        "samples_total": stats.samples,
        "tags_total": stats.tags,
        "tag_errors_total": stats.tag_errors,
        "events_unmapped_total": stats.unmapped,
        "udp_packets_total": stats.packets["udp"],
    }
    labelled = [
        ("events_total", "type", stats.events),
        ("events_actions_total", "action", stats.actions),
        ("events_error_total", "reason", stats.event_errors),
        ("sample_errors_total", "reason", stats.sample_errors),
    ]
    for name, label, counts in labelled:
        for word, count in counts.items():
            found[f'{name}{{{label}="{word}"}}'] = count
    for (kind, metric), count in stats.conflicts.items():
        labels = f'metric_name="{metric}",type="{kind}"'
        found[f"events_conflict_total{{{labels}}}"] = count
    return {name: value for name, value in found.items() if value}


@pytest.fixture(scope="session", params=[Pipeline, FastPipeline])
def play(request: pytest.FixtureRequest) -> Callable[..., Outcome]:
    """Feed packets to a fresh path, one datagram each: the plain one, the quick one."""
    return partial(_play, request.param)
