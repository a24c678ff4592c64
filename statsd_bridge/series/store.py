"""
Targets and samples to series: which exist, of what shape, for how long.

- The first kind of sample owns a name until its last series has expired.
- No two families ever print the same name: a histogram `x` also owns `x_bucket`,
  `x_sum` and `x_count`, a summary the last two.
- A refused sample changes nothing.  The limit refuses new series only.
- Expiry looks at series that have a time to live, when their time comes, and at no
  others: touching one is an assignment.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter as Count
from collections.abc import Callable, Collection
from heapq import heappop, heappush

from statsd_bridge.model import (
    EventError,
    MetricOptions,
    MetricType,
    Rejection,
    Sample,
    SampleType,
    SeriesSpec,
)
from statsd_bridge.series.counter import Counter
from statsd_bridge.series.gauge import Gauge
from statsd_bridge.series.histogram import Histogram
from statsd_bridge.series.lanes import SampleBuffers
from statsd_bridge.series.ordered import Ordered
from statsd_bridge.series.set import UniqueSet
from statsd_bridge.series.summary import Summary
from statsd_bridge.text import format_labels, is_reserved_label

AnySeries = Counter | Gauge | Histogram | Summary | UniqueSet

# What a shape prints besides its own name.
SUFFIXES: dict[MetricType, tuple[str, ...]] = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.SUMMARY: ("_sum", "_count"),
}
# The label that a shape prints itself.
OWN_LABEL = {MetricType.HISTOGRAM: "le", MetricType.SUMMARY: "quantile"}

# a="1",b="2"  -->  1  2
_values = re.compile(r'="([^"\\]*(?:\\.[^"\\]*)*)"').findall
_ESCAPED = re.compile(r"\\(.)")
# What sorts before the mark that ends a value, or is not written as it is.
_odd = re.compile(r"[\x00-!\\]").search


class MetricFamily:
    """
    One family: its series by labels, and the form of each set of label names.

    A series is known by the text of its labels, which is printed as it is: one string
    where a tuple of pairs of strings took 500 bytes for three labels.
    """

    __slots__ = ("forms", "help", "is_plain", "name", "series", "type")

    def __init__(self, name: str, form: MetricOptions) -> None:
        self.name = name
        self.type = form.type
        self.help = form.help
        self.series: Ordered[AnySeries] = Ordered()
        self.forms: dict[tuple[str, ...], MetricOptions] = {}
        self.is_plain = True
        """Whether the texts, sorted as they are, are in the order of the page."""

    def label_texts(self) -> list[str]:
        """List the labels of all series, fewer first, then by their values in turn."""
        return self.series.in_order(None if self.is_plain else _rank)


class SeriesStore:
    """
    Everything remembered.  Owned by the reactor's thread; nothing here locks.

    `reserved` are names that the bridge prints itself.  `set_window` is seconds.
    `created` counts label-name sets ever made, by shape, `ever` series; neither falls.
    `lanes` lead numbers to the series here.
    """

    def __init__(
        self,
        *,
        max_series: int = 1_000_000,
        set_window: float = 60.0,
        reserved: Collection[str] = (),
        clock: Callable[[], float],
    ) -> None:
        self._max_series = max_series
        self._set_window = set_window
        self._reserved = frozenset(reserved)
        self._clock = clock
        self._families: Ordered[MetricFamily] = Ordered()
        self._due: list[tuple[float, int, str, str]] = []
        self._pushed = 0
        self._live = 0
        self.label_sets_total: Count[MetricType] = Count()
        self.created_total = 0
        self.lanes = SampleBuffers()

    def __len__(self) -> int:
        return self._live

    def now(self) -> float:
        """Tell the time by which series live."""
        return self._clock()

    def record(self, target: SeriesSpec, sample: Sample) -> Rejection | None:
        """Add one sample to its series, which comes into being if need be."""
        scale = target.options.scale
        value = sample.value if scale is None else sample.value * scale
        if sample.type is SampleType.COUNTER and value < 0 and target.name:
            return Rejection(
                EventError.ILLEGAL_NEGATIVE_COUNTER, sample.type, target.name
            )
        series = self.get_or_create(sample.type, target)
        if isinstance(series, Rejection):
            return series
        now = self._clock()
        if series.lane is not None:
            self._catch_up(series, target, now)
        match series:
            case Gauge():
                (series.add if sample.relative else series.set)(value)
            case Counter():
                series.add(value)
            case Histogram():
                series.observe(value, sample.weight)
            case Summary():
                series.observe(value, sample.weight, now)
            case UniqueSet():
                series.add(sample.member, now)
        self._touch(series, target, now)
        return None

    def rejection_reason(self, target: SeriesSpec, sample: Sample) -> EventError | None:
        """Tell why `record` would refuse a sample; nothing changes."""
        name, form = target.name, target.options
        value = sample.value if form.scale is None else sample.value * form.scale
        if sample.type is SampleType.COUNTER and value < 0 and name:
            return EventError.ILLEGAL_NEGATIVE_COUNTER
        if self.find(target) is not None:
            return None
        return self._refuses(self._families.get(name), target)

    def find(self, target: SeriesSpec) -> AnySeries | None:
        """Find the series of a target."""
        family = self._families.get(target.name)
        if family is None or family.type is not target.options.type:
            return None
        return family.series.get(_text(target))

    def get_or_create(
        self, kind: SampleType, target: SeriesSpec
    ) -> AnySeries | Rejection:
        """Find the series of a target, or make it; or tell why there is none."""
        name, form = target.name, target.options
        family = self._families.get(name)
        text = _text(target)
        if family is not None and family.type is form.type:
            series = family.series.get(text)
            if series is not None:
                return series
        reason = self._refuses(family, target)
        if reason is not None:
            return Rejection(reason, kind, name)
        return self._create(family or self._found(target), target, text)

    def expire(self, now: float) -> int:
        """Remove the series whose time to live is over; returns how many."""
        removed = 0
        while self._due and self._due[0][0] < now:
            _, _, name, text = heappop(self._due)
            family = self._families.get(name)
            series = family.series.get(text) if family is not None else None
            if family is None or series is None or not series.ttl:
                continue
            if series.last + series.ttl >= now:
                self._schedule(series, name, text)
                continue
            self._remove(family, text)
            removed += 1
        return removed

    def families(self) -> list[MetricFamily]:
        """List what is remembered by name, as the page shows it."""
        return [self._families[name] for name in self._families.in_order()]

    def _found(self, target: SeriesSpec) -> MetricFamily:
        family = self._families[target.name] = MetricFamily(target.name, target.options)
        return family

    def _create(self, family: MetricFamily, target: SeriesSpec, text: str) -> AnySeries:
        labels, form = target.labels, target.options
        names = tuple([label for label, _ in labels])
        if names not in family.forms:
            self.label_sets_total[form.type] += 1
        # The first of a set of label names decides on buckets and quantiles.
        series = self._series(family.forms.setdefault(names, form))
        family.series[text] = series
        if family.is_plain:
            family.is_plain = len(family.forms) == 1 and not _odd(text)
        self._live += 1
        self.created_total += 1
        return series

    def _remove(self, family: MetricFamily, text: str) -> None:
        self.lanes.forget(family.series[text])
        family.series.remove(text)
        if not family.series:
            self._families.remove(family.name)
        self._live -= 1

    def _catch_up(self, series: AnySeries, target: SeriesSpec, now: float) -> None:
        """Let what waits for a series go before a sample that does not wait."""
        if series.ttl != target.options.ttl:
            # Two rules that do not agree on it: each sample must say its own.
            self.lanes.close(series, now)
        elif isinstance(series, Gauge):
            self.lanes.fold(self.lanes.to(series), now)

    def _series(self, form: MetricOptions) -> AnySeries:
        match form.type:
            case MetricType.COUNTER:
                return Counter(form)
            case MetricType.GAUGE:
                return Gauge(form)
            case MetricType.HISTOGRAM:
                return Histogram(form)
            case MetricType.SUMMARY:
                return Summary(form, self._clock())
            case MetricType.SET:
                return UniqueSet(form, self._set_window)

    def _touch(self, series: AnySeries, target: SeriesSpec, now: float) -> None:
        """Note an update; a time to live that a reload changed holds from now on."""
        ttl = target.options.ttl
        if ttl:
            # Only then, since a time is an object of its own.
            series.last = now
        if series.ttl != ttl:
            series.ttl = ttl
            if ttl:
                self._schedule(series, target.name, _text(target))

    def _schedule(self, series: AnySeries, name: str, text: str) -> None:
        self._pushed += 1
        heappush(self._due, (series.last + series.ttl, self._pushed, name, text))

    def _refuses(
        self, family: MetricFamily | None, target: SeriesSpec
    ) -> EventError | None:
        name, form = target.name, target.options
        if not name:
            return EventError.EMPTY_METRIC_NAME
        if _has_reserved(target):
            return EventError.RESERVED_LABEL
        if family is None and self._clashes(name, form.type):
            return EventError.CONFLICT
        if family is not None and family.type is not form.type:
            return EventError.CONFLICT
        if self._live >= self._max_series:
            return EventError.SERIES_LIMIT
        return None

    def _clashes(self, name: str, shape: MetricType) -> bool:
        """Tell whether a new family would print what another prints, or we do."""
        printed = [name, *(name + suffix for suffix in SUFFIXES.get(shape, ()))]
        if any(each in self._reserved for each in printed):
            return True
        if any(each in self._families for each in printed[1:]):
            return True
        return any(
            self._prints(name.removesuffix(suffix), suffix, shape)
            for suffix in SUFFIXES[MetricType.HISTOGRAM]
            if name.endswith(suffix)
        )

    def _prints(self, base: str, suffix: str, shape: MetricType) -> bool:
        """Tell whether a family prints its name with a suffix, or is taken to."""
        family = self._families.get(base)
        if family is None or family.type not in SUFFIXES:
            return False
        # A summary has no buckets; statsd_exporter refuses a counter or gauge all the
        # same, and another summary or histogram not.
        return suffix in SUFFIXES[family.type] or shape not in SUFFIXES


def _text(target: SeriesSpec) -> str:
    return (
        format_labels(target.labels) if target.label_text is None else target.label_text
    )


def _has_reserved(target: SeriesSpec) -> bool:
    labels = target.labels
    if not labels:
        return False
    # They are sorted, and a sender may send thousands with thousands of values.
    at = bisect_left(labels, ("__",))
    if at < len(labels) and is_reserved_label(labels[at][0]):
        return True
    own = OWN_LABEL.get(target.options.type)
    at = bisect_left(labels, (own,)) if own else len(labels)
    return at < len(labels) and labels[at][0] == own


def _rank(text: str) -> str:
    # As statsd_exporter has it: the names of labels do not count.  One string sorts
    # five times as fast as a list of them.
    values = _values(text)
    rank = "\0".join(values)
    if "\\" in rank:
        rank = _ESCAPED.sub(_meant, rank)
    return chr(len(values)) + rank


def _meant(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]
