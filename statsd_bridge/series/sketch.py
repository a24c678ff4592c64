"""
Quantile sketch: any rank of n values within an error of `error * n`.

The summary of Greenwald and Khanna (SIGMOD 2001).  It keeps some of the values,
ascending, each as an entry

    value, g, delta      lowest rank = sum of all g up to here; highest = lowest + delta

and merges neighbours as long as g + delta <= 2 * error * n; then an entry lies within
error * n of every rank.  Values are merged in batches, which saves most of the time.
A value with a weight becomes two entries, its first and its last copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat

Entry = tuple[float, int, int]

MAX_PENDING = 512
"""Values that are merged at once."""

MIN_ENTRIES = 500
"""Entries that are kept whatever the error: quantiles of few values are exact."""


class Sketch:
    """Values of one part of a window; `error` is a share of their number, 0..1."""

    __slots__ = ("count", "entries", "error", "pending")

    def __init__(self, error: float) -> None:
        self.error = error
        self.count = 0
        self.entries: list[Entry] = []
        self.pending: list[tuple[float, int]] = []

    def add(self, value: float, weight: int) -> None:
        """Add a value `weight` times; it must not be NaN."""
        self.count += weight
        self.pending.append((value, weight))
        if len(self.pending) >= MAX_PENDING:
            self.merge_pending()

    def add_all(self, values: Sequence[float], weight: int) -> None:
        """Add many values, `weight` times each; none may be NaN."""
        self.count += len(values) * weight
        self.pending.extend(zip(values, repeat(weight)))
        if len(self.pending) >= MAX_PENDING:
            self.merge_pending()

    def merge_pending(self) -> None:
        """Merge the pending values into the entries."""
        if not self.pending:
            return
        self.pending.sort()
        fresh: list[Entry] = []
        for value, weight in self.pending:
            fresh.append((value, 1, 0))
            if weight > 1:
                fresh.append((value, weight - 1, 0))
        self.pending.clear()
        merged = merge(self.entries, fresh)
        if len(merged) > MIN_ENTRIES:
            merged = compress(merged, max_span=2 * self.error * self.count)
        self.entries = merged


def merge(left: Sequence[Entry], right: Sequence[Entry]) -> list[Entry]:
    """
    Merge the entries of two sketches; their errors in ranks add up.

    A value's rank among the other sketch's values is known up to that sketch's next
    entry: g + delta - 1 of these values may still come before it.
    """
    merged: list[Entry] = []
    i = j = 0
    while i < len(left) and j < len(right):
        if left[i][0] <= right[j][0]:
            value, g, delta = left[i]
            _, other_g, other_delta = right[j]
            i += 1
        else:
            value, g, delta = right[j]
            _, other_g, other_delta = left[i]
            j += 1
        merged.append((value, g, delta + other_g + other_delta - 1))
    merged.extend(left[i:])
    merged.extend(right[j:])
    return merged


def compress(entries: Sequence[Entry], max_span: float) -> list[Entry]:
    """Merge neighbours into the greater one as long as g + delta <= `max_span`."""
    if len(entries) < 3:
        return list(entries)
    # From the top, so that the greatest stays; the least is added below.
    value, g, delta = entries[-1]
    merged: list[Entry] = []
    for lower in reversed(entries[1:-1]):
        if lower[1] + g + delta <= max_span:
            g += lower[1]
            continue
        merged.append((value, g, delta))
        value, g, delta = lower
    merged.append((value, g, delta))
    merged.append(entries[0])
    merged.reverse()
    return merged


def quantile(entries: Sequence[Entry], count: int, share: float) -> float:
    """Return the value whose rank is nearest to `share` of `count`; NaN without any."""
    if not entries:
        return float("nan")
    rank = max(1, min(count, math.ceil(share * count)))
    best, nearest = entries[0][0], float("inf")
    lowest = 0
    for value, g, delta in entries:
        lowest += g
        # The greatest possible distance between its true rank and the one wanted.
        distance = max(rank - lowest, lowest + delta - rank)
        if distance < nearest:
            best, nearest = value, distance
        if lowest - rank > nearest:
            break
    return best
