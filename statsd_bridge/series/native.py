"""
Native buckets of a histogram, with exponential bounds, like those of client_golang.

A schema s has 2**s buckets per power of two.  Bucket i has the values above the bound
of i - 1 and at most its own, 2**(i / 2**s); those of negative values mirror them:

    schema 0:   ... | -1 | 0 | 1 | 2 |  3  | ...      schema 1 halves each bucket
    bounds:       1/4   1/2  1   2   4     8

- Values within ZERO_THRESHOLD of 0 are in the zero bucket, NaN is in none, an infinity
  is one bucket beyond that of the largest float.
- Buckets are in pages of 16 counts; a page without values does not exist.
- After an observation that leaves more buckets than allowed, the resolution is halved
  once: pairs of buckets are merged.  A weighted observation is repeated.
- All values since the first one are in the buckets, or there are no buckets.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from statsd_bridge.memory import NATIVE_BYTES, NATIVE_PAGE_BYTES, Account
from statsd_bridge.model import MIN_NATIVE_SCHEMA, NativeOptions
from statsd_bridge.series.native_bounds import (
    MAX_TABLE_VALUE,
    MIN_TABLE_VALUE,
    bucket_position,
    bucket_table,
    first_index,
)

ZERO_THRESHOLD = 2.0**-128

MAX_COUNT = (1 << 63) - 1
"""The largest count of a bucket that a message can carry."""


@dataclass(slots=True)
class NativeStats:
    """What native histograms lost."""

    dropped: Counter[str] = field(default_factory=Counter)
    """Histograms that lost their native buckets, by reason: idle, memory, range."""
    halved: int = 0
    """How often a resolution was halved for want of memory."""


class NativeGeneration:
    """
    Histograms whose native buckets are dropped together, and what they are charged to.

    `is_dropped` ends all of them at once; each gives back its memory later.
    """

    __slots__ = ("account", "is_dropped", "stats")

    def __init__(self, account: Account, stats: NativeStats) -> None:
        self.account = account
        self.stats = stats
        self.is_dropped = False

    def observe(self, _value: float, _weight: int) -> bool:
        """Return False: the buckets of a histogram are not made yet."""
        return False


_Buckets = dict[int, "array[int]"]
"""
The buckets of one sign: pages of counts, by the number of the page.

    page          0                         1
    position      0    1    2    3  ... 15   16   17  ...
    schema 0    -31  -30  -29  -28     -16  -15  -14       index
    schema 3   -255 -254 -253 -252    -240 -239 -238

