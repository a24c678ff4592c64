"""
A dict that lists its keys in order: series by their labels, families by their names.

The order of the page is that of the labels' values, but sorting a million series at
each scrape would take a second.  So the sorted keys are kept, and at the next scrape
only the series created since then are sorted and merged in, at 25 ns a key:

    created     b d a c            first scrape: a b c d
    created     b d a c | e        second scrape: only e is sorted and merged

Very many new keys are sorted in steps, so that packets are received in between:

    created     d a h b | g c f e
    parts       a b d h   c e f g
    up to d     a b d     c          and so on, each in order by another sort
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterator
from heapq import merge
from itertools import islice
from typing import TypeVar

Value = TypeVar("Value")

MAX_SORTED_BYTES = 16 * 1024 * 1024
"""Sort keys that are made at once: without a bound they take what all labels take."""

MAX_JOINED_BYTES = 64 * 1024
"""Keys that are searched at once."""

MIN_NEW_SHARE = 32
"""With fewer new keys than one in this many, each is inserted by a search."""

MAX_STEP_KEYS = 10_000
"""Keys that are sorted at once, in about 5 ms."""

MAX_PART_KEYS = 10_000
"""Keys that are copied at once, less than a millisecond of work."""

MAX_PART_KEYS_OF_CHANGED = 50_000
"""The same after a change, because the keys before are passed again, too."""

_NO_KEYS: list[str] = []
"""Of all dicts that were never sorted: an empty list of each would take 56 bytes."""


class SortedKeysDict(dict[str, Value]):
    """A dict that can list its keys in order.  Remove keys with `remove` only."""

    __slots__ = ("_is_plain", "_removed", "_sorted")

    def __init__(self) -> None:
        self._sorted = _NO_KEYS
        self._removed = 0
        self._is_plain = True
        """Whether the keys are in the order of their text."""

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

    def sorted_keys(
        self,
        sort_key: Callable[[str], str] | None = None,
        exception: re.Pattern[str] | None = None,
    ) -> list[str]:
        """
        Return the keys, ascending or by `sort_key`; do not change the list.

        With an `exception` the keys are in either order the same, unless it is in one
        of them.  The list is not updated by later removals: it may hold keys that are
        gone.
        """
        if self._removed:
            self._forget_removed()
        # A dict is in insertion order, so the keys that are not sorted yet come last.
        new = list(islice(reversed(self), len(self) - len(self._sorted)))
        if not new:
            return self._sorted
        if exception is None or (self._is_plain and _contain(new, exception)):
            # Looked for in all keys at once: in each, it takes 0.25 us a new series.
            self._is_plain = False
        if self._is_plain:
            sort_key = None
        if len(new) * MIN_NEW_SHARE < len(self._sorted):
            self._sorted = _inserted(self._sorted, new, sort_key)
        elif sort_key is None:
            # Timsort finds the run that is sorted already.
            self._sorted = self._sorted + new
            self._sorted.sort()
        else:
            runs = [sorted(run, key=sort_key) for run in _runs(new, MAX_SORTED_BYTES)]
            if self._sorted or len(runs) > 1:
                self._sorted = list(merge(self._sorted, *runs, key=sort_key))
            else:
                (self._sorted,) = runs
        return self._sorted

    def sort_in_steps(
        self,
        sort_key: Callable[[str], str] | None = None,
        exception: re.Pattern[str] | None = None,
    ) -> Iterator[None]:
        """
        Sort very many new keys for `sorted_keys`, and yield after each part of it.

        The dict may change between two parts.
        """
        if len(self) - len(self._sorted) <= MAX_STEP_KEYS:
            return
        if self._removed:
            self._forget_removed()
        before = self._sorted
        new = list(islice(reversed(self), len(self) - len(before)))
        runs = [
            new[start : start + MAX_STEP_KEYS]
            for start in range(0, len(new), MAX_STEP_KEYS)
        ]
        yield
        for run in runs:
            if exception is None or (self._is_plain and _contain(run, exception)):
                self._is_plain = False
            yield
        key = None if self._is_plain else sort_key
        for run in runs:
            run.sort(key=key)
            yield
        merged = yield from _merge_in_steps([before, *runs], key)
        if self._sorted is before:
            # What was removed since then is still counted.
            self._sorted = merged

    def parts_of_keys(self) -> Iterator[list[str]]:
        """
        Yield all keys in parts, in no order; the dict may change between two parts.

        Keys that are there from the first part to the last one are yielded, and more
        than once if others are removed.  After an empty part all keys come again,
        because it is not known where the next ones are.
        """
        rest, at, size = iter(self), 0, MAX_PART_KEYS
        ordered, removed, length = self._sorted, self._removed, len(self)
        while part := list(islice(rest, size)):
            yield part
            at += len(part)
            is_unknown = self._sorted is not ordered
            if (removed, length) == (self._removed, len(self)) and not is_unknown:
                continue
            # No iterator goes on after a change: the next one passes all keys again.
            # Removed keys moved the others forward.
            at = max(0, at - (self._removed - removed))
            if is_unknown:
                at = 0
                yield []
            ordered, removed, length = self._sorted, self._removed, len(self)
            rest, size = islice(self, at, None), MAX_PART_KEYS_OF_CHANGED

    def _forget_removed(self) -> None:
        # These contain all keys that were inserted, perhaps again, since the last sort.
        new = set(islice(reversed(self), len(self) - len(self._sorted) + self._removed))
        self._sorted = [key for key in self._sorted if key in self and key not in new]
        self._removed = 0


def _contain(keys: list[str], pattern: re.Pattern[str]) -> bool:
    runs = _runs(keys, MAX_JOINED_BYTES)
    return any(pattern.search("".join(run)) for run in runs)


def _merge_in_steps(
    runs: list[list[str]], key: Callable[[str], str] | None
) -> Generator[None, None, list[str]]:
    """Merge sorted lists; yield after each part of at most some MAX_STEP_KEYS."""
    # Between two samples that follow one another there are few keys of each run.
    step = max(1, MAX_STEP_KEYS // len(runs))
    samples = [sample for run in runs for sample in run[step::step]]
    samples.sort(key=key)
    bounds = samples[:: len(runs)]
    yield
    merged: list[str] = []
    starts = [0] * len(runs)
    for bound in (*bounds, None):
        ends = [*map(len, runs)]
        if bound is not None:
            value = bound if key is None else key(bound)
            ends = [bisect_right(run, value, key=key) for run in runs]
        part: list[str] = []
        for run, start, end in zip(runs, starts, ends, strict=True):
            part += run[start:end]
        # It consists of sorted runs, which the sort finds.
        part.sort(key=key)
        merged += part
        starts = ends
        yield
    return merged


def _inserted(
    ordered: list[str], new: list[str], sort_key: Callable[[str], str] | None
) -> list[str]:
    """Return a sorted list with a few new keys, found by a search for each."""
    merged: list[str] = []
    end = 0
    for key in sorted(new, key=sort_key):
        start, value = end, key if sort_key is None else sort_key(key)
        end = bisect_right(ordered, value, end, key=sort_key)
        merged += ordered[start:end]
        merged.append(key)
    return merged + ordered[end:]


def _runs(keys: list[str], max_bytes: int) -> Iterator[list[str]]:
    """Cut a list into runs of about a number of bytes."""
    start = size = 0
    for index, key in enumerate(keys):
        size += len(key)
        if size > max_bytes:
            yield keys[start : index + 1]
            start, size = index + 1, 0
    if start < len(keys):
        yield keys[start:]
