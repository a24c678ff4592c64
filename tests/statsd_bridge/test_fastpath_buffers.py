"""Buffers: which lines get one, and how their numbers reach the series."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import line, mapping
from statsd_bridge.fastpath import buffers
from statsd_bridge.fastpath.buffers import SampleBuffers
from statsd_bridge.memory import Account
from statsd_bridge.model import MetricOptions, MetricType, Sample, SampleType
from statsd_bridge.pipeline import RecordedLine
from statsd_bridge.recent import Recent
from statsd_bridge.series import Series, SeriesStore
from statsd_bridge.series.histogram import Histogram
from tests.statsd_bridge.in_memory import NoBugs

RULES = """
defaults: {observer_type: histogram, histogram_options: {buckets: [0.009, 1]}}
mappings:
- {match: doubled, name: doubled, scale: 2}
- {match: negated, name: negated, scale: -1}
- {match: dropped, name: dropped, action: drop}
- {match: junk.*, name: dropped, action: drop}
- {match: s, name: s, observer_type: summary}
"""
TABLE = mapping.parse(RULES, "rules.yml")


class Memory:
    """Buffers of a store, for lines that are recorded one by one first."""

    def __init__(self) -> None:
        self.store = SeriesStore(clock=lambda: 0.0)
        self.unmapped: Recent[tuple[str, str]] = Recent()
        self.account = Account()
        self.buffers = SampleBuffers(
            unmapped_names=self.unmapped, account=self.account, bugs=NoBugs()
        )
        self.store.listener = self.buffers

    def record(self, text: bytes) -> Series | None:
        """Record a line, and add a buffer for lines like it."""
        parsed = line.parse_line(text)
        (sample,) = parsed.samples
        match = TABLE.look_up(sample.type, sample.name)
        series = None
        if match.action != "drop":
            recorded = self.store.record(match.spec(sample.labels), sample)
            assert isinstance(recorded, Series)
            series = recorded
        name, _, rest = text.partition(b":")
        suffix = rest.partition(b"|")[2]
        self.buffers.add(name, suffix, RecordedLine(parsed, match, series))
        return series

    def keys(self) -> list[bytes]:
        """Return the names of all buffers."""
        return sorted(buffer.name for buffer in self.buffers)


@pytest.mark.parametrize(
    ("text", "numbers", "values"),
    [
        (b"x:0|c", [1, 2, 3], (6,)),
        (b"x:0|c|@0.1", [1, 2], (30,)),
        (b"doubled:0|c", [4, 2], (12,)),
        (b"doubled:0|c|@0.5", [1], (4,)),
        (b"x:0|g", [1, 2, 3], (3,)),
        (b"doubled:0|g", [1, 2], (4,)),
        (b"x:0|ms", [9, 10, 1000], (2, 4, 4, 1.019, 4)),
        (b"x:0|ms", [9] * 5 + [10] * 5, (6, 11, 11, 0.095, 11)),
        (b"x:0|h|@0.1", [2], (10, 10, 20, 20, 20)),
        (b"doubled:0|h", [0.25], (1, 2, 2, 0.5, 2)),
        (b"s:5|ms", [1000, 9000] * 1000, (5, 9, 9, 10_000.005, 2001)),
    ],
)
def test_flushed_numbers_reach_the_series(
    text: bytes, numbers: list[float], values: tuple[float, ...]
) -> None:
    """Divided, scaled and weighted like single samples; a second flush adds nothing."""
    memory = Memory()
    series = memory.record(text)
    assert series is not None
    (buffer,) = memory.buffers.for_series(series)
    buffer.extend(numbers)
    for _ in range(2):
        memory.buffers.flush(memory.buffers, 0.0)

    found = series.values(0.0)
    if text[:1] == b"s":
        # A median of two values is either.
        assert found[0] in (1, 9)
        found = values[:1] + found[1:]
    assert found == pytest.approx(values)
    assert memory.buffers.flushed.total() == len(numbers)


@pytest.mark.parametrize(
    ("text", "has_buffer"),
    [
        (b"x:1|c", True),
        (b"x:1|c|@0.1|@0.5", True),
        (b"dropped:1|c", True),
        (b"negated:-1|c", False),
        (b"negated:-1|g", False),
        (b"x:1|s", False),
        (b"x:0|c|@-1", False),
        (b"x:1|c|@1e400", False),
        (b"x:1|c|#k:" + b"v" * buffers.MAX_KEY_BYTES, False),
    ],
)
def test_only_lines_whose_number_says_all_get_a_buffer(
    text: bytes, has_buffer: bool
) -> None:
    """No member, no factor that changes the sign or is infinite, no long line."""
    memory = Memory()
    memory.record(text)

    assert len(memory.buffers) == has_buffer


def test_a_gauge_has_one_buffer() -> None:
    """Values in two buffers would have no order."""
    memory = Memory()
    memory.record(b"x:1|g")
    memory.record(b"x,:1|g")

    assert memory.keys() == [b"x"]


def test_buffers_are_removed_with_their_series() -> None:
    """All buffers of a series go, those of others stay, and no empty table is left."""
    memory = Memory()
    series = memory.record(b"a:1|c")
    memory.record(b"a,:1|c")
    memory.record(b"b:1|c")
    assert series is not None
    memory.buffers.before_remove(series)

    assert memory.keys() == [b"b"]
    assert len(memory.buffers) == 1
    assert list(memory.buffers.find_all([b"a", None], [b"c", None])) == [None, None]


def test_buffers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond MAX_BUFFERS lines get none; after too many of those all are dropped."""
    monkeypatch.setattr(buffers, "MAX_BUFFERS", 2)
    memory = Memory()
    for number in range(2 + 2 * buffers.MAX_UNBUFFERED_LINES_PER_BUFFER):
        memory.record(b"%d:1|c" % number)
        assert not memory.buffers.are_stale
    memory.record(b"one more:1|c")
    assert memory.buffers.are_stale
    assert len(memory.buffers) == 2
    memory.buffers.clear()
    assert not memory.buffers.are_stale

    memory.account.limit = 700
    memory.record(b"abc:1|c")
    memory.record(b"abd:1|c")
    assert memory.keys() == [b"abc"]