Half the resolution is half the position, so two pages become one.  A dict of counts
takes three times the memory, a sorted array twice the time.
"""

PAGE_BITS = 4
PAGE_MASK = (1 << PAGE_BITS) - 1

_EMPTY_PAGE = array("q", bytes(8 << PAGE_BITS))


class NativeState(NamedTuple):
    """Native buckets as counts by position, for a file."""

    schema: int
    zero_count: int
    positive: Mapping[int, int]
    negative: Mapping[int, int]

    def total(self) -> int:
        """Return the count of all observations."""
        counts = (*self.positive.values(), *self.negative.values())
        return self.zero_count + sum(counts)


class NativeHistogram:
    """The native buckets of one histogram."""

    __slots__ = (
        "_bounds",
        "_generation",
        "_max_buckets",
        "_negative",
        "_positive",
        "_used",
        "schema",
        "zero_count",
    )

    zero_threshold = ZERO_THRESHOLD

    def __init__(self, options: NativeOptions, generation: NativeGeneration) -> None:
        self._generation = generation
        self._max_buckets = options.max_buckets
        self.schema = options.schema
        self.zero_count = 0
        self._bounds = bucket_table(options.schema, 1.0)
        self._positive: _Buckets = {}
        self._negative: _Buckets | None = None
        self._used = 0
        """Buckets with values."""

    def state(self) -> NativeState:
        """Return all counts."""
        negative = dict(_items(self._negative or {}, 0))
        positive = dict(_items(self._positive, 0))
        return NativeState(self.schema, self.zero_count, positive, negative)

    @classmethod
    def restored(
        cls, options: NativeOptions, generation: NativeGeneration, state: NativeState
    ) -> Self | None:
        """Return native buckets with these counts, None if there is no memory."""
        if not generation.account.reserve(NATIVE_BYTES):
            return None
        native = cls(options, generation)
        native.schema, native.zero_count = state.schema, state.zero_count
        native._bounds = bucket_table(state.schema, 1.0)
        native._insert_all(native._positive, state.positive)
        if state.negative:
            native._negative = {}
            native._insert_all(native._negative, state.negative)
        if generation.account.reserve(NATIVE_PAGE_BYTES * native._pages()):
            return native
        generation.account.release(NATIVE_BYTES)
        return None

    @property
    def is_dropped(self) -> bool:
        """Whether the buckets must not be shown any more."""
        return self._generation.is_dropped

    @property
    def stats(self) -> NativeStats:
        """What native histograms lost."""
        return self._generation.stats

    def positive_buckets(self) -> Sequence[tuple[int, int]]:
        """Return index and count of the buckets above zero, ascending by index."""
        return self._by_index(self._positive)

    def negative_buckets(self) -> Sequence[tuple[int, int]]:
        """Return index and count of the buckets below zero, ascending by index."""
        return self._by_index(self._negative) if self._negative else []

    @property
    def size(self) -> int:
        """The bytes that are charged for it."""
        return NATIVE_BYTES + NATIVE_PAGE_BYTES * self._pages()

    def release(self) -> None:
        """Give back the memory."""
        self._generation.account.release(self.size)

    def observe(self, value: float, weight: int) -> bool:
        """
        Count a value `weight` times; NaN is ignored.

        Return False if there is no memory for that: the buckets must be dropped.  Raise
        OverflowError if a count is too large for a message, with the same consequence.
        """
        if MIN_TABLE_VALUE < value <= MAX_TABLE_VALUE:
            position = bisect_left(self._bounds, value)
            page = self._positive.get(position >> PAGE_BITS)
            if page is not None:
                count = page[position & PAGE_MASK]
                page[position & PAGE_MASK] = count + weight
                if not count:
                    self._used += 1
                return self._used <= self._max_buckets or self._limit(weight)
        return self._observe_any(value, weight)

    def observe_all(
        self,
        numbers: Sequence[float],
        ascending: Sequence[float],
        divisor: float,
        weight: int,
    ) -> bool:
        """
        Count many values, like `observe`; none of them is NaN.

        `ascending` has the same numbers in order; a value is a number over `divisor`.
        All that fall into one bucket are counted at once, unless there may be too many
        buckets: when the resolution is halved depends on the order of the values.
        """
        if len(numbers) * weight > MAX_COUNT:
            raise OverflowError("too many values")
        if self._used > self._max_buckets and self.schema > MIN_NATIVE_SCHEMA:
            return self._observe_each(numbers, divisor, weight)
        negative, zeros, positive = _split(ascending, divisor)
        new = self._increment_all(self._positive, positive, divisor, weight)
        if negative and self._negative is None:
            self._negative = {}
        below = self._negative or {}
        new_below = self._increment_all(below, negative, divisor, weight)
        if not self._reserve(new, new_below):
            self._increment_all(self._positive, positive, divisor, -weight)
            self._increment_all(below, negative, divisor, -weight)
            return self._observe_each(numbers, divisor, weight)
        self._insert_all(self._positive, new)
        if self._negative is not None:
            self._insert_all(self._negative, new_below)
        self._add_zeros(zeros * weight)
        return True

    def _observe_any(self, value: float, weight: int) -> bool:
        """Count a value for which there may be no bucket yet."""
        if value > ZERO_THRESHOLD:
            buckets = self._positive
        elif value < -ZERO_THRESHOLD:
            value = -value
            if self._negative is None:
                self._negative = {}
            buckets = self._negative
        else:
            if value == value:
                self._add_zeros(weight)
            return value != value or self._limit(weight)
        position = bucket_position(value, self.schema)
        while (page := buckets.get(position >> PAGE_BITS)) is None:
            if self._generation.account.reserve(NATIVE_PAGE_BYTES):
                page = buckets[position >> PAGE_BITS] = _EMPTY_PAGE[:]
                break
            if not self._halve():
                return False
            self._generation.stats.halved += 1
            position = bucket_position(value, self.schema)
        self._used += not page[position & PAGE_MASK]
        page[position & PAGE_MASK] += weight
        return self._limit(weight)

    def _observe_each(
        self, numbers: Sequence[float], divisor: float, weight: int
    ) -> bool:
        return all(self.observe(number / divisor, weight) for number in numbers)

    def _increment_all(
        self,
        buckets: _Buckets,
        numbers: Sequence[float],
        divisor: float,
        weight: int,
    ) -> dict[int, int]:
        """
        Count ascending positive numbers in those buckets that have values.

        Return the counts of the others by position.
        """
        bounds = bucket_table(self.schema, divisor)
        missing: dict[int, int] = {}
        start, end, last = 0, len(numbers), len(bounds)
        while start < end:
            position = bisect_left(bounds, numbers[start])
            if position < last and numbers[start] / divisor > MIN_TABLE_VALUE:
                stop = bisect_right(numbers, bounds[position], start)
            else:
                position = bucket_position(numbers[start] / divisor, self.schema)
                stop = start + 1
            page = buckets.get(position >> PAGE_BITS)
            if page is not None and (count := page[position & PAGE_MASK]):
                page[position & PAGE_MASK] = count + (stop - start) * weight
            else:
                missing[position] = missing.get(position, 0) + (stop - start) * weight
            start = stop
        return missing

    def _reserve(self, new: Collection[int], new_below: Collection[int]) -> bool:
        """Return whether buckets may be added, and charge their pages."""
        if not new and not new_below:
            return True
        if self._used + len(new) + len(new_below) > self._max_buckets:
            return False
        pages = {position >> PAGE_BITS for position in new} - self._positive.keys()
        below = {position >> PAGE_BITS for position in new_below}
        if self._negative:
            below -= self._negative.keys()
        size = NATIVE_PAGE_BYTES * (len(pages) + len(below))
        return self._generation.account.reserve(size)

    def _insert_all(self, buckets: _Buckets, counts: Mapping[int, int]) -> None:
        """Add buckets that have no values yet; their pages are charged."""
        for position, count in counts.items():
            page = buckets.get(position >> PAGE_BITS)
            if page is None:
                page = buckets[position >> PAGE_BITS] = _EMPTY_PAGE[:]
            page[position & PAGE_MASK] = count
        self._used += len(counts)

    def _by_index(self, buckets: _Buckets) -> list[tuple[int, int]]:
        return _items(buckets, first_index(self.schema))

    def _add_zeros(self, count: int) -> None:
        self.zero_count += count
        if self.zero_count > MAX_COUNT:
            raise OverflowError("too many values in the zero bucket")

    def _pages(self) -> int:
        return len(self._positive) + len(self._negative or ())

    def _limit(self, observations: int) -> bool:
        """Halve the resolution at most once an observation, if there are too many."""
        while self._used > self._max_buckets and observations and self._halve():
            observations -= 1
        return True

    def _halve(self) -> bool:
        """Merge pairs of buckets; return False at the lowest resolution."""
        if self.schema <= MIN_NATIVE_SCHEMA:
            return False
        self.schema -= 1
        self._bounds = bucket_table(self.schema, 1.0)
        before, self._used = self._pages(), 0
        try:
            self._merge_pairs(self._positive)
            if self._negative:
                self._merge_pairs(self._negative)
        finally:
            merged = before - self._pages()
            self._generation.account.release(NATIVE_PAGE_BYTES * merged)
        return True

    def _merge_pairs(self, buckets: _Buckets) -> None:
        merged: dict[int, int] = {}
        for position, count in _items(buckets, 0):
            wider = position >> 1
            merged[wider] = merged.get(wider, 0) + count
        buckets.clear()
        self._insert_all(buckets, merged)


def _items(buckets: _Buckets, first: int) -> list[tuple[int, int]]:
    """
    Return position and count of all buckets with values, ascending.

    The position is that of the array plus `first`.
    """
    return [
        (position, count)
        for number in sorted(buckets)
        for position, count in enumerate(buckets[number], (number << PAGE_BITS) + first)
        if count
    ]


def _split(
    ascending: Sequence[float], divisor: float
) -> tuple[Sequence[float], int, Sequence[float]]:
    """Return the negative numbers as ascending positive ones, zeros, positive ones."""
    if ascending[0] / divisor > ZERO_THRESHOLD:
        return (), 0, ascending
    values = [number / divisor for number in ascending]
    negative = bisect_left(values, -ZERO_THRESHOLD)
    positive = bisect_right(values, ZERO_THRESHOLD)
    mirrored = [-number for number in ascending[:negative]][::-1]
    return mirrored, positive - negative, ascending[positive:]
