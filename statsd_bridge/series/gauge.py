"""Values and differences to the current value."""

from __future__ import annotations

from statsd_bridge.model import MetricOptions
from statsd_bridge.series.base import Series


class Gauge(Series):
    """One gauge; it starts at 0, so a first difference is a value."""

    __slots__ = ("value",)

    def __init__(self, form: MetricOptions) -> None:
        super().__init__(form)
        self.value = 0.0

    def set(self, value: float) -> None:
        """Replace the value."""
        self.value = value

    def add(self, value: float) -> None:
        """Change the value by a difference."""
        self.value += value

    def values(self, _now: float) -> tuple[float, ...]:
        """Give the value."""
        return (self.value,)
