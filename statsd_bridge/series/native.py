"""
Native buckets of a histogram, with exponential bounds, like those of client_golang.

A schema s has 2**s buckets per power of two.  Bucket i has the values above the bound
of i - 1 and at most its own, 2**(i / 2**s); those of negative values mirror them:

    schema 0:   ... | -1 | 0 | 1 | 2 |  3  | ...      schema 1 halves each bucket
    bounds:       1/4   1/2  1   2   4     8

- Values within ZERO_THRESHOLD of 0 are in the zero bucket, NaN is in none, an infinity
  is one bucket beyond that of the largest float.
- Only buckets with values are stored: two sorted arrays, 12 bytes a bucket.
- After an observation that leaves more buckets than allowed, the resolution is halved
  once: pairs of buckets are merged.  A weighted observation is repeated.
- All values since the first one are in the buckets, or there are no buckets.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import frexp, inf, ldexp, nextafter
from sys import float_info

from statsd_bridge.memory import NATIVE_BUCKET_BYTES, NATIVE_BYTES, Account
from statsd_bridge.model import MIN_NATIVE_SCHEMA, NativeOptions

ZERO_THRESHOLD = 2.0**-128

MAX_COUNT = (1 << 63) - 1
"""The largest count of a bucket that a message can carry."""

MIN_TABLE_EXPONENT, MAX_TABLE_EXPONENT = -20, 20
"""Bounds between these powers of two, about a microsecond to 12 days, are in tables."""

_Run = list[tuple[int, int]]
"""Pairs of a bucket's index and its count, ascending."""


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


class NativeHistogram:
    """The native buckets of one histogram."""

    __slots__ = (
        "_generation",
        "_max_buckets",
        "_negative",
        "_positive",
        "schema",
        "zero_count",
    )

    zero_threshold = ZERO_THRESHOLD

    def __init__(self, options: NativeOptions, generation: NativeGeneration) -> None:
        self._generation = generation
        self._max_buckets = options.max_buckets
        self.schema = options.schema
        self.zero_count = 0
        self._positive = _Buckets()
        self._negative: _Buckets | None = None

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
        return self._positive.items()

    def negative_buckets(self) -> Sequence[tuple[int, int]]:
        """Return index and count of the buckets below zero, ascending by index."""
        return self._negative.items() if self._negative else []

    def release(self) -> None:
        """Give back the memory."""
        size = NATIVE_BYTES + NATIVE_BUCKET_BYTES * self._used()
        self._generation.account.release(size)

    def observe(self, value: float, weight: int) -> bool:
        """
        Count a value, not NaN, `weight` times.

        Return False if there is no memory for that: the buckets must be dropped.  Raise
        OverflowError if a count is too large for a message, with the same consequence.
        """
        if value > ZERO_THRESHOLD:
            buckets = self._positive
        elif value < -ZERO_THRESHOLD:
            value = -value
            if self._negative is None:
                self._negative = _Buckets()
            buckets = self._negative
        else:
            self._add_zeros(weight)
            return self._limit(weight)
        while not buckets.increment(bucket_index(value, self.schema), weight):
            if self._generation.account.reserve(NATIVE_BUCKET_BYTES):
                buckets.insert(bucket_index(value, self.schema), weight)
                break
            if not self._halve():
                return False
            self._generation.stats.halved += 1
        return self._limit(weight)

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
        if self._used() > self._max_buckets and self.schema > MIN_NATIVE_SCHEMA:
            return self._observe_each(numbers, divisor, weight)
        negative, zeros, positive = _split(ascending, divisor)
        runs = [(self._positive, positive, divisor)]
        if negative:
            if self._negative is None:
                self._negative = _Buckets()
            runs.append((self._negative, negative, divisor))
        saved = [(buckets, buckets.counts[:]) for buckets, _, _ in runs]
        missing = [
            (buckets, buckets.increment_all(count_runs(run, each, self.schema), weight))
            for buckets, run, each in runs
        ]
        if not self._reserve(sum(len(new) for _, new in missing)):
            for buckets, counts in saved:
                buckets.counts = counts
            return self._observe_each(numbers, divisor, weight)
        for buckets, new in missing:
            for index, count in new.items():
                buckets.insert(index, count)
        self._add_zeros(zeros * weight)
        return True

    def _observe_each(
        self, numbers: Sequence[float], divisor: float, weight: int
    ) -> bool:
        return all(self.observe(number / divisor, weight) for number in numbers)

    def _reserve(self, new_buckets: int) -> bool:
        """Return whether more buckets are within all limits, and charge them."""
        if not new_buckets:
            return True
        if self._used() + new_buckets > self._max_buckets:
            return False
        return self._generation.account.reserve(NATIVE_BUCKET_BYTES * new_buckets)

    def _add_zeros(self, count: int) -> None:
        self.zero_count += count
        if self.zero_count > MAX_COUNT:
            raise OverflowError("too many values in the zero bucket")

    def _used(self) -> int:
        negative = self._negative
        return len(self._positive) + (len(negative) if negative else 0)

    def _limit(self, observations: int) -> bool:
        """Halve the resolution at most once an observation, if there are too many."""
        while self._used() > self._max_buckets and observations and self._halve():
            observations -= 1
        return True

    def _halve(self) -> bool:
        """Merge pairs of buckets; return False at the lowest resolution."""
        if self.schema <= MIN_NATIVE_SCHEMA:
            return False
        before = self._used()
        self.schema -= 1
        try:
            self._positive.halve()
            if self._negative:
                self._negative.halve()
        finally:
            merged = before - self._used()
            self._generation.account.release(NATIVE_BUCKET_BYTES * merged)
        return True


