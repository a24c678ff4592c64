"""
A metric, and the instruments that record its series until the emitter takes them.

    a row of the catalogue           the statsd name of one series
    ERRORS: crocbot.errors     -->   crocbot.errors.agent.warning   -->  Counter
    labels: type, severity                          type  severity
    Counter, Gauge, Timer:  inc, set, observe  -->  pending  -->  take, by Emitter.flush

The statsd client has no tags, so a label travels as one segment of the name.  Rules of
names:

- A segment is a literal or a member of a closed enumeration, never text from outside,
  so the number of series is bounded.
- Units are Prometheus' base units.  Only statsd timers carry milliseconds.
- A gauge lives 60 s in the bridge: the heartbeat renews it, and the gauges of a gateway
  that died go away.  Running totals of lines are gauges as well: a counter would be
  lost together with the lines that it counts.

Rules of instruments:

- `inc`, `set` and `observe` never raise and never block.  A value that is not a finite
  int or float within +-2**53 is left out and counted in the counter `invalid`.
- Memory is bounded: a counter is one sum, a gauge one value, a timer a reservoir.
- The count of a timer is exact.  Of n observations at most 512 are kept, each with an
  integer weight, and the weights add up to n.
- Owned by the event loop: another thread must hand its numbers over first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from random import Random
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

Instrument = TypeVar("Instrument", "Counter", "Gauge", "Timer")

MAX_OBSERVATIONS = 512
"""Observations that a timer keeps from one flush to the next."""

MAX_NUMBER = 2**53
"""Above it a float cannot count in ones."""

_SEGMENT = re.compile(r"[A-Za-z0-9_-]{1,64}")


class ChosenAtStart(NamedTuple):
    """
    The value of a label that the process chooses once, such as its version.

    It makes one series a process, or as many as `values`.  It travels as this many
    segments, joined by dots.
    """

    segments: int = 1
    values: int = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Metric:
    """
    One row: `name` and `help` are Prometheus', `statsd` begins the statsd name.

    `labels` has the possible values of each label, in the order of the segments that
    follow `statsd`.  `query` is an example in PromQL.
    """

    name: str
    statsd: str
    help: str
    query: str
    labels: Mapping[str, Iterable[str] | ChosenAtStart] = field(default_factory=dict)
    type: ClassVar[str]
    ttl: ClassVar[str] = ""

    @property
    def segments(self) -> list[tuple[str, ...]]:
        """Return the possible values of each segment; () for one chosen at start."""
        segments: list[tuple[str, ...]] = []
        for values in self.labels.values():
            if isinstance(values, ChosenAtStart):
                segments += [()] * values.segments
            else:
                segments.append(tuple(values))
        return segments

    def label_values(self) -> Iterator[tuple[str, ...]]:
        """Yield each combination of label values; none if one is chosen at start."""
        return product(*self.segments)

    def statsd_name(self, *values: str) -> str:
        """
        Return the statsd name of one series.

        ValueError for a value that the row does not list, or that is no segment.
        """
        segments = self.segments
        if len(values) != len(segments):
            raise ValueError(f"{self.name} has {len(segments)} segments, not {values}")
        for allowed, value in zip(segments, values, strict=True):
            if (allowed and value not in allowed) or not _SEGMENT.fullmatch(value):
                raise ValueError(f"{self.name} has no label value {value!r}")
        return ".".join((self.statsd, *values))


class CounterMetric(Metric):
    """A row for a counter."""

    type = "counter"


class GaugeMetric(Metric):
    """A row for a gauge."""

    type = "gauge"
    ttl = "60s"


@dataclass(frozen=True, eq=False, kw_only=True)
class HistogramMetric(Metric):
    """A row for a histogram of seconds; `buckets` are the upper bounds."""

    type = "histogram"
    buckets: tuple[float, ...]


class Counter:
    """The increase since the last flush."""

    __slots__ = ("_invalid", "_taken", "name", "pending")

    def __init__(self, name: str, invalid: Counter | None = None) -> None:
        self.name = name
        self.pending: float = 0
        self._taken: float = 0
        self._invalid = invalid or self

    def inc(self, amount: float = 1) -> None:
        """Add an amount that is not negative."""
        if _is_number(amount) and 0 <= amount <= MAX_NUMBER - self.pending:
            self.pending += amount
        else:
            self._invalid.pending += 1

    def take(self) -> float:
        """Return the increase and start again at 0."""
        pending, self.pending = self.pending, 0
        self._taken += pending
        return pending

    @property
    def total(self) -> float:
        """The sum since the start of the process."""
        return self._taken + self.pending


class Gauge:
    """The last value; None until there is one."""

    __slots__ = ("_invalid", "changed", "name", "value")

    def __init__(self, name: str, invalid: Counter) -> None:
        self.name = name
        self.value: float | None = None
        self.changed = False
        self._invalid = invalid

    def set(self, value: float) -> None:
        """Replace the value."""
        if not _is_number(value) or not -MAX_NUMBER <= value <= MAX_NUMBER:
            self._invalid.inc()
            return
        # Adding 0 turns -0.0 into 0: statsd reads a sign as a change of the value.
        value += 0
        self.changed = self.changed or value != self.value
        self.value = value

    def clear(self) -> None:
        """Send no value until there is one again; the ttl of the mapping ends it."""
        self.value, self.changed = None, False


class Timer:
    """The durations since the last flush, a fair sample of them if there are many."""

    __slots__ = ("_invalid", "_kept", "_random", "_taken", "count", "name")

    def __init__(self, name: str, invalid: Counter, random: Random) -> None:
        self.name = name
        self.count = 0
        self._kept: list[float] = []
        self._taken: tuple[int, float] = (0, 0.0)
        self._invalid = invalid
        self._random = random

    def observe(self, seconds: float) -> None:
        """Add a duration; a negative one (the clock was set back) counts as 0."""
        if not _is_number(seconds) or not -MAX_NUMBER <= seconds <= MAX_NUMBER:
            self._invalid.inc()
            return
        self.count += 1
        if len(self._kept) < MAX_OBSERVATIONS:
            self._kept.append(max(seconds, 0))
            return
        # Algorithm R: each observation so far is kept with the same probability.
        place = self._random.randrange(self.count)
        if place < MAX_OBSERVATIONS:
            self._kept[place] = max(seconds, 0)

    def take(self) -> list[tuple[float, int]]:
        """Return the kept seconds with their weights and start again empty."""
        self._taken = self.totals()
        kept, count = self._kept, self.count
        self._kept, self.count = [], 0
        return list(zip(kept, weights(count, len(kept)), strict=True))

    def totals(self) -> tuple[int, float]:
        """Return count and sum since the start; the sum is estimated from samples."""
        count, seconds = self._taken
        if self.count:
            seconds += sum(self._kept) / len(self._kept) * self.count
        return count + self.count, seconds


def weights(count: int, kept: int) -> list[int]:
    """Return `kept` integers that add up to `count` and differ by 1 at most."""
    if kept == 0:
        return []
    share, rest = divmod(count, kept)
    return [share + 1] * rest + [share] * (kept - rest)


def _is_number(value: object) -> bool:
    """Return whether it is an int or a float; their comparisons cannot raise."""
    return type(value) is int or type(value) is float


class _Registry(Generic[Instrument]):
    """All instruments of one type, by statsd name."""

    def __init__(self, type_: type[Instrument], *arguments: Any) -> None:
        self.by_name: dict[str, Instrument] = {}
        self._type: type[Instrument] = type_
        self._arguments = arguments
        # By row and label values, too: writing a name takes microseconds.
        self._by_values: dict[tuple[Metric, tuple[str, ...]], Instrument] = {}

    def get(self, metric: Metric, values: tuple[str, ...]) -> Instrument:
        found = self._by_values.get((metric, values))
        if found is None:
            name = metric.statsd_name(*values)
            found = self.by_name.get(name) or self._type(name, *self._arguments)
            self.by_name[name] = self._by_values[metric, values] = found
        return found


class Instruments:
    """
    The instruments of all rows, each under its statsd name.

    Those whose label values are known are made at once, so that each counter exists at
    0 before its first event.  `invalid_name` is the statsd name of the counter of
    values that are left out.  `random` chooses the observations that are kept.
    """

    def __init__(
        self,
        rows: Iterable[Metric],
        *,
        invalid_name: str,
        random: Random | None = None,
    ) -> None:
        random = random or Random()
        invalid = Counter(invalid_name)
        self._counters = _Registry(Counter, invalid)
        self._counters.by_name[invalid.name] = invalid
        self._gauges = _Registry(Gauge, invalid)
        self._timers = _Registry(Timer, invalid, random)
        self.counters = self._counters.by_name.values()
        self.gauges = self._gauges.by_name.values()
        self.timers = self._timers.by_name.values()
        registries: dict[str, _Registry[Any]] = {
            CounterMetric.type: self._counters,
            GaugeMetric.type: self._gauges,
            HistogramMetric.type: self._timers,
        }
        for metric in rows:
            for values in metric.label_values():
                registries[metric.type].get(metric, values)

    def counter(self, metric: CounterMetric, *values: str) -> Counter:
        """Return the counter of these label values; ValueError for unknown ones."""
        return self._counters.get(metric, values)

    def gauge(self, metric: GaugeMetric, *values: str) -> Gauge:
        """Return the gauge of these label values; ValueError for unknown ones."""
        return self._gauges.get(metric, values)

    def timer(self, metric: HistogramMetric, *values: str) -> Timer:
        """Return the timer of these label values; ValueError for unknown ones."""
        return self._timers.get(metric, values)
