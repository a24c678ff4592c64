"""The family of all series of one metric name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import final

from statsd_bridge.memory import (
    TABLE_BYTES,
    family_size,
    label_names_size,
    series_size,
)
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
class SeriesKind:
    """
    What all series of a rule with the same label names have in common.

    It is worked out once a rule, and not once a family: names without rules often make
    a family each.
    """

    __slots__ = ("lone_bytes", "names", "options", "page_lines", "series_bytes")

    def __init__(self, names: tuple[str, ...], options: MetricOptions) -> None:
        self.names = names
        """Those of the labels, sorted."""
        self.options = options
        self.series_bytes = series_size(options)
        """Size of a series without the text of its labels."""
        self.lone_bytes = family_size("", names) + self.series_bytes
        """Size of a family with one series, without name and text of labels."""
        self.page_lines = 1
        """Lines of a series on the page: buckets, +Inf, sum and count, or quantiles."""
        if options.type in (MetricType.HISTOGRAM, MetricType.SUMMARY):
            self.page_lines = len(options.buckets) + len(options.quantiles) + 3


class LabelNames:
    """
    Label names that at least one series of a family has.

    What follows from names and type is checked once, for the first such series, whose
    options hold for the later ones.
    """

    __slots__ = ("kind", "use_count")

    kind: SeriesKind
    use_count: int
    """Number of series with these label names; with 0 they are not in use."""

    @property
    def family(self) -> MetricFamily:
        """The family of the series."""
        raise NotImplementedError

    @property
    def names(self) -> tuple[str, ...]:
        """The names, sorted."""
        return self.kind.names


@final
class _FurtherLabelNames(LabelNames):
    """Label names of a family whose first series has others."""

    __slots__ = ("_family",)

    def __init__(self, family: MetricFamily, kind: SeriesKind) -> None:
        self._family = family
        self.kind = kind
        self.use_count = 0

    @property
    def family(self) -> MetricFamily:
        return self._family


@final
class SeriesTable(SortedKeysDict[Series]):
    """The series of a family of several, by the text of their labels."""

    __slots__ = ("encoded_length", "has_one_order")

    def __init__(self) -> None:
        super().__init__()
        self.encoded_length = _NO_LENGTH
        """Label texts, and the length of the message in protobuf of all of them."""
        self.has_one_order = True
        """Whether all series have the same label names."""


@final
class MetricFamily(LabelNames):
    """
    The series of one metric name, by the text of their labels as the page prints it.

        a="1",b="2"  -->  series

    This text is one string; a tuple of pairs of strings takes 500 bytes for three
    labels.  A family without series is removed from the store.

    Names without rules make a family each: for these one object is all besides the
    series.  So a family is itself the label names of its first series, which nearly all
    have, and only with a second series it makes a table, which it then keeps.  With an
    object for each of them a family takes 400 bytes and 1.5 us more.
    """

    __slots__ = (
        "_others",
        "help",
        "lone",
        "lone_labels",
        "max_page_lines",
        "name",
        "quota",
        "table",
        "type",
    )

    def __init__(self, name: str, kind: SeriesKind, first: tuple[str, Series]) -> None:
        label_text, series = first
        options = kind.options
        self.kind = kind
        self.use_count = 1
        series.label_names = self
        self.name = name
        self.type = options.type
        self.help = options.help
        """Not escaped; that of the first series."""
        self.quota: Quota = UNRESOLVED
        self.max_page_lines = kind.page_lines
        """Lines of the largest series so far."""
        self.lone: Series | None = series
        """The first series, until there is a second one."""
        self.lone_labels = label_text
        self.table: SeriesTable | None = None
        """The series of a family that has or had several."""
        self._others: dict[tuple[str, ...], LabelNames] | None = None

    @property
    def family(self) -> MetricFamily:
        """The family itself."""
        return self

    @property
    def series(self) -> Mapping[str, Series]:
        """All series; do not keep the mapping."""
        if self.table is not None:
            return self.table
        return {} if self.lone is None else {self.lone_labels: self.lone}

    def find(self, label_text: str) -> Series | None:
        """Return a series, if it exists."""
        table = self.table
        if table is not None:
            return table.get(label_text)
        return self.lone if self.lone_labels == label_text else None

    def finder(self) -> Callable[[str], Series | None]:
        """Return `find`, or what takes less time for as long as the family exists."""
        return self.find if self.table is None else self.table.get

    @property
    def series_count(self) -> int:
        """The number of all series."""
        return self.use_count if self.table is None else len(self.table)

    def size(self) -> int:
        """Return the bytes of the family besides its series."""
        size = family_size(self.name, self.kind.names)
        if self.table is not None:
            size += TABLE_BYTES
        if self._others:
            size += sum(map(label_names_size, self._others))
        return size

    def growth(self, names: tuple[str, ...]) -> int:
        """Return the bytes by which another series with these label names grows it."""
        size = TABLE_BYTES if self.lone is not None else 0
        if names != self.kind.names and not (self._others and names in self._others):
            size += label_names_size(names)
        return size

    def find_label_names(self, names: tuple[str, ...]) -> LabelNames | None:
        """Return the label names if series have them."""
        if self.kind.names == names:
            return self if self.use_count else None
        return None if self._others is None else self._others.get(names)

    def all_label_names(self) -> list[LabelNames]:
        """Return the combinations of label names that series have."""
        first: list[LabelNames] = [self] if self.use_count else []
        return first + list((self._others or {}).values())

    def add_label_names(self, kind: SeriesKind) -> LabelNames:
        """Return label names that no series has yet, for those that are added next."""
        self.max_page_lines = max(self.max_page_lines, kind.page_lines)
        if kind.names == self.kind.names:
            self.kind = kind
            return self
        label_names = _FurtherLabelNames(self, kind)
        self._others = self._others or {}
        self._others[kind.names] = label_names
        return label_names

    def add(self, label_text: str, label_names: LabelNames, series: Series) -> None:
        """Add a series that is not in the family; it has these label names."""
        series.label_names = label_names
        label_names.use_count += 1
        table = self.table
        if table is None:
            table = self.table = SeriesTable()
            if self.lone is not None:
                table[self.lone_labels] = self.lone
            self.lone, self.lone_labels = None, ""
        if self._others:
            table.has_one_order = False
        table[label_text] = series

    def remove(self, label_text: str) -> None:
        """Remove a series, and its label names with the last series that has them."""
        series = self.find(label_text)
        if series is None:
            return
        label_names = series.label_names
        label_names.use_count -= 1
        if not label_names.use_count and label_names is not self and self._others:
            del self._others[label_names.names]
        if self.table is None:
            self.lone, self.lone_labels = None, ""
        else:
            self.table.remove(label_text)

    def label_texts(self) -> list[str]:
        """
        Return the keys of `series`: fewer labels first, then by their values in turn.

        Do not change the list.  It is not updated by later removals: it may hold keys
        that are gone.
        """
        table = self.table
        if table is None:
            return [] if self.lone is None else [self.lone_labels]
        return table.sorted_keys(_sort_key, self._sort_exception)

    def sort_in_steps(self) -> Iterator[None]:
        """Sort very many new keys for `label_texts`; yield after each part of it."""
        if self.table is not None:
            yield from self.table.sort_in_steps(_sort_key, self._sort_exception)

    @property
    def _sort_exception(self) -> re.Pattern[str] | None:
        """What a text of labels has in it if it is not sorted by itself."""
        has_one_order = self.table is not None and self.table.has_one_order
        return _needs_sort_key if has_one_order else None


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
