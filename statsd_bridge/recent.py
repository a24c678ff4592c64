"""What was seen lately, each thing once, with a count: bounded in number and size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

MOST = 100
"""Things remembered; the one that was seen longest ago makes room."""

LONGEST = 256
"""Bytes, or characters, of a text that are remembered."""

Key = TypeVar("Key")


class Recent(Generic[Key]):
    """
    The last distinct things.

    A count is of how often a thing was seen since it is remembered.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._counts: dict[Key, int] = {}

    def add(self, key: Key, count: int = 1) -> None:
        """Remember a thing as the newest."""
        counts = self._counts
        # Taken out and put in again, it is the last in the order of a dict.
        counts[key] = counts.pop(key, 0) + count
        if len(counts) > self._most:
            del counts[next(iter(counts))]

    def newest_first(self) -> Iterator[tuple[Key, int]]:
        """Yield each thing and its count."""
        return reversed(self._counts.items())
