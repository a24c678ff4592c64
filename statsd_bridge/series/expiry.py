"""
Series with a ttl, by the time at which they are looked at.

Recording a sample only assigns `last_update`; an entry that comes too early for its
series is pushed again.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import final

from statsd_bridge.series.base import Series

MIN_HEAP_ENTRIES = 100
"""The heap is not compacted below this."""


@final
class ExpiryHeap:
    """
    A heap with one valid entry for each series with a ttl.

    An entry is valid while its time equals `series.due`; all others are stale.
    """

    __slots__ = ("_heap", "_serial")

    def __init__(self) -> None:
        # Time, a serial number that no two entries share, series, label text.
        self._heap: list[tuple[float, int, Series, str]] = []
        self._serial = 0

    def schedule(self, series: Series, label_text: str, series_count: int) -> None:
        """
        Push an entry for a series, unless an earlier one is pending.

        A shorter ttl makes the old one stale; it stays until its time, or until stale
        entries are the majority.
        """
        due = series.last_update + series.ttl
        if 0.0 < series.due <= due:
            return
        series.due = due
        self._serial += 1
        heappush(self._heap, (due, self._serial, series, label_text))
        self.compact(series_count)

    def is_due(self, now: float) -> bool:
        """Return whether the time of an entry has come."""
        return bool(self._heap) and self._heap[0][0] < now

    def pop(self, now: float, series_count: int) -> tuple[Series, str] | None:
        """Pop the first entry; return its series if that has expired."""
        due, _, series, label_text = heappop(self._heap)
        if due != series.due:
            return None
        series.due = 0.0
        if not series.ttl:
            return None
        if series.last_update + series.ttl >= now:
            self.schedule(series, label_text, series_count)
            return None
        return series, label_text

    def compact(self, series_count: int) -> None:
        """Remove the stale entries if they are the majority."""
        heap = self._heap
        if len(heap) > 2 * series_count + MIN_HEAP_ENTRIES:
            heap[:] = [entry for entry in heap if entry[0] == entry[2].due]
            heapify(heap)
