"""What was seen recently: bounded lists of names and lines, for the pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from statsd_bridge.memory import Account
from statsd_bridge.model import Clock

MAX_RECENT = 100
"""Capacity of a `Recent`; beyond it the key added least recently is dropped."""

RECENT_BYTES = 700
"""An entry of a `Recent`, about: its text is short or cut."""

Key = TypeVar("Key", bound=tuple[str | bytes, str])


class Occurrences(NamedTuple):
    """How often something was seen, and when last, in seconds of Unix time."""

    times: int
    last_seen: float


class Recent(Generic[Key]):
    """
    The most recently added pairs of a text and a word, each with its occurrences.

    They are charged to `account`; without room the oldest ones go.
    """

    def __init__(
        self, account: Account | None = None, wall_clock: Clock = time.time
    ) -> None:
        self._account = account or Account()
        self._wall_clock = wall_clock
        self._seen: dict[Key, Occurrences] = {}

    def add(self, key: Key, count: int = 1) -> None:
        """Add a pair as the newest one, `count` times."""
        seen = self._seen
        # Removed and inserted again, it is the last in the order of a dict.
        known = seen.pop(key, None)
        if known is not None:
            count += known.times
        elif not self._make_room():
            return
        seen[key] = Occurrences(count, self._wall_clock())

    def newest_first(self) -> Iterator[tuple[Key, Occurrences]]:
        """Yield each pair with its occurrences."""
        return reversed(self._seen.items())

    def _make_room(self) -> bool:
        """Return whether there is room for an entry, if need be that of the oldest."""
        seen = self._seen
        if len(seen) < MAX_RECENT and self._account.reserve(RECENT_BYTES):
            return True
        if not seen:
            return False
        del seen[next(iter(seen))]
        return True
