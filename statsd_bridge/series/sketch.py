"""
Quantile sketches: the value of any rank among n values, within `error * n` ranks.

A sketch is the summary of Greenwald and Khanna (SIGMOD 2001).  It keeps some of the
values, ascending, in three columns:

    values    a value
    ranks     the lowest rank that it may have
    deltas    how far its rank may be above that

Of two neighbours the lower one can go if the ranks that the greater one then stands for
are at most `2 * error * n`; this number is the span of the sketch.  Values wait until
there are many, and are then merged at once.  A value with a weight becomes two entries,
its first and its last copy.

A quantile of several sketches needs no merge of them: the lowest rank of a value among
all is the sum of its lowest ranks, and the spans add up, too.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, repeat
from operator import sub
from typing import NamedTuple

MIN_PENDING = 16
"""Values that an empty sketch has room for."""

MAX_PENDING = 1_024
"""Values that are merged at once."""

MIN_ENTRIES = 500
"""Entries that are kept whatever the error: quantiles of few values are exact."""

ENTRIES_PER_SEARCH = 10
"""Entries that are sorted in the time in which one rank is searched in one run."""

SKETCH_BYTES = 380
"""An empty sketch, with room for MIN_PENDING values."""

VALUE_BYTES = 8
"""A value that waits; its weight takes as much, if a value has one."""

ENTRY_BYTES = 24
"""A value, its rank and its delta."""


class Run(NamedTuple):
    """Ascending values and the lowest rank of each."""

    values: Sequence[float]
    ranks: Sequence[float]


class Sketch:
    """
    Values of one part of a window; `error` is a share of their number, 0..1.

    `number` is that of the part.  `pending_capacity` and `entry_capacity` are the
    values and entries that it has memory for: the summary raises them.
    """

    __slots__ = (
        "count",
        "deltas",
        "entry_capacity",
        "error",
        "number",
        "pending",
        "pending_capacity",
        "ranks",
        "span",
        "values",
        "weights",
    )

    def __init__(self, error: float, number: int = 0) -> None:
        self.error = error
        self.number = number
        self.count = 0
        self.span = 0.0
        """Ranks that an entry may stand for; 0 while the sketch has all values."""
        self.pending = array("d")
        self.pending_capacity = MIN_PENDING
        self.weights: array[float] | None = None
        """Weights of `pending`; None while all are 1."""
        self.values: array[float] = _NO_NUMBERS
        self.ranks: array[float] = _NO_NUMBERS
        self.deltas: array[float] = _NO_NUMBERS
        self.entry_capacity = 0

    def add(self, value: float, weight: int) -> None:
        """
        Add a value `weight` times; it must not be NaN.

        Call `use_weights` before a weight other than 1.
        """
        self.count += weight
        self.pending.append(value)
        if self.weights is not None:
            self.weights.append(weight)

    def add_all(self, values: Sequence[float], weight: int) -> None:
        """Add many values, `weight` times each; none may be NaN."""
        self.count += len(values) * weight
        self.pending.extend(values)
        if self.weights is not None:
            self.weights.extend(repeat(float(weight), len(values)))

    def use_weights(self) -> None:
        """Get ready for weights other than 1."""
        self.weights = array("d", repeat(1.0, len(self.pending)))

    @property
    def size(self) -> int:
        """The estimated size in bytes."""
        columns = 1 if self.weights is None else 2
        return (
            SKETCH_BYTES
            + (self.pending_capacity * columns - MIN_PENDING) * VALUE_BYTES
            + self.entry_capacity * ENTRY_BYTES
        )

    def is_full(self) -> bool:
        """Return whether the memory for values that wait is used up."""
        return len(self.pending) >= self.pending_capacity

    def merge_pending(self) -> None:
        """Merge the pending values into the entries."""
        if not self.pending:
            return
        self._merge(self._sorted_pending())
        self.pending = array("d")
        self.weights = None
        if len(self.values) > MIN_ENTRIES:
            self.compress(2 * self.error * self.count)

    def coarsen(self, entries: int) -> None:
        """Reduce the sketch to at most `entries` entries, with a larger error."""
        span = max(self.span, 2.0 * self.count / max(entries, 2))
        while len(self.values) > max(entries, 2):
            self.compress(span)
            span *= 2

    def thin_pending(self) -> None:
        """Forget evenly spaced values of those that wait: half of them or more."""
        step = -(-len(self.pending) * 2 // self.pending_capacity)
        before = sum(self.weights) if self.weights else len(self.pending)
        self.pending = self.pending[::step]
        if self.weights is not None:
            self.weights = self.weights[::step]
        after = sum(self.weights) if self.weights else len(self.pending)
        self.count -= int(before - after)

    def least(self) -> float:
        """Return the least value, infinite without any."""
        least = min(self.pending, default=math.inf)
        return min(least, self.values[0]) if self.values else least

    def runs(self) -> Iterable[Run]:
        """Yield runs that together have all values."""
        if self.values:
            yield Run(self.values, self.ranks)
        if self.pending:
            if self.weights is None:
                values = array("d", sorted(self.pending))
                self.pending = values
                yield Run(values, range(1, len(values) + 1))
            else:
                pairs = self._sorted_pending()
                yield Run(
                    [value for value, _ in pairs],
                    list(accumulate(weight for _, weight in pairs)),
                )

    def _sorted_pending(self) -> list[tuple[float, float]]:
        weights = self.weights or [1.0] * len(self.pending)
        return sorted(zip(self.pending, weights, strict=True))

    def _merge(self, fresh: Sequence[tuple[float, float]]) -> None:
        """Merge ascending pairs of value and weight into the entries."""
        old_values, old_ranks, old_deltas = self.values, self.ranks, self.deltas
        values, ranks, deltas = array("d"), array("d"), array("d")
        end, below, added = 0, 0.0, 0.0
        for value, weight in fresh:
            start, end = end, bisect_right(old_values, value, end)
            if end > start:
                values.extend(old_values[start:end])
                ranks.extend([rank + added for rank in old_ranks[start:end]])
                deltas.extend(old_deltas[start:end])
                below = old_ranks[end - 1]
            # The next entry stands for values that may come before this one.
            delta = 0.0
            if end < len(old_values):
                delta = old_ranks[end] - below + old_deltas[end] - 1
            values.append(value)
            ranks.append(below + added + 1)
            deltas.append(delta)
            if weight > 1:
                values.append(value)
                ranks.append(below + added + weight)
                deltas.append(delta)
            added += weight
        values.extend(old_values[end:])
        ranks.extend([rank + added for rank in old_ranks[end:]])
        deltas.extend(old_deltas[end:])
        self.values, self.ranks, self.deltas = values, ranks, deltas

    def compress(self, span: float) -> None:
        """Drop the entries whose ranks a greater one can stand for, within `span`."""
        ranks, deltas = self.ranks, self.deltas
        index = len(ranks) - 1
        kept = [index]
        # From the top, so that the greatest stays; the least is kept, too.
        while index > 1:
            floor = ranks[index] + deltas[index] - span
            index = min(bisect_left(ranks, floor, 0, index), index - 1)
            if index < 1:
                break
            kept.append(index)
        if kept[-1] != 0:
            kept.append(0)
        kept.reverse()
        self.values, self.ranks, self.deltas = (
            array("d", [column[i] for i in kept])
            for column in (self.values, ranks, deltas)
        )
        self.span = max(self.span, span)


_NO_NUMBERS = array("d")


def quantiles(sketches: Sequence[Sketch], shares: Sequence[float]) -> list[float]:
    """
    Return the value at each share of all values, NaN without any.

    A rank costs a few searches in each sketch, whatever the number of values; if there
    are many ranks, all values are sorted instead.
    """
    count, is_plain = 0, True
    for each in sketches:
        count += each.count
        if each.values or each.weights is not None:
            is_plain = False
    if not count:
        return [math.nan] * len(shares)
    targets = [math.ceil(share * count) or 1 for share in shares]
    if is_plain:
        # Few values, each with a weight of 1: most summaries.
        everything = sorted(chain.from_iterable([each.pending for each in sketches]))
        return [everything[target - 1] for target in targets]
    runs = [run for each in sketches for run in each.runs()]
    # The rank of a value is between its lowest one and that plus all spans.
    uncertainty = sum(each.span for each in sketches) / 2
    entries = sum(len(run.values) for run in runs)
    if len(targets) * len(runs) * ENTRIES_PER_SEARCH > entries:
        values, ranks = _merged(runs)
        places = (bisect_left(ranks, target - uncertainty) for target in targets)
        return [values[min(place, entries - 1)] for place in places]
    return [_least_of_rank(runs, target - uncertainty) for target in targets]


def _merged(runs: Sequence[Run]) -> tuple[list[float], list[float]]:
    """Return all values, ascending, and the lowest rank of each among all runs."""
    steps: list[tuple[float, float]] = []
    for run in runs:
        differences = map(sub, run.ranks, chain([0.0], run.ranks))
        steps.extend(zip(run.values, differences, strict=True))
    steps.sort()
    ranks = list(accumulate(difference for _, difference in steps))
    return [value for value, _ in steps], ranks


def _least_of_rank(runs: Sequence[Run], target: float) -> float:
    """Return the least value whose lowest rank is at least `target`."""
    lows = [0] * len(runs)
    highs = [len(run.values) for run in runs]
    best = max(run.values[-1] for run in runs)
    while True:
        widths = [high - low for low, high in zip(lows, highs, strict=True)]
        widest = max(widths)
        if not widest:
            return best
        at = widths.index(widest)
        pivot = runs[at].values[(lows[at] + highs[at]) // 2]
        ends = [
            bisect_right(run.values, pivot, low, high)
            for run, low, high in zip(runs, lows, highs, strict=True)
        ]
        rank = sum(
            run.ranks[end - 1] for run, end in zip(runs, ends, strict=True) if end
        )
        if rank >= target:
            best = pivot
            highs = [
                bisect_left(run.values, pivot, low, end)
                for run, low, end in zip(runs, lows, ends, strict=True)
            ]
        else:
            lows = ends
