"""
Many values to a few from which any rank can be answered within a known error.

The summary of Greenwald and Khanna (SIGMOD 2001).  Of the n values seen it keeps some,
ascending, each as

    value, g, delta      lowest rank = sum of all g up to here; highest = lowest + delta

and merges neighbours as long as g + delta <= 2 * error * n; then a kept value lies
within error * n of every rank.  Values come in batches, which is where the time goes.
A value may stand for many: it is kept as its first and its last copy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat

Entry = tuple[float, int, int]

BATCH = 512

EXACT = 500
"""Entries that are kept whatever the error: few values are answered as they came."""


class Sketch:
    """Values of one stretch of time; `error` is a share of their number, 0..1."""

    __slots__ = ("count", "entries", "error", "pending")

    def __init__(self, error: float) -> None:
        self.error = error
        self.count = 0
        self.entries: list[Entry] = []
        self.pending: list[tuple[float, int]] = []

    def add(self, value: float, weight: int) -> None:
        """Take a value `weight` times; it must not be NaN."""
        self.count += weight
        self.pending.append((value, weight))
        if len(self.pending) >= BATCH:
            self.fold()

    def add_all(self, values: Sequence[float], weight: int) -> None:
        """Take many values, each `weight` times; none may be NaN."""
        self.count += len(values) * weight
        self.pending.extend(zip(values, repeat(weight)))  # noqa: B905
        if len(self.pending) >= BATCH:
            self.fold()

    def fold(self) -> None:
        """Take in what is pending."""
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
        few = len(merged) <= EXACT
        self.entries = merged if few else compress(merged, 2 * self.error * self.count)


def merge(left: Sequence[Entry], right: Sequence[Entry]) -> list[Entry]:
    """
    Put two summaries together; their errors in ranks add up.

    Between two neighbours of the other one, the rank is known as well as there: up to
    g + delta - 1 of the other's values may still come before.
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


def compress(entries: Sequence[Entry], most: float) -> list[Entry]:
    """Merge neighbours into the greater one while its g + delta stays below `most`."""
    if len(entries) < 3:
        return list(entries)
    # From the top, so that the greatest is kept; the least is kept, too.
    value, g, delta = entries[-1]
    kept: list[Entry] = []
    for lower in reversed(entries[1:-1]):
        if lower[1] + g + delta <= most:
            g += lower[1]
            continue
        kept.append((value, g, delta))
        value, g, delta = lower
    kept.append((value, g, delta))
    kept.append(entries[0])
    kept.reverse()
    return kept


def quantile(entries: Sequence[Entry], count: int, share: float) -> float:
    """Answer with a value that was seen, whose rank is near `share` of all; or NaN."""
    if not entries:
        return float("nan")
    rank = max(1, min(count, math.ceil(share * count)))
    best, nearest = entries[0][0], float("inf")
    lowest = 0
    for value, g, delta in entries:
        lowest += g
        # The farthest that the true rank of this value can be from the one wanted.
        distance = max(rank - lowest, lowest + delta - rank)
        if distance < nearest:
            best, nearest = value, distance
        if lowest - rank > nearest:
            break
    return best
