"""Increments to their total."""

from __future__ import annotations

from statsd_bridge.model import MetricOptions
from statsd_bridge.series.base import Series


class Counter(Series):
    """One counter.  The caller keeps negative values out."""

    __slots__ = ("value",)

    def __init__(self, form: MetricOptions) -> None:
        super().__init__(form)
        self.value = 0.0

    def add(self, value: float) -> None:
        """Count `value` more."""
        self.value += value

    def values(self, _now: float) -> tuple[float, ...]:
        """Give the total."""
        return (self.value,)
