"""Counters: the sum of all increments."""

from __future__ import annotations

from collections.abc import Sequence

from statsd_bridge.model import Sample
from statsd_bridge.series.base import SingleValue


class Counter(SingleValue):
    """A counter.  The store rejects negative increments before they come here."""

    __slots__ = ()

    def record(self, _sample: Sample, value: float, _now: float) -> None:
        """Add an increment."""
        self.value += value

    def record_all(
        self, numbers: Sequence[float], divisor: float, _weight: int, _now: float
    ) -> None:
        """Add many increments."""
        self.value += sum(numbers) / divisor
