"""The bridge without sockets: fakes, and the path in memory, for tests of all parts."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Any, cast

from statsd_bridge import mapping, quotas
from statsd_bridge.exposition import BridgeState, text
from statsd_bridge.fastpath import AnyPipeline, FastPipeline
from statsd_bridge.inspection import Inspector, ServiceState
from statsd_bridge.line import DEFAULT_DIALECT, Dialect
from statsd_bridge.log import BugReporter
from statsd_bridge.memory import MemoryBudget
from statsd_bridge.model import NativeMode, Stats, StorageStats
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.recent import Recent
from statsd_bridge.relay import Relay
from statsd_bridge.series import Histogram, SeriesStore, TextLimits
from statsd_bridge.series.limits import DEFAULT_TEXT_LIMITS

MakePipeline = Callable[[Pipeline], AnyPipeline]
BOTH_PATHS: list[MakePipeline] = [lambda plain: plain, FastPipeline]
"""The plain path and the one that runs by default, as a function of the plain one."""


class ReportedBugs(list[Exception], BugReporter):
    """A BugReporter that keeps the exceptions."""

    def __init__(self) -> None:
        super().__init__()

    def report(self, error: Exception) -> None:
        """Keep an exception."""
        self.append(error)


class NoBugs(ReportedBugs):
    """A BugReporter that fails the test."""

    def report(self, error: Exception) -> None:
        """Raise an exception."""
        raise error


class FakePipeline:
    """A pipeline that keeps what it is fed, and may raise an error instead."""

    def __init__(self) -> None:
        self.stats = Stats()
        self.bugs = ReportedBugs()
        self.batches: list[list[bytes]] = []
        self.error: Exception | None = None

    @property
    def lines(self) -> list[bytes]:
        """All lines or datagrams so far."""
        return [each for batch in self.batches for each in batch]

    def feed(self, batch: Sequence[bytes], transport: str) -> None:
        """Keep a batch."""
        if self.error is not None:
            raise self.error
        self.batches.append(list(batch))

    feed_lines = feed


class FixedState:
    """A StateSource whose state never changes."""

    def __init__(self, **values: Any) -> None:
        self._state = BridgeState(**{"version": "1.2.3", "stats": Stats(), **values})

    def state(self) -> BridgeState:
        """Return the state."""
        return self._state


class RelayedLines(list[bytes]):
    """A relay that keeps the lines."""

    forward = list.extend


class InMemoryPath:
    """The path from datagrams to the page, with a clock that the test moves."""

    def __init__(
        self,
        rules: str | mapping.MappingTable = "",
        *,
        make_pipeline: MakePipeline = FastPipeline,
        bugs: ReportedBugs | None = None,
        dialect: Dialect = DEFAULT_DIALECT,
        max_series: int = 1_000_000,
        native_mode: NativeMode = NativeMode.AUTO,
        max_memory: int = 0,
        quota_file: str = "",
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
        reserved: Collection[str] = (),
        sources: Collection[str] = (),
        failed_lines: Recent[tuple[bytes, str]] | None = None,
    ) -> None:
        self.now = 1000.0
        self.created = 1_700_000_000.25
        """The wall clock."""
        self.bugs = NoBugs() if bugs is None else bugs
        self.stats = Stats()
        self.memory = MemoryBudget(max_memory)
        self.store = SeriesStore(
            clock=lambda: self.now,
            wall_clock=lambda: self.created,
            max_series=max_series,
            native_mode=native_mode,
            text_limits=text_limits,
            reserved=reserved,
            quotas=quota_table(quota_file),
            memory=self.memory,
        )
        self.relayed = RelayedLines()
        self.plain = Pipeline(
            table=mapping.parse(rules, "rules.yml")
            if isinstance(rules, str)
            else rules,
            store=self.store,
            stats=self.stats,
            bugs=self.bugs,
            dialect=dialect,
            sources=sources,
            relay=cast(Relay, self.relayed),
            failed_lines=failed_lines,
        )
        self.pipeline = make_pipeline(self.plain)
        self.service = ServiceState(max_series=max_series)
        """What the page shows of the process."""
        self.kernel_drops = 0
        self.storage = StorageStats()
        self.inspector = Inspector(self, self.store, lambda: self.created)

    def feed(self, *datagrams: bytes) -> None:
        """Process datagrams as one batch over UDP."""
        self.pipeline.feed(datagrams, "udp")

    def state(self) -> BridgeState:
        """Return what the self-metrics show."""
        return BridgeState(
            version="1.2.3",
            stats=self.stats,
            rules=len(self.plain.table),
            series=len(self.store),
            memory=self.memory,
            kernel_drops=self.kernel_drops,
            storage=self.storage,
        )

    def service_state(self) -> ServiceState:
        """Return what the page shows of the process."""
        return self.service

    def flush(self) -> None:
        """Process what is buffered."""
        self.pipeline.flush()

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass; expire series as the service does every second."""
        self.now += seconds
        self.pipeline.flush()
        self.store.expire()

    def page(self) -> str:
        """Return the page without the self-metrics."""
        self.pipeline.flush()
        families = self.store.families()
        chunks = text.format_families(families, self.now, self.bugs)
        return b"".join(text.join_slices(chunks)).decode()

    def values(self) -> dict[str, float]:
        """Return the numbers of the page by what stands before them."""
        rows = [row for row in self.page().split("\n") if row and row[0] != "#"]
        pairs = [row.rpartition(" ") for row in rows]
        return {name: float(number) for name, _, number in pairs}


