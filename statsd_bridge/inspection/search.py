"""
Find series by words, in pages, in the order of name and label text.

The store has no index for that, and sorting a million keys would take a second.  So a
search looks at all keys in any order, in steps, and selects the first ones after the
position of the page before: 0.1 to 0.5 us a series.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from statsd_bridge.inspection.position import MAX_KEY_LENGTH, START, Position, key_of
from statsd_bridge.inspection.steps import Steps, parts, text_parts
from statsd_bridge.model import MetricType
from statsd_bridge.series import MetricFamily, Series, SeriesStore

DEFAULT_LIMIT, MAX_LIMIT = 50, 500
"""Series of a page."""

MAX_WORDS = 16

MAX_ORDERED_FAMILIES = 5_000
"""With more families than this, their names are not sorted before the search."""

MAX_CHARACTER = chr(sys.maxunicode)

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

    def names_in_reach(self, names: Sequence[str]) -> Sequence[str]:
        """Return the names that the series of the page can have, and some more."""
        last = self._last
        return _between(
            names, self.query.after.name, None if last is None else last.name
        )

    def look_at(self, family: MetricFamily, label_texts: Sequence[str]) -> None:
        """Select from some series of a family."""
        self.looked_at += len(label_texts)
        name, after, last = family.name, self.query.after, self._last
        key = key_of(name)
        first = after.labels if key == after.name else ""
        end = None if last is None or key != last.name else last.labels
        label_texts = _between(label_texts, first, end)
        for word in self._missing_words(name):
            label_texts = [text for text in label_texts if word in text.lower()]
        self._add([(family, text) for text in label_texts])

    def look_at_singles(self, families: Sequence[MetricFamily]) -> None:
        """Select from families of one series: many names without labels."""
        self.looked_at += len(families)
        found = [(family, family.lone_labels) for family in families]
        words = self.query.words
        if words:
            texts = [f"{family.name}\n{text}".lower() for family, text in found]
            for word in words[:-1]:
                # A word has no newline.
                texts = [text if word in text else "" for text in texts]
            found = [
                pair
                for pair, text in zip(found, texts, strict=True)
                if words[-1] in text
            ]
        self._add(found)

    def _missing_words(self, name: str) -> list[str]:
        """Return the words that a name does not contain."""
        words = self.query.words
        if not words:
            return []
        lowered = name.lower()
        return [word for word in words if word not in lowered]

    def _add(self, pairs: Sequence[tuple[MetricFamily, str]]) -> None:
        """Add series that are after the page before; remove what is too many."""
        after, last = self.query.after, self._last
        for family, text in pairs:
            position = Position.of(family.name, text)
            if position > after and (last is None or position < last):
                series = family.find(text)
                if series is not None:
                    self._found[position] = FoundSeries(
                        position=position,
                        family=family,
                        label_text=text,
                        series=series,
                    )
        if len(self._found) >= self._capacity:
            ordered = sorted(self._found)
            for position in ordered[self._capacity :]:
                del self._found[position]
            self._last = ordered[self._capacity - 1]


def _between(texts: Sequence[str], first: str, last: str | None) -> Sequence[str]:
    """Return the texts whose keys can be between two keys, and some more."""
    first = first[:MAX_KEY_LENGTH]
    if last is None:
        return [text for text in texts if text >= first] if first else texts
    end = last[:MAX_KEY_LENGTH] + MAX_CHARACTER
    return [text for text in texts if first <= text <= end]


def search(store: SeriesStore, query: SeriesQuery) -> Steps[Selection]:
    """Look at all series; return the selected ones."""
    selection = Selection(query)
    if query.name is not None:
        yield from _search_families(store, selection, [query.name])
    elif len(store.by_name) <= MAX_ORDERED_FAMILIES:
        for part in parts(sorted(store.by_name), STEP_FAMILIES):
            if selection.is_beyond(part[0]):
                break
            yield from _search_families(store, selection, part)
    else:
        for keys in store.by_name.parts_of_keys():
            for part in parts(keys, STEP_FAMILIES):
                yield from _search_families(store, selection, part)
    return selection


def _search_families(
    store: SeriesStore, selection: Selection, names: Sequence[str]
) -> Steps[None]:
    names, type = selection.names_in_reach(names), selection.query.type
    families = [family for name in names if (family := store.by_name.get(name))]
    if type is not None:
        families = [family for family in families if family.type is type]
    selection.look_at_singles([each for each in families if each.lone is not None])
    yield
    for family in families:
        if family.table is not None and not selection.is_beyond(family.name):
            yield from _search_family(family, selection)


def _search_family(family: MetricFamily, selection: Selection) -> Steps[None]:
    for keys in parts_of_labels(family):
        for part in text_parts(keys):
            selection.look_at(family, part)
            yield


def parts_of_labels(family: MetricFamily) -> Iterator[Sequence[str]]:
    """Yield the label texts of a family like `parts_of_keys`."""
    if family.table is not None:
        yield from family.table.parts_of_keys()
    elif family.lone is not None:
        yield [family.lone_labels]


def search_sample(store: SeriesStore, query: SeriesQuery, count: int) -> Selection:
    """Look at some `count` series only, at once: those that were created first."""
    selection = Selection(query)
    families = _some_families(store, query, count)
    selection.look_at_singles([each for each in families if each.lone is not None])
    for family in families:
        rest = count - selection.looked_at
        if family.table is not None and rest > 0:
            label_texts = list(islice(family.series, rest))
            selection.look_at(family, next(text_parts(label_texts)))
    return selection


def _some_families(
    store: SeriesStore, query: SeriesQuery, count: int
) -> list[MetricFamily]:
    if query.name is None:
        families = list(islice(store.by_name.values(), count))
    else:
        families = list(filter(None, [store.by_name.get(query.name)]))
    return [each for each in families if query.type in (None, each.type)]