class _Buckets:
    """The buckets of one sign that have values: indexes, ascending, and counts."""

    __slots__ = ("counts", "indexes")

    def __init__(self) -> None:
        self.indexes = array("i")
        self.counts = array("q")

    def __len__(self) -> int:
        return len(self.indexes)

    def items(self) -> Sequence[tuple[int, int]]:
        """Return pairs of index and count."""
        return list(zip(self.indexes, self.counts, strict=True))

    def increment(self, index: int, count: int) -> bool:
        """Add to a bucket; return False if it has no values yet."""
        indexes = self.indexes
        place = bisect_left(indexes, index)
        if place == len(indexes) or indexes[place] != index:
            return False
        self.counts[place] += count
        return True

    def increment_all(self, run: _Run, weight: int) -> dict[int, int]:
        """Add to those buckets that have values; return the counts of the others."""
        indexes, counts, end = self.indexes, self.counts, len(self.indexes)
        missing: dict[int, int] = {}
        place = 0
        for index, count in run:
            place = bisect_left(indexes, index, place)
            if place < end and indexes[place] == index:
                counts[place] += count * weight
            else:
                missing[index] = missing.get(index, 0) + count * weight
        return missing

    def insert(self, index: int, count: int) -> None:
        """Add a bucket."""
        place = bisect_left(self.indexes, index)
        self.counts.insert(place, count)
        self.indexes.insert(place, index)

    def halve(self) -> None:
        """Merge the buckets whose bounds are one of half the resolution."""
        merged: dict[int, int] = {}
        for index, count in self.items():
            wider = (index + 1) >> 1
            merged[wider] = merged.get(wider, 0) + count
        self.indexes, self.counts = array("i", merged), array("q", merged.values())


def bucket_index(value: float, schema: int) -> int:
    """Return the index of the bucket of a positive value."""
    if value == inf:
        return bucket_index(float_info.max, schema) + 1
    fraction, exponent = frexp(value)
    if schema > 0:
        return bisect_left(fractions(schema), fraction) + ((exponent - 1) << schema)
    if fraction == 0.5:
        exponent -= 1
    # Rounded up.
    return -(-exponent >> -schema)


def count_runs(numbers: Sequence[float], divisor: float, schema: int) -> _Run:
    """Count ascending positive numbers by the bucket of number / divisor."""
    bounds, first = _table(schema, divisor)
    run: _Run = []
    start, end, last = 0, len(numbers), len(bounds)
    while start < end:
        place = bisect_left(bounds, numbers[start])
        if 0 < place < last:
            stop = bisect_right(numbers, bounds[place], start)
            run.append((first + place, stop - start))
        else:
            stop = start + 1
            run.append((bucket_index(numbers[start] / divisor, schema), 1))
        start = stop
    return run


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


@lru_cache
def fractions(schema: int) -> list[float]:
    """
    Return the bounds from 0.5 to below 1 of a schema above 0, ascending.

    They are those that client_golang has as literals: made one from the other, so they
    are a few last digits off the powers of two, and a value on a bound is in the same
    bucket there and here.
    """
    if schema == 1:
        return [0.5, 0.7071067811865475]
    coarser, factor = fractions(schema - 1), 2.0 ** (2.0**-schema)
    bounds = []
    for bound in coarser:
        bounds += [bound, bound * factor]
    return bounds


def _bound(index: int, schema: int) -> float:
    """Return the upper bound of a bucket, neither too large nor too small a float."""
    if schema > 0:
        exponent, place = index >> schema, index & ((1 << schema) - 1)
        return ldexp(fractions(schema)[place], exponent + 1)
    return ldexp(1.0, index << -schema)


@lru_cache(maxsize=64)
def _table(schema: int, divisor: float) -> tuple[list[float], int]:
    """
    Return, for the usual buckets, the greatest numbers that are still within them.

    The first of them only bounds the others.  The second result is its index.
    """
    first = _scaled(MIN_TABLE_EXPONENT, schema)
    end = _scaled(MAX_TABLE_EXPONENT, schema)
    bounds = (_bound(index, schema) for index in range(first, end + 1))
    return [greatest_number(bound, divisor) for bound in bounds], first


def _scaled(exponent: int, schema: int) -> int:
    return exponent << schema if schema > 0 else exponent >> -schema


def greatest_number(bound: float, divisor: float) -> float:
    """Return the greatest number whose quotient is at most a bound."""
    number = bound * divisor
    while number / divisor > bound:
        number = nextafter(number, -inf)
    while number < inf and nextafter(number, inf) / divisor <= bound:
        number = nextafter(number, inf)
    return number
