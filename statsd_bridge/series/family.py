"""The family of all series of one metric name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import final

from statsd_bridge.memory import series_size
from statsd_bridge.model import MetricOptions, MetricType
from statsd_bridge.series.base import Series
from statsd_bridge.series.quota import UNRESOLVED, Quota
from statsd_bridge.series.sorted_keys import SortedKeysDict

# a="1",b="2"  -->  1  2
_values = re.compile(r'="([^"\\]*(?:\\.[^"\\]*)*)"').findall
_ESCAPED = re.compile(r"\\(.)")
# Characters that sort before the mark that ends a value, or that are escaped.
_needs_sort_key = re.compile(r"[\x00-!\\]")

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
