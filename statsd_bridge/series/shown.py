"""
The numbers of a histogram or a summary on its last page, kept as text for the next one.

Many series have no sample between two pages, most of all those of names without rules:
their count is the same, and so are all other numbers.
"""

from __future__ import annotations

from typing import Final

from statsd_bridge.memory import Account

SHOWN_BYTES: Final = 140
"""Kept numbers, without their text."""

OUTDATED: Final = -1
"""The count of numbers that have changed although no observation was made."""


class ShownNumbers:
    """Numbers of a page, and the count of the observations that they are of."""

    __slots__ = ("count", "text")

    def __init__(self, text: str, count: int) -> None:
        self.text = text
        self.count = count

    def size(self) -> int:
        """Return the bytes that are charged."""
        return SHOWN_BYTES + len(self.text)


def keep_numbers(
    old: ShownNumbers | None, text: str, count: int, kept: Account
) -> ShownNumbers | None:
    """Return numbers that replace older ones; None if `kept` has no room."""
    new = ShownNumbers(text, count)
    if old is not None:
        kept.release(old.size())
    return new if kept.reserve(new.size()) else None
