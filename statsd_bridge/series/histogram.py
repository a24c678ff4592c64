"""
Histograms: counts of observations by bucket.

A histogram may have native buckets, too, from its first observation on (native.py).
They are made at the second one, since many series never have more than one: after a
single observation the sum is its value.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from math import isfinite

from statsd_bridge.memory import NATIVE_BYTES, Account
from statsd_bridge.model import MetricOptions
from statsd_bridge.series.base import Series
from statsd_bridge.series.native import (
    NativeGeneration,
    NativeHistogram,
    NativeState,
)
from statsd_bridge.series.native_bounds import greatest_number
from statsd_bridge.series.shown import OUTDATED, ShownSeries

SORT_THRESHOLD = 8
"""
From this many values on, if they are half as many as the buckets, sorting them is
quicker than one search a value.
"""

MIN_UNORDERED_BUCKETS = 64
"""
With fewer native buckets allowed than this, each observation may halve the resolution,
so they are recorded in their order; with more, the order hardly matters.
"""

MAX_QUIET_BYTES = 1_550
"""
Size of native buckets of few observations.  A histogram with larger ones is likely to
have more before the next page, and takes enough memory without it.
"""

MAX_TOTAL = (1 << 64) - 1
"""The largest count of a histogram in a message, which its native buckets add up to."""


class Histogram(ShownSeries):
    """
    A histogram.  A bucket counts the values that are at most its bound.

    NaN is only in +Inf and makes the sum NaN, like in Prometheus' client libraries.
    `generation` is that of the native buckets, None for classic buckets only.
    """

    __slots__ = ("_native", "counts", "sum")

    def __init__(
        self, options: MetricOptions, generation: NativeGeneration | None = None
    ) -> None:
        Series.__init__(self, options)
        self.counts = [0] * (len(options.buckets) + 1)
        self.sum = 0.0
        self.shown = None
        # A generation stands for native buckets that are not made yet.
        self._native: NativeHistogram | NativeGeneration | None = generation

    @property
    def native(self) -> NativeHistogram | None:
        """The native buckets, with all observations but NaN in them, or None."""
        native = self._native
        if isinstance(native, NativeGeneration):
            native = self._make_native(native)
        if native is not None and sum(self.counts) > MAX_TOTAL:
            self.drop_native("range")
            return None
        return None if native is None or native.is_dropped else native

    @property
    def is_ordered(self) -> bool:
        """Whether the order of observations matters."""
        native = self.options.native
        return (
            self._native is not None
            and native is not None
            and native.max_buckets < MIN_UNORDERED_BUCKETS
        )

    def drop_native(self, reason: str = "") -> None:
        """Drop the native buckets for good, and count it if there is a reason."""
        native, self._native = self._native, None
        if self.shown is not None:
            # A kept metric may have them.
            self.shown.count = OUTDATED
        if native is not None and reason:
            native.stats.dropped[reason] += 1
        if isinstance(native, NativeHistogram):
            native.release()

    def native_state(self) -> NativeState | bool:
        """Return the native buckets; True if they are not made yet, False for none."""
        native = self._native
        if native is None or native.is_dropped:
            return False
        return native.state() if isinstance(native, NativeHistogram) else True

    def restore(
        self, counts: list[int], sum: float, native: NativeState | bool
    ) -> None:
        """
        Take the observations of an earlier run; there must be none yet.

        `native` is what `native_state` returned.  Without native buckets there are none
        from here on either, since they would lack values.
        """
        self.counts, self.sum = counts, sum
        generation, options = self._native, self.options.native
        if native is True or not isinstance(generation, NativeGeneration):
            return
        self._native = None
        if native is not False and options is not None:
            self._native = NativeHistogram.restored(options, generation, native)
            if self._native is None:
                generation.stats.dropped["memory"] += 1

    def release_dropped_native(self) -> None:
        """Give back the memory of native buckets that were dropped with others."""
        if self._native is not None and self._native.is_dropped:
            self.drop_native("idle")

    def add_first(self, value: float, weight: int, now: float) -> None:
        """Count the first observation: a single one needs no native buckets."""
        if weight != 1:
            self.add(value, weight, now)
            return
        buckets = self.options.buckets
        index = bisect_left(buckets, value) if value == value else len(buckets)
        self.counts[index] = 1
        self.sum += value

    def add(self, value: float, weight: int, _now: float) -> None:
        """Count an observation, `weight` times."""
        native = self._native
        if native is not None:
            try:
                if not native.observe(value, weight):
                    self._observe_first(value, weight)
            except OverflowError:
                self.drop_native("range")
        buckets = self.options.buckets
        index = bisect_left(buckets, value) if value == value else len(buckets)
        self.counts[index] += weight
        self.sum += value * weight

    def record_all(
        self, numbers: Sequence[float], divisor: float, weight: int, now: float
    ) -> None:
        """
        Count many observations, `weight` times each.

        To sort them and search for each bound takes 60 ns a value, to search for each
        value 110 (`python -m benchmarks`, timers), unless there are more bounds.
        """
        if len(numbers) < max(SORT_THRESHOLD, len(self.options.buckets) // 2):
            for number in numbers:
                self.add(number / divisor, weight, now)
            return
        ascending = sorted(numbers)
        if self._native is not None:
            self._observe_all_native(numbers, ascending, divisor, weight)
        counts, below = self.counts, 0
        for index, bound in enumerate(_scaled_bounds(self.options.buckets, divisor)):
            upto = bisect_right(ascending, bound, below)
            counts[index] += (upto - below) * weight
            below = upto
        counts[-1] += (len(numbers) - below) * weight
        total = sum(numbers) / divisor
        if not isfinite(total):
            # The sum of the values may be finite.
            total = sum([number / divisor for number in numbers])
        self.sum += total * weight

    def may_be_negative(self, _now: float) -> bool:
        """Return whether the sum is negative or NaN."""
        return not self.sum >= 0

    def values(self, _now: float) -> tuple[float, ...]:
        """Return the cumulative counts, that of +Inf included, then sum and count."""
        cumulative = tuple(accumulate(self.counts))
        return (*cumulative, self.sum, cumulative[-1])

    def observations(self, _now: float) -> int:
        """Return the count of observations."""
        return sum(self.counts)

    def last_encoded(self, now: float) -> bytes:
        """Return the metric of the last page in protobuf, if it is the same."""
        return b"" if self._has_dropped_native() else super().last_encoded(now)

    def last_message(self, now: float) -> bytes:
        """Return the message of the last page in protobuf, if it is the same."""
        return b"" if self._has_dropped_native() else super().last_message(now)

    def _has_dropped_native(self) -> bool:
        # All can be dropped at once between two observations.
        native = self._native
        return native is not None and native.is_dropped

    def keep_encoded(
        self, kept: Account, *, metric: bytes = b"", message: bytes = b""
    ) -> None:
        """Keep what a page shows, if `kept` has room and it may stay the same."""
        native = self._native
        if not isinstance(native, NativeHistogram) or native.size <= MAX_QUIET_BYTES:
            super().keep_encoded(kept, metric=metric, message=message)

    def _count(self) -> int:
        return sum(self.counts)

    def _observe_first(self, value: float, weight: int) -> None:
        """Make the native buckets, unless the observation is the first and only one."""
        native = self._native
        if isinstance(native, NativeGeneration):
            if weight == 1 and not any(self.counts):
                return
            native = self._make_native(native)
            if native is None or native.observe(value, weight):
                return
        self.drop_native("memory")

    def _observe_all_native(
        self,
        numbers: Sequence[float],
        ascending: Sequence[float],
        divisor: float,
        weight: int,
    ) -> None:
        native = self._native
        if isinstance(native, NativeGeneration):
            native = self._make_native(native)
        if native is None:
            return
        try:
            if not native.observe_all(numbers, ascending, divisor, weight):
                self.drop_native("memory")
        except OverflowError:
            self.drop_native("range")

    def _make_native(self, generation: NativeGeneration) -> NativeHistogram | None:
        """Make and return the native buckets, with the observation before, if any."""
        options = self.options.native
        if options is None or generation.is_dropped:
            return None
        if not generation.account.reserve(NATIVE_BYTES):
            self.drop_native("memory")
            return None
        native = self._native = NativeHistogram(options, generation)
        if any(self.counts) and not native.observe(self.sum, 1):
            self.drop_native("memory")
            return None
        return native


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
    return tuple([greatest_number(bound, divisor) for bound in buckets])
