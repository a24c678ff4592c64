"""
The chunks of a file -> series.

Each text is checked like that of a sample: a file may be damaged in any way, or made by
hand.  A series that the store refuses, or whose values are not possible, is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from itertools import islice, pairwise
from typing import Any, NamedTuple

from statsd_bridge.errors import StorageError
from statsd_bridge.model import (
    Labels,
    MetricOptions,
    MetricType,
    Rejection,
    RejectionReason,
    SeriesSpec,
)
from statsd_bridge.series import Series, SeriesStore, SingleValue
from statsd_bridge.series.family import LabelNames, SeriesKind
from statsd_bridge.storage.options import options_from_json
from statsd_bridge.storage.shared import SharedParts
from statsd_bridge.storage.values import values_from_json
from statsd_bridge.syntax import format_labels, parse_labels

EXPIRED, IMPOSSIBLE = "expired", "impossible"
"""Reasons why a series is left out, besides those of a rejected sample."""

_is_name = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*").fullmatch

_LEAST = {MetricType.COUNTER: 0.0, MetricType.GAUGE: -math.inf}


Row = tuple[Any, Any, Any]
"""The text of the labels of a series, its values, and its ttl; not checked."""


class _Kind(NamedTuple):
    """What all groups of a chunk with the same options and label names share."""

    options: MetricOptions
    names: tuple[str, ...]
    least: float | None
    """The least value of a counter or of a gauge; None for other types."""
    name_texts: list[str]
    """What is between the values in a text of labels: `a=`, `,b=` and nothing."""
    series_kind: SeriesKind | None
    """For the first series of a name; None with labels, which differ in length."""


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
        self._shared = SharedParts()
        self._options: list[MetricOptions] = []
        self._kinds: dict[tuple[int, tuple[str, ...]], _Kind] = {}
        """Both are those of the chunk."""
        self._created = 0.0
        """Series that were created together share the time, as one object."""

    def read(self, line: bytes) -> None:
        """Read a chunk; raise StorageError if it is none."""
        self._kinds.clear()
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
        if len(chunk["options"]) > len(chunk["groups"]):
            raise ValueError("it has options that no group uses")
        self._options = list(map(options_from_json, chunk["options"]))
        labels, created, values = chunk["labels"], chunk["created"], chunk["values"]
        ttls = chunk["ttl"] or [0] * len(labels)
        if not len(labels) == len(created) == len(values) == len(ttls):
            raise ValueError("its columns differ in length")
        rows = zip(labels, created, values, ttls, strict=True)
        for name, own_help, index, names, size in chunk["groups"]:
            kind = self._kind(index, tuple(names))
            if not _is_name(name):
                raise ValueError("a name is not possible")
            group, help_ = islice(rows, size), self._help(own_help, kind)
            if kind is None or help_ is None:
                self.left_out[RejectionReason.MEMORY_LIMIT] += sum(1 for _ in group)
                continue
            label_names = self._read_group(name, kind, group)
            if label_names is not None:
                label_names.family.help = help_
        if next(rows, None) is not None:
            raise ValueError("it has series without a group")

    def _read_group(
        self, name: str, kind: _Kind, rows: Iterable[tuple[Any, Any, Any, Any]]
    ) -> LabelNames | None:
        """Restore series of one name; return their label names if there are any."""
        label_names: LabelNames | None = None
        for label_text, created, value, ttl in rows:
            row = label_text, value, ttl
            series = self._restore_number(name, kind, label_names, row)
            if series is None:
                series = self._restore(name, kind, row)
                if series is None:
                    continue
            label_names = series.label_names
            if created != self._created:
                self._created = _time(created)
            series.created = self._created
        return label_names

    def _restore_number(
        self,
        name: str,
        kind: _Kind,
        label_names: LabelNames | None,
        row: Row,
    ) -> Series | None:
        """
        Restore a counter or a gauge by what is known of its group.

        Return None if that is not possible for any reason; nothing is restored then.
        """
        label_text, value, ttl = row
        least = kind.least
        if ttl != 0 or least is None or type(value) is not float:
            return None
        if not (value >= least or least < 0) or not _is_plain(label_text):
            return None
        if label_text.split('"')[::2] != kind.name_texts:
            return None
        store, before = self._store, len(self._store)
        if label_names is not None:
            series = store.series_like(label_names, label_text, 0.0, self._now)
        elif kind.series_kind is not None and name not in store.by_name:
            series = store.new_family(name, kind.series_kind, "", self._now)
        else:
            return None
        if not isinstance(series, SingleValue) or len(store) == before:
            return None
        series.value = value
        return series

    def _restore(self, name: str, kind: _Kind, row: Row) -> Series | None:
        """Restore any series; return None if it is left out, and count it."""
        label_text, value, ttl_and_age = row
        try:
            ttl, updated_at = self._times(ttl_and_age)
            values = values_from_json(kind.options, value)
            labels = _labels(kind.names, label_text)
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError):
            self.left_out[IMPOSSIBLE] += 1
            return None
        if ttl and updated_at + ttl < self._now:
            self.left_out[EXPIRED] += 1
            return None
        spec = SeriesSpec(name, labels, kind.options, label_text)
        series = self._store.restore(spec, ttl, updated_at)
        if isinstance(series, Rejection):
            self.left_out[series.reason] += 1
            return None
        values.restore(series, self._written_at)
        return series

    def _help(self, text: str | None, kind: _Kind | None) -> str | None:
        """Return the help text of a group; None if there is no memory for it."""
        if text is None:
            return None if kind is None else kind.options.help
        text.encode()
        return self._shared.text(text)

    def _kind(self, index: Any, names: tuple[Any, ...]) -> _Kind | None:
        """Return what groups share; None if there is no memory for their options."""
        kind = self._kinds.get((index, names))
        if kind is None:
            options = self._shared.options(self._options[index])
            if options is None:
                return None
            if not all(map(_is_name, names)):
                raise ValueError("the name of a label is not possible")
            if any(low >= high for low, high in pairwise(names)):
                raise ValueError("names of labels are not in order")
            first = None if names else self._store.allow_labels((), options)
            least = _LEAST.get(options.type)
            kind = _Kind(options, names, least, _name_texts(names), first)
            self._kinds[index, names] = kind
        return kind

    def _times(self, ttl_and_age: Any) -> tuple[float, float]:
        """Return ttl and the time of the last update, on the store's clock."""
        if ttl_and_age == 0:
            return 0.0, self._now
        ttl, age = ttl_and_age
        if not (_time(ttl) > 0 and _time(age) >= 0):
            raise ValueError("a ttl is not possible")
        return ttl, self._written_at - age


def _name_texts(names: tuple[str, ...]) -> list[str]:
    """Return what is between the values in a text of labels with these names."""
    return [f"{',' if at else ''}{name}=" for at, name in enumerate(names)] + [""]


def _is_plain(label_text: Any) -> bool:
    """Return whether each quote in a text of labels begins or ends a value."""
    return (
        type(label_text) is str
        and label_text.isascii()
        and label_text.isprintable()
        and "\\" not in label_text
    )


def _labels(names: tuple[str, ...], label_text: str) -> Labels:
    """Return the labels of a text; raise ValueError if a page would not print it."""
    labels = tuple(parse_labels(label_text).items())
    label_text.encode()
    is_printed = format_labels(labels) == label_text
    if not is_printed or tuple([name for name, _ in labels]) != names:
        raise ValueError("labels are not possible")
    return labels


def _time(value: Any) -> float:
    if type(value) is not float or not 0 <= value < 1e300:
        raise ValueError("a time is not possible")
    return value
