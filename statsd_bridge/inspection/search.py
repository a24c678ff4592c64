"""
Find series by words, in pages, in the order of name and label text.

The store has no index for that, and sorting a million keys would take a second.  So a
search looks at all keys in any order, in steps, and selects the first ones after the
position of the page before.  Families whose names are beyond what is selected already
are passed in 0.1 us each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from statsd_bridge.inspection.position import MAX_KEY_LENGTH, START, Position
from statsd_bridge.inspection.steps import Steps, parts
from statsd_bridge.model import MetricType
from statsd_bridge.series import MetricFamily, Series, SeriesStore

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
"""Series of a page."""

MAX_WORDS = 16

MAX_ORDERED_FAMILIES = 5_000
"""With more families than this, their names are not sorted before the search."""

STEP_FAMILIES = 250
"""Families that are looked at in a step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesQuery:
    """
    Which series a page has.

    Each of the `words`, in lower case, is in the name or in the text of the labels.
    `name` and `type` are exact; None for any.
    """

    words: tuple[str, ...] = ()
    name: str | None = None
    type: MetricType | None = None
    after: Position = START
    limit: int = DEFAULT_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSeries:
    """A series that was there when it was found."""

    position: Position
    family: MetricFamily
    label_text: str
    series: Series


class Selection:
    """The first series of a query, and the number of series that were looked at."""

    def __init__(self, query: SeriesQuery) -> None:
        self.query = query
        self.looked_at = 0
        self._capacity = query.limit + 1
        self._found: dict[Position, FoundSeries] = {}
        self._last: Position | None = None
        """The last one of a selection that is full."""

    def found(self) -> tuple[list[FoundSeries], bool]:
        """Return the series of the page in order, and whether there are more."""
        ordered = [self._found[each] for each in sorted(self._found)]
        return ordered[: self.query.limit], len(ordered) > self.query.limit

    def is_beyond(self, name: str) -> bool:
        """Return whether all series of a name come after a selection that is full."""
        last = self._last
        return last is not None and name[:MAX_KEY_LENGTH] > last.name[:MAX_KEY_LENGTH]

    def names_in_reach(self, names: Sequence[str]) -> list[str]:
        """Return the names that the series of the page can have."""
        first, last = self.query.after.name[:MAX_KEY_LENGTH], self._last
        if last is None:
            return [name for name in names if name[:MAX_KEY_LENGTH] >= first]
        end = last.name[:MAX_KEY_LENGTH]
        return [name for name in names if first <= name[:MAX_KEY_LENGTH] <= end]

    def missing_words(self, name: str) -> list[str]:
        """Return the words that a name does not contain."""
        words = self.query.words
        if not words:
            return []
        lowered = name.lower()
        return [word for word in words if word not in lowered]

    def look_at(
        self, family: MetricFamily, words: Sequence[str], label_texts: Sequence[str]
    ) -> None:
        """Select from the series of a family those that have words in their labels."""
        self.looked_at += len(label_texts)
        for word in words:
            label_texts = [text for text in label_texts if word in text.lower()]
        if not label_texts:
            return
        name, after, last = family.name, self.query.after, self._last
        for text in label_texts:
            position = Position.of(name, text)
            if position > after and (last is None or position < last):
                series = family.find(text)
                if series is not None:
                    self._found[position] = FoundSeries(
                        position=position,
                        family=family,
                        label_text=text,
                        series=series,
                    )
        self._cut()

    def _cut(self) -> None:
        """Remove what is too many."""
        if len(self._found) < self._capacity:
            return
        ordered = sorted(self._found)
        for position in ordered[self._capacity :]:
            del self._found[position]
        self._last = ordered[self._capacity - 1]


def search(store: SeriesStore, query: SeriesQuery) -> Steps[Selection]:
    """Look at all series; return the selected ones."""
    selection = Selection(query)
    names = [query.name] if query.name is not None else None
    if names is None:
        names = yield from store.by_name.copy_keys()
    is_ordered = len(names) <= MAX_ORDERED_FAMILIES
    if is_ordered:
        names = sorted(names)
    for part in parts(names, STEP_FAMILIES):
        if is_ordered and selection.is_beyond(part[0]):
            break
        for name in selection.names_in_reach(part):
            family = store.by_name.get(name)
            if family is not None and query.type in (None, family.type):
                yield from _search_family(family, selection)
        yield
    return selection


def _search_family(family: MetricFamily, selection: Selection) -> Steps[None]:
    if selection.is_beyond(family.name):
        return
    words = selection.missing_words(family.name)
    table = family.table
    if table is None or len(table) <= STEP_FAMILIES:
        selection.look_at(family, words, list(family.series))
        return
    label_texts = yield from table.copy_keys()
    for part in parts(label_texts):
        selection.look_at(family, words, part)
        yield


def search_sample(store: SeriesStore, query: SeriesQuery, count: int) -> Selection:
    """Look at some `count` series only, at once: those that were created first."""
    selection = Selection(query)
    for family in _some_families(store, query, count):
        rest = count - selection.looked_at
        if rest <= 0:
            break
        if query.type in (None, family.type):
            words = selection.missing_words(family.name)
            selection.look_at(family, words, list(islice(family.series, rest)))
    return selection


def _some_families(
    store: SeriesStore, query: SeriesQuery, count: int
) -> Iterator[MetricFamily]:
    if query.name is None:
        return islice(store.by_name.values(), count)
    family = store.by_name.get(query.name)
    return iter([] if family is None else [family])
