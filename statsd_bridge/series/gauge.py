"""Values and differences to the current value."""

from __future__ import annotations

from statsd_bridge.model import Form
from statsd_bridge.series.kept import Kept


class Gauge(Kept):
    """One gauge; it starts at 0, so a first difference is a value."""

    __slots__ = ("value",)

    def __init__(self, form: Form) -> None:
        super().__init__(form)
        self.value = 0.0

    def set(self, value: float) -> None:
        """Replace the value."""
        self.value = value

    def add(self, value: float) -> None:
        """Change the value by a difference."""
        self.value += value

    def numbers(self, _now: float) -> tuple[float, ...]:
        """Give the value."""
        return (self.value,)
