"""
The values of a series as JSON.

    counter, gauge   a number
    histogram        counts, sum, native buckets: true if they are not made yet, or none
    summary          sum, count, seconds to the end of the newest part, sketches
    set              hashes of members, seconds since each was seen, oldest first

Times are seconds before or after that of the file.  What is read is checked before a
series gets it: each `*_from_json` raises ValueError or TypeError, and restores nothing.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from statsd_bridge.model import (
    MAX_NATIVE_SCHEMA,
    MIN_NATIVE_SCHEMA,
    MetricOptions,
    MetricType,
)
from statsd_bridge.series import (
    Histogram,
    NativeState,
    Series,
    SingleValue,
    Sketch,
    Summary,
    UniqueSet,
)

MAX_COUNT = 1 << 900
"""Counts are whole numbers of any length; as a float they must not be too large."""

MAX_NATIVE_COUNT = (1 << 63) - 1
MAX_NATIVE_POSITION = 1 << 20
"""Beyond the buckets of the largest and the smallest float at any resolution."""

MAX_SKETCH_PENDING = 1 << 20
"""Beyond the values that wait in a sketch at any time."""

TIME_DIGITS = 6
"""Digits of a second that are written."""


class Values:
    """The values of a series, checked."""

    __slots__ = ()

    def restore(self, series: Series, written_at: float) -> None:
        """Set them; `written_at` is the time of the file on the store's clock."""
        raise NotImplementedError


def values_to_json(series: Series, now: float) -> Any:
    """Return the values of a series as JSON."""
    if isinstance(series, SingleValue):
        return series.value
    if isinstance(series, Histogram):
        return _histogram_to_json(series)
    if isinstance(series, Summary):
        return _summary_to_json(series, now)
    if isinstance(series, UniqueSet):
        return _set_to_json(series, now)
    raise TypeError(f"a series of the type {series.options.type} has no form in a file")


def number_count(value: Any) -> int:
    """Return about how many numbers the JSON of a series has."""
    if not isinstance(value, list):
        return 1
    return len(value) + sum(
        [number_count(each) for each in value if type(each) is list]
    )


def values_from_json(options: MetricOptions, value: Any) -> Values:
    """Return the values of a series with these options, checked."""
    type_ = options.type
    if type_ is MetricType.COUNTER or type_ is MetricType.GAUGE:
        return _Number(value, is_counter=type_ is MetricType.COUNTER)
    if type_ is MetricType.HISTOGRAM:
        return _Histogram(options, value)
    if type_ is MetricType.SUMMARY:
        return _Summary(options, value)
    return _Set(value)


class _Number(Values):
    __slots__ = ("_value",)

    def __init__(self, value: Any, *, is_counter: bool) -> None:
        # NaN is not at least 0 either.
        if type(value) is not float or (is_counter and not value >= 0):
            raise ValueError("a value is not possible")
        self._value = value

    def restore(self, series: Series, _written_at: float) -> None:
        assert isinstance(series, SingleValue)
        series.value = self._value


class _Histogram(Values):
    __slots__ = ("_counts", "_native", "_sum")

    def __init__(self, options: MetricOptions, value: Any) -> None:
        self._counts, self._sum, native = value
        _check_counts(self._counts, len(options.buckets) + 1)
        _check(type(self._sum) is float)
        total = sum(self._counts)
        self._native: NativeState | bool = native
        if isinstance(native, list):
            self._native = _native_from_json(native)
            # Prometheus rejects a page whose native buckets lack a value, but for NaN.
            in_buckets = self._native.total()
            is_nan = self._sum != self._sum
            _check(in_buckets == total or (is_nan and in_buckets < total))
        else:
            # Native buckets that are not made yet have the sum as their only value.
            _check(native is False or (native is True and total <= 1))
        _check(options.native is not None or native is False)

    def restore(self, series: Series, _written_at: float) -> None:
        assert isinstance(series, Histogram)
        series.restore(self._counts, self._sum, self._native)


class _Summary(Values):
    __slots__ = ("_count", "_part_seconds", "_sketches", "_sum")

    def __init__(self, options: MetricOptions, value: Any) -> None:
        self._sum, self._count, self._part_seconds, sketches = value
        _check(type(self._sum) is float and _is_finite(self._part_seconds))
        _check_counts([self._count], 1)
        _check(0 <= self._part_seconds <= options.max_age)
        self._sketches = [_sketch_from_json(each) for each in sketches]
        numbers = [*(each.number for each in self._sketches), 1]
        _check(all(low < high for low, high in pairwise(numbers)))

    def restore(self, series: Series, written_at: float) -> None:
        assert isinstance(series, Summary)
        part_end = written_at + self._part_seconds
        series.restore(self._sum, self._count, part_end, self._sketches)


