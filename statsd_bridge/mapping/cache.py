"""
A cache of matches, bounded in number and in bytes; the least recently used one goes.

A match may be far larger than its name, because rules choose the labels.
"""

from __future__ import annotations

from collections import OrderedDict
from sys import getsizeof

from statsd_bridge.mapping.rule import Match
from statsd_bridge.memory import Account
from statsd_bridge.model import CacheStats, SampleType

MAX_MATCH_BYTES = 16 * 1024
"""A larger match is not cached, so that it does not displace all others."""

MATCH_BYTES = 460
"""A match besides its texts: its key, its tuples and its place in the dict."""

TEXT_BYTES = 70
"""A label or a capture besides its text."""

Key = tuple[SampleType, str]


class MatchCache:
    """Matches by sample type and name, charged to `account`."""

    def __init__(self, size: int) -> None:
        self.account = Account()
        self._size = size
        self._bytes = 0
        self._entries: OrderedDict[Key, tuple[Match, int]] = OrderedDict()
        """Each match with its size."""
        self._gets = self._hits = 0

    @property
    def stats(self) -> CacheStats:
        """The number of matches, of look-ups, and of those that found a match."""
        return CacheStats(len(self._entries), self._gets, self._hits)

    def get(self, key: Key) -> Match | None:
        """Return the match of a name, if it is cached."""
        self._gets += 1
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._hits += 1
        if len(self._entries) >= self._size:
            self._entries.move_to_end(key)
        return entry[0]

    def add(self, key: Key, match: Match) -> None:
        """Add a match, and remove others if there is no room for it."""
        size = _match_size(key, match)
        if size > MAX_MATCH_BYTES or not self._size:
            return
        entries, before = self._entries, self._bytes
        if len(entries) >= self._size:
            self._bytes -= entries.popitem(last=False)[1][1]
        while entries and not self.account.has_room(self._bytes - before + size):
            self._bytes -= entries.popitem(last=False)[1][1]
        if self.account.has_room(self._bytes - before + size):
            self._bytes += size
            entries[key] = match, size
        self.account.charge(self._bytes - before)

    def release(self) -> None:
        """Give back what all matches were charged; they are not used any more."""
        self.account.release(self._bytes)
        self._bytes = 0

    def clear(self) -> None:
        """Remove all matches, whose charge is released already."""
        self._entries.clear()


def _match_size(key: Key, match: Match) -> int:
    """Return the estimated size of a match with its key."""
    _, untagged, _, _, captures = match
    size = MATCH_BYTES + getsizeof(key[1]) + getsizeof(untagged.name)
    for capture in captures:
        size += TEXT_BYTES + getsizeof(capture)
    for _, value in untagged.labels:
        size += TEXT_BYTES + getsizeof(value)
    return size
