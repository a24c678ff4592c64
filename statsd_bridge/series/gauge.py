"""Gauges: the last value, changed by relative samples."""

from __future__ import annotations

from collections.abc import Sequence

from statsd_bridge.model import Sample
from statsd_bridge.series.base import SingleValue


class Gauge(SingleValue):
    """A gauge; it starts at 0, so a first relative sample is its value."""

    __slots__ = ()

    def record(self, sample: Sample, value: float, _now: float) -> None:
        """Replace the value, or change it by a relative one."""
        if sample.relative:
            self.change(value)
        else:
            self.value = value

    def change(self, change: float) -> None:
        """Change the value by a relative one."""
        self.value += change

    def record_all(
        self, numbers: Sequence[float], divisor: float, _weight: int, _now: float
    ) -> None:
        """Replace the value by the last one."""
        self.value = numbers[-1] / divisor