class _Set(Values):
    __slots__ = ("_ages", "_keys")

    def __init__(self, value: Any) -> None:
        self._keys, self._ages = value
        _check(all(type(key) is int and 0 <= key < 1 << 60 for key in self._keys))
        _check(len(set(self._keys)) == len(self._keys) == len(self._ages))
        _check(all(map(_is_finite, self._ages)))
        _check(all(older >= newer for older, newer in pairwise((*self._ages, -1.0))))

    def restore(self, series: Series, written_at: float) -> None:
        assert isinstance(series, UniqueSet)
        times = [written_at - age for age in self._ages]
        series.restore(dict(zip(self._keys, times, strict=True)))


def _histogram_to_json(series: Histogram) -> list[Any]:
    native = series.native_state()
    if isinstance(native, NativeState):
        sides = (native.positive, native.negative)
        native_json: Any = [
            native.schema,
            native.zero_count,
            *([number for pair in side.items() for number in pair] for side in sides),
        ]
    else:
        native_json = native
    return [series.counts, series.sum, native_json]


def _native_from_json(value: Any) -> NativeState:
    schema, zero_count, positive, negative = value
    _check(type(schema) is int and MIN_NATIVE_SCHEMA <= schema <= MAX_NATIVE_SCHEMA)
    _check(type(zero_count) is int and 0 <= zero_count <= MAX_NATIVE_COUNT)
    return NativeState(
        schema, zero_count, _native_buckets(positive), _native_buckets(negative)
    )


def _native_buckets(numbers: Sequence[Any]) -> dict[int, int]:
    positions, counts = numbers[::2], numbers[1::2]
    _check(all(type(each) is int for each in numbers))
    _check(all(abs(each) <= MAX_NATIVE_POSITION for each in positions))
    _check(all(0 < each <= MAX_NATIVE_COUNT for each in counts))
    buckets = dict(zip(positions, counts, strict=True))
    _check(len(buckets) == len(counts))
    return buckets


def _summary_to_json(series: Summary, now: float) -> list[Any]:
    series.expire(now)
    seconds = round(series.part_end - now, TIME_DIGITS)
    newest = series.number
    sketches = [_sketch_to_json(each, newest) for each in series.sketches]
    return [series.sum, series.count, seconds, sketches]


def _sketch_to_json(sketch: Sketch, newest: int) -> list[Any]:
    weights = sketch.weights
    return [
        sketch.number - newest,
        sketch.count,
        sketch.span,
        sketch.pending_capacity,
        list(sketch.pending),
        None if weights is None else list(weights),
        list(sketch.values),
        list(sketch.ranks),
        list(sketch.deltas),
    ]


def _sketch_from_json(value: Any) -> Sketch:
    number, count, span, capacity, pending, weights, *columns = value
    _check(all(type(each) is int for each in (number, count, capacity)))
    _check(-MAX_COUNT < number <= 0 and 0 < count < MAX_COUNT)
    _check(_is_finite(span) and span >= 0)
    sketch = Sketch(0.0, number)
    sketch.count, sketch.span = count, span
    sketch.pending = _numbers(pending)
    _check(len(pending) <= capacity <= MAX_SKETCH_PENDING)
    sketch.pending_capacity = max(1, capacity)
    if weights is not None:
        sketch.weights = _numbers(weights)
        _check(len(weights) == len(pending) and all(each > 0 for each in weights))
    sketch.values, sketch.ranks, sketch.deltas = map(_numbers, columns)
    size = sketch.entry_capacity = len(sketch.values)
    _check(size == len(sketch.ranks) == len(sketch.deltas))
    _check(all(low <= high for low, high in pairwise(sketch.values)))
    _check(all(low <= high for low, high in pairwise(sketch.ranks)))
    _check(all(map(math.isfinite, (*sketch.ranks, *sketch.deltas))))
    _check(bool(pending) or size > 0)
    # A quantile of few values is taken by its rank among them.
    is_plain = weights is None and not size
    _check(not is_plain or count == len(pending))
    return sketch


def _set_to_json(series: UniqueSet, now: float) -> list[Any]:
    series.expire(now)
    ages = [round(now - seen, TIME_DIGITS) for seen in series.members.values()]
    return [list(series.members), ages]


def _numbers(values: Any) -> array[float]:
    """Return floats, none of which is NaN."""
    _check(all(type(each) is float and each == each for each in values))
    return array("d", values)


def _check_counts(counts: Any, length: int) -> None:
    _check(len(counts) == length)
    _check(all(type(each) is int and 0 <= each < MAX_COUNT for each in counts))


def _is_finite(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _check(is_possible: bool) -> None:
    if not is_possible:
        raise ValueError("a value is not possible")
