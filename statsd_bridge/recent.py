"""Recently seen things, each once with a count: bounded in number and size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

MAX_RECENT = 100
"""Things kept; the one that was not seen for the longest time is dropped."""

MAX_TEXT_LENGTH = 256
"""Bytes or characters kept of a text."""

Key = TypeVar("Key")


class Recent(Generic[Key]):
    """The last distinct things, each with how often it was seen since it is kept."""

    def __init__(self, max_length: int = MAX_RECENT) -> None:
        self._max_length = max_length
        self._counts: dict[Key, int] = {}

    def add(self, key: Key, count: int = 1) -> None:
        """Add a thing as the newest one."""
        counts = self._counts
        # Removed and inserted again, it is the last in the order of a dict.
        counts[key] = counts.pop(key, 0) + count
        if len(counts) > self._max_length:
            del counts[next(iter(counts))]

    def newest_first(self) -> Iterator[tuple[Key, int]]:
        """Yield each thing with its count."""
        return reversed(self._counts.items())
