"""
The chunks of a file -> series.

Each text is checked like that of a sample: a file may be damaged in any way, or made by
hand.  A series that the store refuses, or whose values are not possible, is left out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice, pairwise
from typing import Any, NamedTuple

from statsd_bridge.errors import StorageError
from statsd_bridge.model import Labels, MetricOptions, Rejection, SeriesSpec
from statsd_bridge.series import Series, SeriesStore
from statsd_bridge.series.family import LabelNames, SeriesKind
from statsd_bridge.storage.options import options_from_json
from statsd_bridge.storage.values import values_from_json
from statsd_bridge.syntax import format_labels, parse_labels

EXPIRED, IMPOSSIBLE = "expired", "impossible"
"""Reasons why a series is left out, besides those of a rejected sample."""

_is_name = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*").fullmatch

Kinds = dict[tuple[int, tuple[str, ...]], SeriesKind | None]


class _Group(NamedTuple):
    """Series of one name with the same label names."""

    name: str
    help: str | None
    place: int
    options: MetricOptions
    names: tuple[str, ...]
    fits: Callable[[str], object]
    """Whether a text of labels has these names, and no value with an escape."""


class SeriesReader:
    """
    Puts the series of a file into a store that has none.

    `written_at` is when the file was written, and `now` the time, both on the store's
    clock.
    """

    def __init__(self, store: SeriesStore, *, written_at: float, now: float) -> None:
        self.left_out: Counter[str] = Counter()
        """Series that were left out, by reason."""
        self._store = store
        self._written_at = written_at
        self._now = now
        self._options: list[MetricOptions] = []
        self._kinds: Kinds = {}
        """For the first series of a name: without labels all have the same."""

    def read(self, line: bytes) -> None:
        """Read a chunk; raise StorageError if it is none."""
        try:
            self._read(json.loads(line))
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ) as error:
            raise StorageError(f"a chunk of series cannot be read: {error}") from error

    def _read(self, chunk: Any) -> None:
        self._options += map(options_from_json, chunk["options"])
        groups, columns = chunk["groups"], [chunk["labels"], chunk["created"]]
        count = len(columns[0])
        columns += [chunk["values"], chunk["ttl"] or [0] * count]
        if any(len(each) != count for each in columns):
            raise ValueError("its columns differ in length")
        rows = zip(*columns, strict=True)
        last_created = 0.0
        for name, help_, index, names, size in groups:
            group = self._group(name, help_, index, names)
            label_names: LabelNames | None = None
            for label_text, created, value, ttl in islice(rows, size):
                series = self._restore(group, label_names, label_text, value, ttl)
                if series is None:
                    continue
                label_names = series.label_names
                # Series that were created together share the time, as one object.
                if created != last_created:
                    last_created = _time(created)
                series.created = last_created
        if next(rows, None) is not None:
            raise ValueError("it has series without a group")

    def _group(self, name: Any, help_: Any, index: Any, names: Sequence[Any]) -> _Group:
        options = self._options[index]
        if not all(map(_is_name, (name, *names))):
            raise ValueError("a name is not possible")
        if any(low >= high for low, high in pairwise(names)):
            raise ValueError("names of labels are not in order")
        if help_ is not None:
            help_.encode()
        fits = re.compile(",".join(f'{each}="[ !#-\\[\\]-~]*"' for each in names))
        return _Group(name, help_, index, options, tuple(names), fits.fullmatch)

    def _restore(
        self,
        group: _Group,
        label_names: LabelNames | None,
        label_text: Any,
        value: Any,
        ttl_and_age: Any,
    ) -> Series | None:
        """Return a new series with its values; None if it is left out, and counted."""
        try:
            ttl, updated_at = self._time_to_live(ttl_and_age)
            values = values_from_json(group.options, value)
            is_plain = bool(group.fits(label_text))
            labels: Labels = ()
            if not is_plain or (label_names is None and group.names):
                labels = _labels(group, label_text)
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError):
            self.left_out[IMPOSSIBLE] += 1
            return None
        if ttl and updated_at + ttl < self._now:
            self.left_out[EXPIRED] += 1
            return None
        store, before = self._store, len(self._store)
        series: Series | Rejection | None = None
        if label_names is not None and is_plain:
            series = store.series_like(label_names, label_text, ttl, updated_at)
        elif is_plain and not group.names and not ttl:
            series = self._first(group, updated_at)
        if series is None:
            if group.names and not labels:
                labels = _labels(group, label_text)
            spec = SeriesSpec(group.name, labels, group.options, label_text)
            series = store.restore(spec, ttl, updated_at)
        if isinstance(series, Rejection):
            self.left_out[series.reason] += 1
            return None
        if len(store) == before:
            self.left_out[IMPOSSIBLE] += 1
            return None
        values.restore(series, self._written_at)
        if group.help is not None:
            series.label_names.family.help = group.help
        return series

    def _first(self, group: _Group, now: float) -> Series | None:
        """Return the first series of a name, without labels; None if there is one."""
        if group.name in self._store.by_name:
            return None
        key = group.place, group.names
        if key not in self._kinds:
            self._kinds[key] = self._store.allow_labels((), group.options)
        kind = self._kinds[key]
        return (
            None if kind is None else self._store.new_family(group.name, kind, "", now)
        )

    def _time_to_live(self, ttl_and_age: Any) -> tuple[float, float]:
        """Return ttl and the time of the last update, on the store's clock."""
        if ttl_and_age == 0:
            return 0.0, self._now
        ttl, age = ttl_and_age
        if not (_time(ttl) > 0 and _time(age) >= 0):
            raise ValueError("a ttl is not possible")
        return ttl, self._written_at - age


def _labels(group: _Group, label_text: str) -> Labels:
    """Return the labels of a text; raise ValueError if the page would not print it."""
    labels = tuple(parse_labels(label_text).items())
    label_text.encode()
    if format_labels(labels) != label_text or [name for name, _ in labels] != list(
        group.names
    ):
        raise ValueError("labels are not possible")
    return labels


def _time(value: Any) -> float:
    if type(value) is not float or not 0 <= value < 1e300:
        raise ValueError("a time is not possible")
    return value
