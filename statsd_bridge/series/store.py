"""
All series, by metric name and labels: created by samples, removed by expiry.

- The type of a name is that of its first sample, until its last series has expired.
- No two families print the same name: a histogram `x` also owns `x_bucket`, `x_sum`
  and `x_count`, a summary the last two.
- A rejected sample changes nothing.  The limit rejects new series only.
- Recording a sample only assigns `last_update`; the expiry heap orders the series that
  have a ttl.
"""

from __future__ import annotations

import collections
from bisect import bisect_left
from collections.abc import Collection
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Protocol

from statsd_bridge.model import (
    Clock,
    MetricOptions,
    MetricType,
    Rejection,
    RejectionReason,
    Sample,
    SampleType,
    SeriesSpec,
)
from statsd_bridge.series.base import LabelNames, MetricFamily, Series, SortedKeysDict
from statsd_bridge.series.counter_gauge import Counter, Gauge
from statsd_bridge.series.histogram import Histogram
from statsd_bridge.series.set import UniqueSet
from statsd_bridge.series.summary import Summary
from statsd_bridge.syntax import format_labels, is_reserved_label

NAME_SUFFIXES: dict[MetricType, tuple[str, ...]] = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.SUMMARY: ("_sum", "_count"),
}
"""Suffixes of the names that a metric type prints besides its own."""

LABEL_ADDED_BY_TYPE = {MetricType.HISTOGRAM: "le", MetricType.SUMMARY: "quantile"}
"""The label that a metric type adds itself."""

MIN_HEAP_ENTRIES = 100
"""The expiry heap is not compacted below this."""


class SeriesListener(Protocol):
    """Called before a series changes or is removed; see fastpath/buffers.py."""

    def before_record(self, series: Series, ttl: float, now: float) -> None:
        """Prepare for a sample of a rule with this ttl."""

    def before_remove(self, series: Series) -> None:
        """Forget a series that expires."""