def test_buffers_of_dropped_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have no series that expires, and leave space for the buffers of series."""
    monkeypatch.setattr(buffers, "MAX_BUFFERS", 4)
    monkeypatch.setattr(buffers, "MAX_DROPPED_BUFFERS", 2)
    memory = Memory()
    for number in range(4 * buffers.MAX_UNBUFFERED_LINES_PER_BUFFER):
        memory.record(b"junk.%d:1|c" % number)
    assert memory.keys() == [b"junk.0", b"junk.1"]
    memory.record(b"a:1|c")
    assert memory.keys() == [b"a", b"junk.0", b"junk.1"]
    for number in range(3):
        memory.record(b"junk.a%d:1|c" % number)
    assert memory.buffers.are_stale
    memory.buffers.clear()
    memory.record(b"junk.new:1|c")
    assert memory.keys() == [b"junk.new"]


@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 9.0]), max_size=40),
    st.lists(st.floats(-10, 10), min_size=1, max_size=5, unique=True),
    st.sampled_from([1.0, 1000.0, 3.0, 0.7]),
    st.integers(1, 5),
)
def test_many_observations_count_like_single_ones(
    values: list[float], bounds: list[float], divisor: float, weight: int
) -> None:
    """Also those right at a bound, before and after they are divided."""
    options = MetricOptions(MetricType.HISTOGRAM, "h", buckets=tuple(sorted(bounds)))
    together, apart = Histogram(options), Histogram(options)
    at_bounds = [bound * divisor for bound in bounds]
    for toward in (-math.inf, math.inf):
        at_bounds += [math.nextafter(number, toward) for number in at_bounds]
    numbers = values + at_bounds * 2
    together.record_all(numbers, divisor, weight, 0.0)
    for number in numbers:
        value = number / divisor
        sample = Sample(SampleType.OBSERVER, "h", value, weight=weight)
        apart.record(sample, value, 0.0)

    assert together.counts == apart.counts
    assert together.sum == pytest.approx(apart.sum)


def test_a_sum_is_finite_if_that_of_the_values_is() -> None:
    """The numbers of the lines are milliseconds, the values seconds."""
    options = MetricOptions(MetricType.HISTOGRAM, "h", buckets=(1.0,))
    histogram = Histogram(options)
    histogram.record_all([1e308] * 20, 1000.0, 2, 0.0)

    assert histogram.sum == pytest.approx(4e306)
