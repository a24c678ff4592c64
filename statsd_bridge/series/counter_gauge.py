"""Counters and gauges: series with a single number."""

from __future__ import annotations

from collections.abc import Sequence

from statsd_bridge.model import MetricOptions, Sample
from statsd_bridge.series.base import Series


class SingleValue(Series):
    """A series whose value is one number, 0 at first."""

    __slots__ = ("value",)

    def __init__(self, options: MetricOptions) -> None:
        # Not by super(), which takes 60 ns a series.
        Series.__init__(self, options)
        self.value = 0.0

    def values(self, _now: float) -> tuple[float, ...]:
        """Return the value."""
        return (self.value,)


class Counter(SingleValue):
    """A counter.  The store rejects negative increments before they come here."""

    __slots__ = ()

    def add(self, value: float, _weight: int, _now: float) -> None:
        """Add an increment."""
        self.value += value

    def record_all(
        self, numbers: Sequence[float], divisor: float, _weight: int, _now: float
    ) -> None:
        """Add many increments."""
        self.value += sum(numbers) / divisor


class Gauge(SingleValue):
    """A gauge; it starts at 0, so a first relative sample is its value."""

    __slots__ = ()

    @property
    def is_ordered(self) -> bool:
        """Whether the order of its samples matters."""
        return True

    def record(self, sample: Sample, value: float, _now: float) -> None:
        """Replace the value, or change it by a relative one."""
        if sample.relative:
            self.change(value)
        else:
            self.value = value

    def add(self, value: float, _weight: int, _now: float) -> None:
        """Replace the value."""
        self.value = value

    def change(self, change: float) -> None:
        """Change the value by a relative one."""
        self.value += change

    def record_all(
        self, numbers: Sequence[float], divisor: float, _weight: int, _now: float
    ) -> None:
        """Replace the value by the last one."""
        self.value = numbers[-1] / divisor
