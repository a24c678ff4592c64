"""
Growing series, looked at in turn: what left their windows goes, scraped or not.

A round is a share of them, once a second; after ROUND_SECONDS all had their turn.
"""

from __future__ import annotations

from itertools import islice

from statsd_bridge.series.base import GrowingSeries

ROUND_SECONDS = 15
"""Seconds in which each growing series is looked at once."""

MAX_BATCH = 100
"""Series that are taken at once: the first of a dict is found past removed ones."""


class Rotation:
    """The growing series of a store, in the order in which they were looked at."""

    def __init__(self) -> None:
        self._series: dict[GrowingSeries, None] = {}
        self._left = 0
        """Series of this round that are still to be looked at."""

    def add(self, series: GrowingSeries) -> None:
        """Add a series."""
        self._series[series] = None

    def remove(self, series: GrowingSeries) -> None:
        """Remove a series."""
        del self._series[series]

    def start_round(self) -> None:
        """Begin a round, unless the last one has not ended."""
        self._left = max(self._left, -(-len(self._series) // ROUND_SECONDS))

    def start_full_round(self) -> None:
        """Begin a round of all series."""
        self._left = len(self._series)

    def expire(self, now: float, max_steps: int) -> int:
        """Look at series until the round ends or the steps are used up; return them."""
        steps = 0
        while self._left > 0 and steps < max_steps:
            batch = list(islice(self._series, min(self._left, MAX_BATCH)))
            if not batch:
                self._left = 0
            for series in batch:
                self._left -= 1
                del self._series[series]
                self._series[series] = None
                steps += 1 + series.expire(now)
                if steps >= max_steps:
                    break
        return steps

    def is_done(self) -> bool:
        """Return whether the round has ended."""
        return self._left <= 0
