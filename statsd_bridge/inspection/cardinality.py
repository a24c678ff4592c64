"""
Which metric names have the most series, bytes or growth, and through which labels.

One pass over all families, then one over the label texts of the families that are
shown, both in steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from statsd_bridge.inspection.distinct import MAX_KEPT, DistinctCount
from statsd_bridge.inspection.growth import Sample
from statsd_bridge.inspection.search import parts_of_labels
from statsd_bridge.inspection.steps import Json, Steps, parts, text_parts
from statsd_bridge.memory import EXPIRY_BYTES, label_text_size
from statsd_bridge.model import Stats
from statsd_bridge.series import MetricFamily, SeriesStore
from statsd_bridge.series.quota import UNLIMITED

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
"""Families of an answer."""

SORTS = ("series", "bytes", "growth")

STEP_FAMILIES = 250
"""Families that are looked at in a step."""

MAX_FRESH_SERIES = 10_000
"""The label values of a larger family are counted at most once a minute."""

LABELS_SECONDS = 60.0

MAX_KEPT_OF_FAMILY = 80_000
"""Hashes of label values that are kept while a family is counted, about 5 MB."""

MAX_LABELS = 64
"""Labels of a family whose values are counted; a sender may send thousands."""

# a="1",b="2"  -->  a 1 b 2
_pairs = re.compile(r'([^=,\n]+)="([^"\\\n]*(?:\\.[^"\\\n]*)*)"').findall


@dataclass(frozen=True, slots=True, kw_only=True)
class CardinalityQuery:
    """
    Which families are shown: the first `limit` by `sort`.

    With `max_series` the series beyond that number are counted: what a quota would cut.
    """

    sort: str = "series"
    limit: int = DEFAULT_LIMIT
    max_series: int | None = None


class Ranking:
    """The first names by a query, and what is beyond `max_series` in all families."""

    def __init__(self, query: CardinalityQuery, before: Sample) -> None:
        self.query = query
        self.before = before
        self._numbers: dict[str, int] = {}
        """What the names are sorted by."""
        self._least = -UNLIMITED
        self.families_over = self.series_over = 0

    def add(self, families: Sequence[MetricFamily], numbers: Sequence[int]) -> None:
        """Rank families by numbers."""
        least = self._least
        for family, number in zip(families, numbers, strict=True):
            if number >= least:
                self._numbers[family.name] = number
        if len(self._numbers) > 4 * MAX_LIMIT:
            first = self.first(MAX_LIMIT)
            self._numbers = {name: self._numbers[name] for name in first}
            self._least = self._numbers[first[-1]]
        self._count_over([family.series_count for family in families])

    def _count_over(self, counts: Sequence[int]) -> None:
        limit = self.query.max_series
        if limit is not None and max(counts, default=0) > limit:
            over = [count - limit for count in counts if count > limit]
            self.families_over += len(over)
            self.series_over += sum(over)

    def first(self, count: int) -> list[str]:
        """Return the first names, in order."""
        numbers = self._numbers
        return sorted(numbers, key=lambda name: (-numbers[name], name))[:count]


def _numbers(families: Sequence[MetricFamily], ranking: Ranking) -> list[int]:
    """Return the growth of families, or their series."""
    if ranking.query.sort == "growth":
        before = ranking.before.count
        return [family.series_count - before(family.name) for family in families]
    return [family.series_count for family in families]


def _family_bytes(family: MetricFamily) -> int:
    """Return what a family is charged besides label texts, members and values."""
    size = family.size()
    for each in family.all_label_names():
        kind = each.kind
        one = kind.series_bytes + (EXPIRY_BYTES if kind.options.ttl else 0)
        size += each.use_count * one
    return size


def _text_bytes(family: MetricFamily) -> Steps[int]:
    """Return the bytes of all label texts of a family."""
    if family.lone is not None:
        return label_text_size(family.lone_labels)
    size = 0
    for keys in parts_of_labels(family):
        size = size + sum(map(label_text_size, keys)) if keys else 0
        yield
    return size


class Cardinality:
    """Ranks the families of a store; `stats` has what their quotas refused."""

    def __init__(self, store: SeriesStore, stats: Stats) -> None:
        self._store = store
        self._stats = stats
        self._labels: dict[str, tuple[float, list[Json]]] = {}
        """The labels of large families, and when their values were counted."""

    def rank(self, query: CardinalityQuery, before: Sample) -> Steps[Json]:
        """Return the first families of all; `before` is compared for the growth."""
        ranking = Ranking(query, before)
        for keys in self._store.by_name.parts_of_keys():
            if not keys:
                ranking = Ranking(query, before)
            for part in parts(keys, STEP_FAMILIES):
                yield from self._rank_part(ranking, part)
        rows: list[Json] = []
        for name in ranking.first(query.limit):
            family = self._store.by_name.get(name)
            if family is not None:
                texts = yield from _text_bytes(family)
                size = texts + _family_bytes(family)
                labels = yield from self._count_labels(family)
                rows.append(self._row(family, size, labels, ranking))
            yield
        return self._answer(ranking, rows)

    def sample(self, query: CardinalityQuery, before: Sample, count: int) -> Json:
        """Return the same of some `count` families and series, without labels."""
        ranking, by_name = Ranking(query, before), self._store.by_name
        families = list(islice(by_name.values(), count))
        ranking.add(families, _numbers(families, ranking))
        rows = [
            self._row(by_name[name], _estimated_bytes(by_name[name]), [], ranking)
            for name in ranking.first(query.limit)
        ]
        is_all = len(families) == len(by_name)
        return self._answer(ranking, rows) | {"complete": is_all}

    def _rank_part(self, ranking: Ranking, names: Sequence[str]) -> Steps[None]:
        families = list(filter(None, map(self._store.by_name.get, names)))
        if ranking.query.sort == "bytes":
            numbers = []
            for family in families:
                texts = yield from _text_bytes(family)
                numbers.append(_family_bytes(family) + texts)
        else:
            numbers = _numbers(families, ranking)
        ranking.add(families, numbers)
        yield

    def _answer(self, ranking: Ranking, rows: list[Json]) -> Json:
        store, before = self._store, ranking.before
        over = {"families": ranking.families_over, "series": ranking.series_over}
        return {
            "families": rows,
            "total": {
                "families": len(store.by_name),
                "series": len(store),
                "bytes": store.memory.series.used,
                "growth": len(store) - before.total,
                "over": None if ranking.query.max_series is None else over,
            },
            "growth_seconds": store.now() - before.clock,
            "complete": True,
        }

    def _row(
        self, family: MetricFamily, size: int, labels: list[Json], ranking: Ranking
    ) -> Json:
        name, count, limit = family.name, family.series_count, ranking.query.max_series
        quota = self._store.quotas.quotas.find(name).max_series
        refused = self._stats.series_refused["quota", name]
        row = {
            "name": name,
            "type": str(family.type),
            "series": count,
            "bytes": size,
            "growth": count - ranking.before.count(name),
            "labels": labels,
            "quota": {"max_series": quota, "refused": refused}
            if quota < UNLIMITED
            else None,
        }
        return row if limit is None else row | {"over": max(0, count - limit)}

    def _count_labels(self, family: MetricFamily) -> Steps[list[Json]]:
        """Return the labels of a family, those with the most values first."""
        name, now = family.name, self._store.now()
        known = self._labels.get(name)
        is_large = family.series_count > MAX_FRESH_SERIES
        if known is not None and is_large and now - known[0] < LABELS_SECONDS:
            return known[1]
        labels = yield from _count_values(family)
        if is_large:
            if len(self._labels) >= MAX_LIMIT:
                self._labels.clear()
            self._labels[name] = now, labels
        return labels


def _count_values(family: MetricFamily) -> Steps[list[Json]]:
    """Count the distinct values of each label."""
    counts: dict[str, DistinctCount] = {}
    label_count = max((len(each.names) for each in family.all_label_names()), default=0)
    max_kept = min(MAX_KEPT, MAX_KEPT_OF_FAMILY // max(1, min(label_count, MAX_LABELS)))
    for keys in parts_of_labels(family):
        for part in text_parts(keys, STEP_FAMILIES):
            for name, values in _columns(part):
                if name not in counts:
                    if len(counts) >= MAX_LABELS:
                        continue
                    counts[name] = DistinctCount(max_kept)
                counts[name].add(values)
            yield
    found = sorted(counts.items(), key=lambda item: (-item[1].count, item[0]))
    return [
        {"name": name, "values": count.count, "exact": count.is_exact}
        for name, count in found
    ]


def _columns(label_texts: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the values of each label in some series."""
    columns: dict[str, list[str]] = {}
    # A label text has no newline.
    for name, value in _pairs("\n".join(label_texts)):
        columns.setdefault(name, []).append(value)
    yield from columns.items()


def _estimated_bytes(family: MetricFamily) -> int:
    """Return about what a family is charged, from three of its series."""
    # Its label names are left out: a sender may send thousands of them.
    some = list(islice(family.series, 3))
    texts = sum(map(label_text_size, some)) // max(1, len(some))
    return family.series_count * (family.kind.series_bytes + texts)