class SeriesStore:
    """
    All series of a bridge.  Owned by the reactor's thread; it has no locks.

    `reserved` are the names of the self-metrics.  `set_window` is in seconds.
    """

    def __init__(
        self,
        *,
        max_series: int = 1_000_000,
        set_window: float = 60.0,
        reserved: Collection[str] = (),
        clock: Clock,
    ) -> None:
        self.created_total = 0
        """Series ever created."""
        self.label_names_total: collections.Counter[MetricType] = collections.Counter()
        """Pairs of a metric name and its label names ever created, by type."""
        self.listener: SeriesListener | None = None
        self._max_series = max_series
        self._set_window = set_window
        self._reserved = frozenset(reserved)
        self._clock = clock
        self._families: SortedKeysDict[MetricFamily] = SortedKeysDict()
        # Time, a serial number that no two entries share, series, family, label text.
        # An entry is valid while its time equals `series.due`; all others are stale.
        self._expiry_heap: list[tuple[float, int, Series, MetricFamily, str]] = []
        self._serial = count()
        self._size = 0

    def __len__(self) -> int:
        """Return the number of series."""
        return self._size

    def now(self) -> float:
        """Return the time of the clock by which series expire, in seconds."""
        return self._clock()

    def record(self, spec: SeriesSpec, sample: Sample) -> Series | Rejection:
        """Add a sample to its series, which is created if necessary; return it."""
        value = _scaled(spec, sample)
        if sample.type is SampleType.COUNTER and value < 0 and spec.name:
            return Rejection(
                RejectionReason.ILLEGAL_NEGATIVE_COUNTER, sample.type, spec.name
            )
        now = self._clock()
        series = self._get_or_create(spec, sample.type, now)
        if isinstance(series, Rejection):
            return series
        if self.listener is not None:
            self.listener.before_record(series, spec.options.ttl, now)
        # Before the sample: a series that raises an exception still has to expire.
        self._touch(series, spec, now)
        series.record(sample, value, now)
        return series

    def rejection_reason(
        self, spec: SeriesSpec, sample: Sample
    ) -> RejectionReason | None:
        """Return why `record` would reject a sample, if it would; change nothing."""
        value = _scaled(spec, sample)
        if sample.type is SampleType.COUNTER and value < 0 and spec.name:
            return RejectionReason.ILLEGAL_NEGATIVE_COUNTER
        family = self._families.get(spec.name)
        if _find(family, spec, _label_text(spec)) is not None:
            return None
        return self._rejection_reason(family, spec)

    def expire(self) -> None:
        """Remove the series whose ttl is over."""
        heap, now = self._expiry_heap, self._clock()
        while heap and heap[0][0] < now:
            due, _, series, family, label_text = heappop(heap)
            if due != series.due:
                continue
            series.due = 0.0
            if not series.ttl:
                continue
            if series.last_update + series.ttl >= now:
                self._schedule(series, family, label_text)
                continue
            self._remove(series, family, label_text)
        self._compact_heap()

    def families(self) -> list[MetricFamily]:
        """Return all families, sorted by name."""
        return [self._families[name] for name in self._families.sorted_keys()]

    def _get_or_create(
        self, spec: SeriesSpec, type: SampleType, now: float
    ) -> Series | Rejection:
        family, label_text = self._families.get(spec.name), _label_text(spec)
        series = _find(family, spec, label_text)
        if series is not None:
            return series
        reason = self._rejection_reason(family, spec)
        if reason is not None:
            return Rejection(reason, type, spec.name)
        if family is None:
            family = MetricFamily(spec.name, spec.options)
            self._families[spec.name] = family
        return self._create(family, spec, label_text, now)

    def _create(
        self, family: MetricFamily, spec: SeriesSpec, label_text: str, now: float
    ) -> Series:
        names = tuple([name for name, _ in spec.labels])
        label_names = family.label_names.get(names)
        if label_names is None:
            label_names = LabelNames(names, spec.options)
            self.label_names_total[family.type] += 1
        series = self._new_series(label_names.options, now)
        family.add(label_text, label_names, series)
        self._size += 1
        self.created_total += 1
        return series

    def _touch(self, series: Series, spec: SeriesSpec, now: float) -> None:
        """Record an update's time; a ttl changed by a reload applies from now on."""
        ttl = spec.options.ttl
        if ttl:
            # Without a ttl the time is not stored: a float takes 24 bytes a series.
            series.last_update = now
        if series.ttl != ttl:
            series.ttl = ttl
            if ttl:
                self._schedule(series, self._families[spec.name], _label_text(spec))

    def _remove(self, series: Series, family: MetricFamily, label_text: str) -> None:
        if self.listener is not None:
            self.listener.before_remove(series)
        family.remove(label_text)
        if not family.series:
            self._families.remove(family.name)
        self._size -= 1

    def _new_series(self, options: MetricOptions, now: float) -> Series:
        match options.type:
            case MetricType.COUNTER:
                return Counter(options)
            case MetricType.GAUGE:
                return Gauge(options)
            case MetricType.HISTOGRAM:
                return Histogram(options)
            case MetricType.SUMMARY:
                return Summary(options, now)
            case MetricType.SET:
                return UniqueSet(options, self._set_window)

    def _schedule(self, series: Series, family: MetricFamily, label_text: str) -> None:
        """
        Push an expiry entry for a series, unless an earlier one is pending.

        A series has one valid entry.  A shorter ttl makes the old one stale; it stays
        until its time, or until stale entries are the majority.
        """
        due = series.last_update + series.ttl
        if 0.0 < series.due <= due:
            return
        series.due = due
        entry = due, next(self._serial), series, family, label_text
        heappush(self._expiry_heap, entry)
        self._compact_heap()

    def _compact_heap(self) -> None:
        """Remove the stale entries if they are the majority."""
        heap = self._expiry_heap
        if len(heap) > 2 * self._size + MIN_HEAP_ENTRIES:
            heap[:] = [entry for entry in heap if entry[0] == entry[2].due]
            heapify(heap)

    def _rejection_reason(
        self, family: MetricFamily | None, spec: SeriesSpec
    ) -> RejectionReason | None:
        """Return why a series must not be created, or None."""
        if not spec.name:
            return RejectionReason.EMPTY_METRIC_NAME
        if _has_reserved_label(spec):
            return RejectionReason.RESERVED_LABEL
        if family is None and self._conflicts(spec.name, spec.options.type):
            return RejectionReason.CONFLICT
        if family is not None and family.type is not spec.options.type:
            return RejectionReason.CONFLICT
        if self._size >= self._max_series:
            return RejectionReason.SERIES_LIMIT
        return None

    def _conflicts(self, name: str, type: MetricType) -> bool:
        """Return whether a new family would print a name that is already printed."""
        printed = [name, *(name + suffix for suffix in NAME_SUFFIXES.get(type, ()))]
        if any(each in self._reserved for each in printed):
            return True
        if any(each in self._families for each in printed[1:]):
            return True
        return any(
            self._owns(name.removesuffix(suffix), suffix, type)
            for suffix in NAME_SUFFIXES[MetricType.HISTOGRAM]
            if name.endswith(suffix)
        )

    def _owns(self, base: str, suffix: str, type: MetricType) -> bool:
        """Return whether a family owns `base` + `suffix` against a metric of a type."""
        family = self._families.get(base)
        if family is None or family.type not in NAME_SUFFIXES:
            return False
        # A summary prints no `_bucket`, but like statsd_exporter it owns this name
        # against counters and gauges.
        return suffix in NAME_SUFFIXES[family.type] or type not in NAME_SUFFIXES


def _scaled(spec: SeriesSpec, sample: Sample) -> float:
    scale = spec.options.scale
    return sample.value if scale is None else sample.value * scale


def _label_text(spec: SeriesSpec) -> str:
    return format_labels(spec.labels) if spec.label_text is None else spec.label_text


def _find(
    family: MetricFamily | None, spec: SeriesSpec, label_text: str
) -> Series | None:
    if family is None or family.type is not spec.options.type:
        return None
    return family.series.get(label_text)


def _has_reserved_label(spec: SeriesSpec) -> bool:
    labels = spec.labels
    if not labels:
        return False
    # They are sorted, and a sender may send thousands with thousands of values.
    index = bisect_left(labels, ("__",))
    if index < len(labels) and is_reserved_label(labels[index][0]):
        return True
    added = LABEL_ADDED_BY_TYPE.get(spec.options.type)
    index = bisect_left(labels, (added,)) if added else len(labels)
    return index < len(labels) and labels[index][0] == added
