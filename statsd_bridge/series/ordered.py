"""
A dict whose keys come and go, and are seen in order when somebody looks.

    arrival     b d a c            look: a b c d
    arrival     b d a c | e        only e is sorted, then two sorted runs are merged

Sorting all keys whenever a page is made would take a second for a million; merging what
is new since the last look into what was sorted then takes 25 ns a key.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, TypeVar

Value = TypeVar("Value")


class Ordered(dict[str, Value]):
    """Take a key out with `remove`, and with nothing else."""

    __slots__ = ("_look", "_removed")

    def __init__(self) -> None:
        super().__init__()
        self._look: list[str] = []
        self._removed = 0

    def remove(self, key: str) -> None:
        """Take a key out."""
        del self[key]
        self._removed += 1

    def in_order(self, rank: Any = None) -> list[str]:
        """
        List the keys, ascending, or by their rank; never change this list.

        A list that was given before stays as it was, so one may go through it slowly;
        what it names may be gone.
        """
        # A dict keeps the order of arrival: what is new since the last look is last.
        fresh = list(
            islice(reversed(self), len(self) - len(self._look) + self._removed)
        )
        if self._removed:
            old = [key for key in self._look if key in self]
            # What went and came back is fresh.
            self._look = list(dict.fromkeys(old + fresh)) if fresh else old
            self._removed = 0
        elif fresh:
            self._look = self._look + fresh
        if fresh:
            # Timsort finds the sorted run by itself.
            self._look.sort(key=rank)
        return self._look
