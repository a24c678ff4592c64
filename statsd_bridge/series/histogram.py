"""Histograms: counts of observations by bucket."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from math import inf, nextafter

from statsd_bridge.model import MetricOptions, Sample
from statsd_bridge.series.base import Series

SORT_THRESHOLD = 8
"""
From this many values on, if they are half as many as the buckets, sorting them is
quicker than one search a value.
"""


class Histogram(Series):
    """
    A histogram.  A bucket counts the values that are at most its bound.

    NaN is only in +Inf and makes the sum NaN, like in Prometheus' client libraries.
    """

    __slots__ = ("counts", "sum")

    def __init__(self, options: MetricOptions) -> None:
        super().__init__(options)
        self.counts = [0] * (len(options.buckets) + 1)
        self.sum = 0.0

    def record(self, sample: Sample, value: float, _now: float) -> None:
        """Count an observation with its weight."""
        self._observe(value, sample.weight)

    def record_all(
        self, numbers: Sequence[float], divisor: float, weight: int, _now: float
    ) -> None:
        """
        Count many observations, `weight` times each.

        To sort them and search for each bound takes 60 ns a value, to search for each
        value 110 (`python -m benchmarks`, timers), unless there are more bounds.
        """
        if len(numbers) < max(SORT_THRESHOLD, len(self.options.buckets) // 2):
            for number in numbers:
                self._observe(number / divisor, weight)
            return
        counts, below = self.counts, 0
        ascending = sorted(numbers)
        for index, bound in enumerate(_scaled_bounds(self.options.buckets, divisor)):
            upto = bisect_right(ascending, bound, below)
            counts[index] += (upto - below) * weight
            below = upto
        counts[-1] += (len(numbers) - below) * weight
        self.sum += sum(numbers) / divisor * weight

    def may_be_negative(self, _now: float) -> bool:
        """Return whether the sum is negative or NaN."""
        return not self.sum >= 0

    def _observe(self, value: float, weight: int) -> None:
        buckets = self.options.buckets
        index = bisect_left(buckets, value) if value == value else len(buckets)
        self.counts[index] += weight
        self.sum += value * weight

    def values(self, _now: float) -> tuple[float, ...]:
        """Return the cumulative counts, that of +Inf included, then sum and count."""
        cumulative = tuple(accumulate(self.counts))
        return (*cumulative, self.sum, cumulative[-1])


@lru_cache
def _scaled_bounds(buckets: tuple[float, ...], divisor: float) -> tuple[float, ...]:
    """
    Return, for each bucket, the greatest number whose quotient is still within it.

    This saves a division for each number, 25 ns.  Bound times divisor may be off by a
    last digit, but the bounds of buckets are sharp: 9 ms is in the bucket of 0.009 s,
    though 0.009 * 1000 is a little less than 9.
    """
    if divisor == 1.0:
        return buckets
    scaled = []
    for bound in buckets:
        number = bound * divisor
        while number / divisor > bound:
            number = nextafter(number, -inf)
        while number < inf and nextafter(number, inf) / divisor <= bound:
            number = nextafter(number, inf)
        scaled.append(number)
    return tuple(scaled)
