"""Observations to counts by bucket."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import lru_cache
from itertools import accumulate
from math import inf, nextafter

from statsd_bridge.model import MetricOptions
from statsd_bridge.series.base import Series

FEW = 8
"""Values that are sooner counted one by one."""


class Histogram(Series):
    """
    One histogram.  A bucket takes what is at most its bound.

    NaN is in no bucket but +Inf and makes the sum NaN, as in Prometheus' own clients.
    """

    __slots__ = ("counts", "sum")

    def __init__(self, form: MetricOptions) -> None:
        super().__init__(form)
        self.counts = [0] * (len(form.buckets) + 1)
        self.sum = 0.0

    def observe(self, value: float, weight: int) -> None:
        """Count one value `weight` times."""
        buckets = self.options.buckets
        at = bisect_left(buckets, value) if value == value else len(buckets)
        self.counts[at] += weight
        self.sum += value * weight

    def observe_all(self, numbers: list[float], unit: float, weight: int) -> None:
        """
        Count many values, none of them NaN, `weight` times each.

        A value is its number divided by `unit`.  Sorting them and looking each bound up
        takes 60 ns a value, a bound for each value 110.
        """
        if len(numbers) < FEW:
            for number in numbers:
                self.observe(number / unit, weight)
            return
        counts, below = self.counts, 0
        ascending = sorted(numbers)
        for at, border in enumerate(_borders(self.options.buckets, unit)):
            upto = bisect_right(ascending, border, below)
            counts[at] += (upto - below) * weight
            below = upto
        counts[-1] += (len(numbers) - below) * weight
        self.sum += sum(numbers) / unit * weight

    def values(self, _now: float) -> tuple[float, ...]:
        """Give the cumulative counts, +Inf's too, then sum and count."""
        cumulative = tuple(accumulate(self.counts))
        return (*cumulative, self.sum, cumulative[-1])


@lru_cache
def _borders(buckets: tuple[float, ...], unit: float) -> tuple[float, ...]:
    """
    Find the greatest number whose value is still in each bucket.

    It saves dividing each number, 25 ns.  The product may be off by a last digit, and a
    bucket is a sharp border: 0.009 s is 9 ms, though 0.009 * 1000 is a little less.
    """
    if unit == 1.0:
        return buckets
    borders = []
    for bound in buckets:
        border = bound * unit
        while border / unit > bound:
            border = nextafter(border, -inf)
        while border < inf and nextafter(border, inf) / unit <= bound:
            border = nextafter(border, inf)
        borders.append(border)
    return tuple(borders)
