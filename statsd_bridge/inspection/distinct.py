"""
Count distinct texts in bounded memory.

Exact up to MAX_KEPT texts.  Beyond it only texts whose hash is below a threshold are
kept, which is halved whenever they are too many again: the estimate is off by 1 % or 2.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_KEPT = 10_000
"""Hashes that are kept, about a megabyte."""

HASHES = 1 << 60


class DistinctCount:
    """The number of distinct texts that were added; at most `max_kept` are kept."""

    def __init__(self, max_kept: int = MAX_KEPT) -> None:
        self._max_kept = max_kept
        self._kept: set[int] = set()
        self._threshold = HASHES

    def add(self, texts: Iterable[str]) -> None:
        """Add texts."""
        kept, threshold = self._kept, self._threshold
        kept.update(
            [
                number
                for each in map(hash, texts)
                if (number := each & (HASHES - 1)) < threshold
            ]
        )
        while len(kept) > self._max_kept:
            threshold //= 2
            kept = {number for number in kept if number < threshold}
        self._kept, self._threshold = kept, threshold

    @property
    def is_exact(self) -> bool:
        """Whether the number is not an estimate."""
        return self._threshold == HASHES

    @property
    def count(self) -> int:
        """The number, or an estimate."""
        return len(self._kept) * HASHES // self._threshold
