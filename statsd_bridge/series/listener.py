"""The interface by which the store tells the fast path of its series."""

from __future__ import annotations

from typing import Protocol

from statsd_bridge.series.base import Series


class SeriesListener(Protocol):
    """Called before a series changes or is removed; see fastpath/buffers.py."""

    def before_record(self, series: Series, ttl: float, now: float) -> None:
        """Prepare for a sample of a rule with this ttl."""

    def before_remove(self, series: Series) -> None:
        """Forget a series that expires."""