def quota_table(file: str) -> quotas.QuotaTable:
    """Return the quotas of the text of a file."""
    return quotas.QuotaTable(quotas.parse(file, "quotas.yml"))


def native_buckets(memory: InMemoryPath) -> dict[tuple[str, str], Any]:
    """Return the native buckets of all histograms by name and labels, None without."""
    memory.pipeline.flush()
    return {
        (family.name, label_text): _decoded(series)
        for family in memory.store.families()
        for label_text in family.label_texts()
        if isinstance(series := family.series[label_text], Histogram)
    }


def _decoded(series: Histogram) -> dict[str, Any] | None:
    """Return native buckets as the recorded answers have them."""
    native = series.native
    if native is None:
        return None
    decoded: dict[str, Any] = {
        "schema": native.schema,
        "zero_threshold": native.zero_threshold,
        "zero_count": native.zero_count,
        "negative": {str(i): count for i, count in native.negative_buckets()},
        "positive": {str(i): count for i, count in native.positive_buckets()},
    }
    # Prometheus rejects a histogram whose buckets lack values, but for NaN.
    in_buckets = decoded["zero_count"] + sum(
        sum(decoded[sign].values()) for sign in ("negative", "positive")
    )
    total = sum(series.counts)
    assert in_buckets == total or (math.isnan(series.sum) and in_buckets < total)
    return decoded


def assert_same_results(first: InMemoryPath, second: InMemoryPath) -> None:
    """Compare pages and counters; only sums may differ, in the last digits."""
    ours, theirs = first.values(), second.values()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        assert (math.isnan(value) and math.isnan(theirs[name])) or math.isclose(
            value, theirs[name], rel_tol=1e-9, abs_tol=1e-12
        ), name
    assert native_buckets(first) == native_buckets(second)
    assert first.stats == second.stats
    assert first.store.label_names_total == second.store.label_names_total
    assert first.relayed == second.relayed
    assert _recent(first) == _recent(second)


def _recent(memory: InMemoryPath) -> tuple[Sequence[object], ...]:
    plain = memory.plain
    # Names that wait in buffers are noted in the order of the buffers.
    return (
        sorted((key, seen.times) for key, seen in plain.unmapped_names.newest_first()),
        [(key, seen.times) for key, seen in plain.failed_lines.newest_first()],
        plain.table.hits,
    )
