"""Increments to their total."""

from __future__ import annotations

from statsd_bridge.model import Form


class Counter:
    """One counter.  The caller keeps negative values out."""

    __slots__ = ("form", "last", "template", "ttl", "value")

    def __init__(self, form: Form) -> None:
        self.form = form
        self.template: str | None = None
        self.ttl = form.ttl
        self.last = 0.0
        self.value = 0.0

    def add(self, value: float) -> None:
        """Count `value` more."""
        self.value += value

    def numbers(self, _now: float) -> tuple[float, ...]:
        """Give the total."""
        return (self.value,)
