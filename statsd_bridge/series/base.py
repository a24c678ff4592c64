"""
A time series, and the family of all series of one metric name.

The order of the page is that of the labels' values, but sorting a million series at
each scrape would take a second.  So the sorted keys are kept, and at the next scrape
only the series created since then are sorted and merged in, at 25 ns a key:

    created     b d a c            first scrape: a b c d
    created     b d a c | e        second scrape: only e is sorted and merged
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from statsd_bridge.model import MetricOptions, Sample

Value = TypeVar("Value")

# a="1",b="2"  -->  1  2
_values = re.compile(r'="([^"\\]*(?:\\.[^"\\]*)*)"').findall
_ESCAPED = re.compile(r"\\(.)")
# Characters that sort before the mark that ends a value, or that are escaped.
_needs_sort_key = re.compile(r"[\x00-!\\]").search


@dataclass(slots=True, eq=False)
class LabelNames:
    """Label names that at least one series of a family has."""

    names: tuple[str, ...]
    options: MetricOptions
    """Those of the first series with these names; they hold for the later ones, too."""
    series_count: int = 0
    """Number of series with these label names."""


class Series:
    """
    A time series.  There may be a million of them, so they have slots and little more.

    `ttl` is that of the last sample's rule, in seconds, 0 for no expiry.  With a ttl,
    `last_update` is the time of the last sample, and `due` the time at which the store
    checks whether the series has expired; both are on the store's clock.  `label_names`
    is set by the family.
    """

    __slots__ = ("due", "label_names", "last_update", "options", "ttl")

    label_names: LabelNames

    def __init__(self, options: MetricOptions) -> None:
        self.options = options
        self.ttl = 0.0
        self.last_update = 0.0
        self.due = 0.0

    def record(self, sample: Sample, value: float, now: float) -> None:
        """Add a sample; `value` is its value after the rule's scale."""
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


class SortedKeysDict(dict[str, Value]):
    """A dict that can list its keys in order.  Remove keys with `remove` only."""

    __slots__ = ("_removed", "_sorted")

    def __init__(self) -> None:
        super().__init__()
        self._sorted: list[str] = []
        self._removed = 0

    def remove(self, key: str) -> None:
        """Remove a key."""
        del self[key]
        self._removed += 1
        if self._removed > len(self):
            # Most keys are gone: release the memory that a dict keeps for them, too.
            self._forget_removed()
            items = self.copy()
            self.clear()
            self.update(items)

    def sorted_keys(self, sort_key: Callable[[str], str] | None = None) -> list[str]:
        """
        Return the keys, ascending or by `sort_key`; do not change the list.

        The list is not updated by later removals: it may hold keys that are gone.
        """
        if self._removed:
            self._forget_removed()
        # A dict is in insertion order, so the keys that are not sorted yet come last.
        new = list(islice(reversed(self), len(self) - len(self._sorted)))
        if new:
            # Timsort finds the run that is sorted already.
            self._sorted = self._sorted + new
            self._sorted.sort(key=sort_key)
        return self._sorted

    def _forget_removed(self) -> None:
        # These contain all keys that were inserted, perhaps again, since the last sort.
        new = set(islice(reversed(self), len(self) - len(self._sorted) + self._removed))
        self._sorted = [key for key in self._sorted if key in self and key not in new]
        self._removed = 0


class MetricFamily:
    """
    The series of one metric name, by the text of their labels as the page prints it.

        a="1",b="2"  -->  series

    This text is one string; a tuple of pairs of strings takes 500 bytes for three
    labels.  A family without series is removed from the store.
    """

    __slots__ = ("_in_text_order", "help", "label_names", "name", "series", "type")

    def __init__(self, name: str, options: MetricOptions) -> None:
        self.name = name
        self.type = options.type
        self.help = options.help
        """Not escaped; that of the first series."""
        self.series: SortedKeysDict[Series] = SortedKeysDict()
        self.label_names: dict[tuple[str, ...], LabelNames] = {}
        """By label names, those that series have now."""
        self._in_text_order = True

    def add(self, label_text: str, label_names: LabelNames, series: Series) -> None:
        """Add a series that is not in the family."""
        self.label_names[label_names.names] = series.label_names = label_names
        label_names.series_count += 1
        self.series[label_text] = series
        if self._in_text_order:
            self._in_text_order = len(self.label_names) == 1 and not _needs_sort_key(
                label_text
            )

    def remove(self, label_text: str) -> None:
        """Remove a series, and its label names with the last series that has them."""
        label_names = self.series[label_text].label_names
        label_names.series_count -= 1
        if not label_names.series_count:
            del self.label_names[label_names.names]
        self.series.remove(label_text)

    def label_texts(self) -> list[str]:
        """
        Return the keys of `series`: fewer labels first, then by their values in turn.

        Do not change the list.  It is not updated by later removals: it may hold keys
        that are gone.
        """
        return self.series.sorted_keys(None if self._in_text_order else _sort_key)


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
