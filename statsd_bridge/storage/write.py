"""
Series -> the chunks of a file.

    {"options": [[type, help, ...], ...],
     "groups": [[name, help, options, label names, count of series], ...],
     "labels": [text, ...], "created": [time, ...],
     "values": [...], "ttl": [[ttl, seconds since the last update], ...]}

A chunk is read without the others, any of which may be left out.  A group has the index
of its options in the chunk; it is series of one name with the same label names, in
their order.  The other columns have an entry for each series of all groups; a ttl is 0
for none, and the column is empty if no series of the chunk has one.  `help` is null if
it is that of the options.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import Any

from statsd_bridge.model import MetricOptions, MetricType
from statsd_bridge.series import MetricFamily, Series, SeriesStore, SingleValue
from statsd_bridge.series.family import LabelNames
from statsd_bridge.storage.options import options_to_json
from statsd_bridge.storage.values import TIME_DIGITS, number_count, values_to_json

MAX_CHUNK_SERIES = 4_096
MAX_PART_SERIES = 1_024
MAX_CHUNK_NUMBERS = 100_000
"""Numbers, and letters of texts, after which a chunk ends: some 2 MB of text."""


def chunks_of_series(store: SeriesStore, now: float) -> Iterator[tuple[bytes, int]]:
    """Yield each chunk as a line with a newline, and how many series it has."""
    chunk = _Chunk(now)
    # In the order of their creation, in which no name was in conflict with one before.
    for family in store.by_name.values():
        if family.lone is not None:
            # Names without rules make a family each.
            chunk.add_group(family, [family.lone_labels], [family.lone])
            if chunk.is_full():
                yield chunk.end()
            continue
        for rows in _parts_of(family):
            chunk.add(family, rows)
            if chunk.is_full():
                yield chunk.end()
    if chunk.series:
        yield chunk.end()


def _parts_of(family: MetricFamily) -> Iterator[list[tuple[str, Series]]]:
    """Yield the series of a family in parts, each no larger than a chunk may be."""
    size = 1
    if family.type in (MetricType.COUNTER, MetricType.GAUGE):
        # The name is in each group.
        size = min(MAX_PART_SERIES, 1 + MAX_CHUNK_NUMBERS // len(family.name))
    rows = iter(family.series.items())
    while part := list(islice(rows, size)):
        if sum([len(label_text) for label_text, _ in part]) <= MAX_CHUNK_NUMBERS:
            yield part
        else:
            # Labels of 64 KB each: together they would be longer than a line may be.
            yield from ([row] for row in part)


class _Chunk:
    """The columns of a chunk; `end` begins the next one."""

    def __init__(self, now: float) -> None:
        self._now = now
        self._begin()

    def _begin(self) -> None:
        self.series = 0
        self._numbers = 0
        self._options: dict[MetricOptions, int] = {}
        self._indexes: dict[int, int] = {}
        """The same by the identity of the options: to hash them takes a microsecond."""
        self._groups: list[list[Any]] = []
        self._labels: list[str] = []
        self._created: list[float] = []
        self._values: list[Any] = []
        self._ttls: list[list[float] | int] = []
        self._has_ttl = False
        self._last_names: LabelNames | None = None

    def add(self, family: MetricFamily, rows: list[tuple[str, Series]]) -> None:
        """Add series of a family, by the text of their labels."""
        for _, group in groupby(rows, lambda row: row[1].label_names):
            labels, all_series = zip(*group, strict=True)
            self.add_group(family, labels, all_series)

    def add_group(
        self, family: MetricFamily, labels: Sequence[str], all_series: Sequence[Series]
    ) -> None:
        """Add series of a family that have the same label names."""
        self._count_in_group(family, all_series[0].label_names, len(labels))
        self._labels += labels
        self._created += [series.created for series in all_series]
        values = [
            series.value
            if isinstance(series, SingleValue)
            else values_to_json(series, self._now)
            for series in all_series
        ]
        self._values += values
        ttls = [self._ttl_of(series) if series.ttl else 0 for series in all_series]
        self._ttls += ttls
        self._has_ttl = self._has_ttl or any(ttls)
        self.series += len(labels)
        self._numbers += sum(map(len, labels)) + sum(map(number_count, values))

    def _count_in_group(
        self, family: MetricFamily, label_names: LabelNames, count: int
    ) -> None:
        """Count series in the last group, or in a new one."""
        if label_names is self._last_names:
            self._groups[-1][-1] += count
            return
        self._last_names = label_names
        options = label_names.kind.options
        help_ = None if family.help == options.help else family.help
        index, names = self._index_of(options), list(label_names.names)
        self._numbers += len(family.name) + sum(map(len, names))
        self._groups.append([family.name, help_, index, names, count])

    def _index_of(self, options: MetricOptions) -> int:
        """Return the index of options in the chunk; add them to it if they are new."""
        index = self._indexes.get(id(options))
        if index is None:
            known = len(self._options)
            index = self._options.setdefault(options, known)
            if index == known:
                self._numbers += len(options.buckets) + len(options.help)
            self._indexes[id(options)] = index
        return index

    def _ttl_of(self, series: Series) -> list[float]:
        return [series.ttl, round(self._now - series.last_update, TIME_DIGITS)]

    def is_full(self) -> bool:
        """Return whether the chunk must end here."""
        return self.series >= MAX_CHUNK_SERIES or self._numbers >= MAX_CHUNK_NUMBERS

    def end(self) -> tuple[bytes, int]:
        """Return the chunk as a line, and its series; begin another one."""
        document = {
            "options": list(map(options_to_json, self._options)),
            "groups": self._groups,
            "labels": self._labels,
            "created": self._created,
            "values": self._values,
            "ttl": self._ttls if self._has_ttl else [],
        }
        series = self.series
        self._begin()
        return json.dumps(document, separators=(",", ":")).encode() + b"\n", series
