"""
What the last page showed of a histogram or a summary, kept for the next one.

It is the text of its numbers, or after a page in protobuf its metric.

Many series have no sample between two pages, most of all those of names without rules:
their count is the same, and so are all other numbers.
"""

from __future__ import annotations

from typing import Final

from statsd_bridge.memory import Account

SHOWN_BYTES: Final = 150
"""Kept numbers, without their text or metric."""

OUTDATED: Final = -1
"""The count of numbers that have changed although no observation was made."""


class ShownNumbers:
    """
    Numbers of a page, and the count of the observations that they are of.

    They are the text, the encoded metric, or both if both formats are asked for.
    """

    __slots__ = ("count", "encoded", "text")

    def __init__(self, count: int, *, text: str = "", encoded: bytes = b"") -> None:
        self.count = count
        self.text = text
        self.encoded = encoded

    def size(self) -> int:
        """Return the bytes that are charged."""
        return SHOWN_BYTES + len(self.text) + len(self.encoded)


def keep_numbers(
    old: ShownNumbers | None, new: ShownNumbers, kept: Account
) -> ShownNumbers | None:
    """Return numbers that replace older ones; None if `kept` has no room."""
    if old is not None:
        kept.release(old.size())
        if old.count == new.count:
            new.text = new.text or old.text
            new.encoded = new.encoded or old.encoded
    return new if kept.reserve(new.size()) else None
