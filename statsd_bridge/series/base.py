"""A time series, and the family of all series of one metric name."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from sys import getsizeof
from typing import final

from statsd_bridge.memory import Account, series_size
from statsd_bridge.model import (
    MetricOptions,
    MetricType,
    RejectionReason,
    Sample,
    SampleFormat,
    SeriesSpec,
)
from statsd_bridge.series.quota import UNRESOLVED, Quota
from statsd_bridge.series.sorted_keys import SortedKeysDict
from statsd_bridge.syntax import is_reserved_label

NAME_SUFFIXES: dict[MetricType, tuple[str, ...]] = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.SUMMARY: ("_sum", "_count"),
}
"""Suffixes of the names that a metric type prints besides its own."""

_ALL_SUFFIXES = NAME_SUFFIXES[MetricType.HISTOGRAM]

# a="1",b="2"  -->  1  2
_values = re.compile(r'="([^"\\]*(?:\\.[^"\\]*)*)"').findall
_ESCAPED = re.compile(r"\\(.)")
# Characters that sort before the mark that ends a value, or that are escaped.
_needs_sort_key = re.compile(r"[\x00-!\\]")


LABEL_ADDED_BY_TYPE = {MetricType.HISTOGRAM: "le", MetricType.SUMMARY: "quantile"}
"""The label that a metric type adds itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLimits:
    """The longest texts that a new series may have, in bytes of UTF-8."""

    name: int = 1_024
    label_name: int = 256
    label_value: int = 4_096

    @property
    def always_allowed(self) -> int:
        """Characters of all labels together that cannot be too many for any limit."""
        return min(self.label_name, self.label_value // 4)

    def rejection_reason(
        self, spec: SeriesSpec, label_text: str | None
    ) -> RejectionReason | None:
        """Return which kind of text is too long, or None; `label_text` may be open."""
        if len(spec.name) > self.name:
            return RejectionReason.NAME_TOO_LONG
        # Few characters cannot be many bytes, and need no look at each label.
        if label_text is not None and len(label_text) <= self.always_allowed:
            return None
        for name, value in spec.labels:
            if len(name) > self.label_name or _exceeds(value, self.label_value):
                return RejectionReason.LABEL_TOO_LONG
        return None


DEFAULT_TEXT_LIMITS = TextLimits()


def _exceeds(text: str, limit: int) -> bool:
    """Return whether a text has more bytes of UTF-8 than a limit."""
    if len(text) > limit or text.isascii():
        return len(text) > limit
    return len(text.encode("utf-8", "surrogatepass")) > limit


def has_reserved_label(spec: SeriesSpec) -> bool:
    """Return whether Prometheus, or the type of the metric, reserves a label."""
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


_NO_LENGTH: tuple[Sequence[str], int] = (), 0


@final
class LabelNames:
    """
    Label names that at least one series of a family has.

    What follows from names and type is checked once, for the first such series.
    """

    __slots__ = ("family", "names", "options", "series_bytes", "series_count")

    def __init__(
        self, family: MetricFamily, names: tuple[str, ...], options: MetricOptions
    ) -> None:
        self.family = family
        self.names = names
        self.options = options
        """Those of the first series with these names; they hold for the later ones."""
        self.series_bytes = series_size(options)
        """Size of a series without the text of its labels."""
        self.series_count = 0
        """Number of series with these label names; with 0 they are not in use."""


class Series:
    """
    A time series.  There may be a million of them, so they have slots and little more.

    `ttl` is that of the last sample's rule, in seconds, 0 for no expiry.  With a ttl,
    `last_update` is the time of the last sample, and `due` the time at which the store
    checks whether the series has expired; both are on the store's clock.  `label_names`
    is set by the family, `created`, a Unix time, by the store.  `line_key` and
    `line_format` belong to fastpath/known.py.  `encoded` is what pages in protobuf keep
    of the series, charged to `MemoryBudget.encoded`.
    """

    __slots__ = (
        "created",
        "due",
        "encoded",
        "label_names",
        "last_update",
        "line_format",
        "line_key",
        "options",
        "ttl",
    )

    label_names: LabelNames
    line_key: bytes

    def __init__(self, options: MetricOptions) -> None:
        self.options = options
        self.ttl = 0.0
        self.last_update = 0.0
        self.due = 0.0
        self.line_format: SampleFormat | None = None
        self.created = 0.0
        self.encoded = b""

    def record(self, sample: Sample, value: float, now: float) -> None:
        """Add a sample; `value` is its value after the rule's scale."""
        self.add(value, sample.weight, now)

    def add(self, value: float, weight: int, now: float) -> None:
        """Add a value `weight` times; it is not relative."""
        raise NotImplementedError

    def record_all(
        self, numbers: Sequence[float], divisor: float, weight: int, now: float
    ) -> None:
        """
        Add many samples, each `weight` times, none of them NaN or relative.

        The value of a sample is its number divided by `divisor`.
        """
        raise NotImplementedError

    def values(self, now: float) -> tuple[float, ...]:
        """
        Return the numbers that the page shows, in the order of its lines.

        Counter, gauge, set: the value.  Histogram: the cumulative count of each bucket
        and of +Inf, sum, count.  Summary: each quantile, ascending, sum, count.
        """
        raise NotImplementedError

    def last_numbers(self, _now: float) -> str:
        """Return the text of `keep_numbers` if it still holds, else nothing."""
        return ""

    def keep_numbers(self, text: str, kept: Account) -> None:
        """Keep the numbers of a page as text, charged to `kept`; or do nothing."""

    def last_encoded(self, _now: float) -> bytes:
        """Return the metric of `keep_encoded` if it still holds, else nothing."""
        return b""

    def keep_encoded(self, metric: bytes, kept: Account) -> None:
        """Keep the metric of a page in protobuf, charged to `kept`; or do nothing."""

    def kept_bytes(self) -> int:
        """Return what pages keep of the series, charged to `MemoryBudget.encoded`."""
        return getsizeof(self.encoded) if self.encoded else 0

    @property
    def is_ordered(self) -> bool:
        """Whether the order of its samples matters."""
        return False

    def may_be_negative(self, _now: float) -> bool:
        """Return whether a number is negative or NaN that OpenMetrics forbids to be."""
        return False


class GrowingSeries(Series):
    """A series whose samples can take memory, which `expire` gives back."""

    __slots__ = ()

    def has_room_for(self, sample: Sample) -> bool:
        """Return whether the memory budget allows a sample."""
        raise NotImplementedError

    def page_lines(self, now: float) -> int:
        """Return the lines of counters that take as long on a page."""
        raise NotImplementedError

    def expire(self, now: float) -> int:
        """Remove values older than the window; return their number."""
        raise NotImplementedError

    def release(self) -> None:
        """Give back all memory, when the series is removed."""
        raise NotImplementedError


@final
class MetricFamily:
    """
    The series of one metric name, by the text of their labels as the page prints it.

        a="1",b="2"  -->  series

    This text is one string; a tuple of pairs of strings takes 500 bytes for three
    labels.  A family without series is removed from the store.
    """

    __slots__ = (
        "_first",
        "_has_one_order",
        "_others",
        "encoded_length",
        "help",
        "max_page_lines",
        "name",
        "quota",
        "series",
        "type",
    )

    def __init__(self, name: str, options: MetricOptions) -> None:
        self.name = name
        self.type = options.type
        self.help = options.help
        """Not escaped; that of the first series."""
        self.series: SortedKeysDict[Series] = SortedKeysDict()
        self.quota: Quota = UNRESOLVED
        self.max_page_lines = 1
        """Lines of the largest series so far."""
        self.encoded_length = _NO_LENGTH
        """Label texts, and the length of the message in protobuf of all of them."""
        # Nearly all families have one combination of label names: a dict of them takes
        # 230 bytes.
        self._first: LabelNames | None = None
        self._others: dict[tuple[str, ...], LabelNames] | None = None
        self._has_one_order = True

    def find_label_names(self, names: tuple[str, ...]) -> LabelNames | None:
        """Return the label names if series have them."""
        first = self._first
        if first is not None and first.names == names:
            return first
        return None if self._others is None else self._others.get(names)

    def all_label_names(self) -> list[LabelNames]:
        """Return the combinations of label names that series have."""
        first = [] if self._first is None else [self._first]
        return first + list((self._others or {}).values())

    def add_label_names(
        self, names: tuple[str, ...], options: MetricOptions
    ) -> LabelNames:
        """Add label names for series that are added next."""
        label_names = LabelNames(self, names, options)
        if self._first is None:
            self._first = label_names
        else:
            self._others = self._others or {}
            self._others[names] = label_names
        if self._others:
            self._has_one_order = False
        if options.type in NAME_SUFFIXES:
            self.max_page_lines = max(self.max_page_lines, _page_lines(options))
        return label_names

    def add(self, label_text: str, label_names: LabelNames, series: Series) -> None:
        """Add a series that is not in the family; it has these label names."""
        series.label_names = label_names
        label_names.series_count += 1
        self.series[label_text] = series

    def remove(self, label_text: str) -> None:
        """Remove a series, and its label names with the last series that has them."""
        label_names = self.series[label_text].label_names
        label_names.series_count -= 1
        if not label_names.series_count:
            if label_names is self._first:
                self._first = None
            elif self._others:
                del self._others[label_names.names]
        self.series.remove(label_text)

    def label_texts(self) -> list[str]:
        """
        Return the keys of `series`: fewer labels first, then by their values in turn.

        Do not change the list.  It is not updated by later removals: it may hold keys
        that are gone.
        """
        exception = _needs_sort_key if self._has_one_order else None
        return self.series.sorted_keys(_sort_key, exception)


class Families(SortedKeysDict[MetricFamily]):
    """
    All families by name, none of which prints a name of another.

    A histogram `x` also owns `x_bucket`, `x_sum` and `x_count`, a summary the last two.
    `reserved` are names that none of them may print.
    """

    __slots__ = ("_reserved",)

    def __init__(self, reserved: Collection[str] = ()) -> None:
        super().__init__()
        self._reserved = frozenset(reserved)

    def would_conflict(
        self, family: MetricFamily | None, name: str, type: MetricType
    ) -> bool:
        """
        Return whether a series would print a name that another type owns.

        `family` is the one of its name, if there is one.
        """
        if family is not None:
            return family.type is not type
        if name in self._reserved:
            return True
        for suffix in NAME_SUFFIXES.get(type, ()):
            printed = name + suffix
            if printed in self._reserved or printed in self:
                return True
        return name.endswith(_ALL_SUFFIXES) and any(
            self._owns(name.removesuffix(suffix), suffix, type)
            for suffix in _ALL_SUFFIXES
            if name.endswith(suffix)
        )

    def _owns(self, base: str, suffix: str, type: MetricType) -> bool:
        """Return whether a family owns `base` + `suffix` against a metric of a type."""
        family = self.get(base)
        if family is None or family.type not in NAME_SUFFIXES:
            return False
        # A summary prints no `_bucket`, but like statsd_exporter it owns this name
        # against counters and gauges.
        return suffix in NAME_SUFFIXES[family.type] or type not in NAME_SUFFIXES


def _page_lines(options: MetricOptions) -> int:
    """Return the lines of a series: buckets, +Inf, sum and count, or quantiles."""
    if options.type in (MetricType.HISTOGRAM, MetricType.SUMMARY):
        return len(options.buckets) + len(options.quantiles) + 3
    return 1


def _sort_key(label_text: str) -> str:
    # Like statsd_exporter, label names do not count.  One string sorts five times as
    # fast as a list of strings.
    values = _values(label_text)
    key = "\0".join(values)
    if "\\" in key:
        key = _ESCAPED.sub(_unescape, key)
    return chr(len(values)) + key


def _unescape(escaped: re.Match[str]) -> str:
    return "\n" if escaped[1] == "n" else escaped[1]
