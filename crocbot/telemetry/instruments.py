"""
Where numbers are recorded: in memory only, until the emitter takes them.

    inc, set, observe  -->  pending  -->  take, at the next flush

Rules:

- `inc`, `set` and `observe` never raise and never block.  A value that is not a finite
  int or float within +-2**53 is left out and counted in the counter `invalid`.
- Memory is bounded: a counter is one sum, a gauge one value, a timer a reservoir.
- The count of a timer is exact.  Of n observations at most 512 are kept, each with an
  integer weight, and the weights add up to n.
- Owned by the event loop: another thread must hand its numbers over first.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any, Generic, TypeVar

from crocbot.telemetry.catalogue import CATALOGUE, VALUES_DROPPED, DropReason
from crocbot.telemetry.metric import (
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    Metric,
)

Instrument = TypeVar("Instrument", "Counter", "Gauge", "Timer")

MAX_OBSERVATIONS = 512
"""Observations that a timer keeps from one flush to the next."""

MAX_NUMBER = 2**53
"""Above it a float cannot count in ones."""


class Counter:
    """The increase since the last flush."""

    __slots__ = ("_invalid", "name", "pending")

    def __init__(self, name: str, invalid: Counter | None = None) -> None:
        self.name = name
        self.pending: float = 0
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
        return pending


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


class Timer:
    """The durations since the last flush, a fair sample of them if there are many."""

    __slots__ = ("_invalid", "_kept", "_random", "count", "name")

    def __init__(self, name: str, invalid: Counter, random: Random) -> None:
        self.name = name
        self.count = 0
        self._kept: list[float] = []
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
        kept, count = self._kept, self.count
        self._kept, self.count = [], 0
        return list(zip(kept, weights(count, len(kept)), strict=True))


def weights(count: int, kept: int) -> list[int]:
    """Return `kept` integers that add up to `count` and differ by 1 at most."""
    if kept == 0:
        return []
    share, rest = divmod(count, kept)
    return [share + 1] * rest + [share] * (kept - rest)


def _is_number(value: object) -> bool:
    """Return whether it is an int or a float; their comparisons cannot raise."""
    return type(value) is int or type(value) is float


class _Family(Generic[Instrument]):
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
    0 before its first event.  `random` chooses the observations that are kept.
    """

    def __init__(
        self, catalogue: Iterable[Metric] = CATALOGUE, random: Random | None = None
    ) -> None:
        random = random or Random()
        invalid = Counter(VALUES_DROPPED.statsd_name(DropReason.INVALID))
        self._counters = _Family(Counter, invalid)
        self._counters.by_name[invalid.name] = invalid
        self._gauges = _Family(Gauge, invalid)
        self._timers = _Family(Timer, invalid, random)
        self.counters = self._counters.by_name.values()
        self.gauges = self._gauges.by_name.values()
        self.timers = self._timers.by_name.values()
        families: dict[str, _Family[Any]] = {
            CounterMetric.type: self._counters,
            GaugeMetric.type: self._gauges,
            HistogramMetric.type: self._timers,
        }
        for metric in catalogue:
            for values in metric.label_values():
                families[metric.type].get(metric, values)

    def counter(self, metric: CounterMetric, *values: str) -> Counter:
        """Return the counter of these label values; ValueError for unknown ones."""
        return self._counters.get(metric, values)

    def gauge(self, metric: GaugeMetric, *values: str) -> Gauge:
        """Return the gauge of these label values; ValueError for unknown ones."""
        return self._gauges.get(metric, values)

    def timer(self, metric: HistogramMetric, *values: str) -> Timer:
        """Return the timer of these label values; ValueError for unknown ones."""
        return self._timers.get(metric, values)
