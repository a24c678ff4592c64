"""
A cache of matches, bounded in number and in bytes; the least recently used one goes.

A match may be far larger than its name, because rules choose the labels.
"""

from __future__ import annotations

from sys import getsizeof

from statsd_bridge.mapping.rule import Match
from statsd_bridge.memory import Account
from statsd_bridge.model import CacheStats, SampleType

MAX_MATCH_BYTES = 16 * 1024
"""A larger match is not cached, so that it does not displace all others."""

MATCH_BYTES = 520
"""A match besides its texts: its key, its tuples and its place in the dict."""

TEXT_BYTES = 80
"""A label or a capture besides its text."""

Key = tuple[SampleType, str]


class MatchCache:
    """Matches by sample type and name, charged to `account`."""

    def __init__(self, size: int) -> None:
        self.account = Account()
        self._size = size
        self._bytes = 0
        self._matches: dict[Key, Match] = {}
        self._gets = self._hits = 0

    @property
    def stats(self) -> CacheStats:
        """The number of matches, of look-ups, and of those that found a match."""
        return CacheStats(len(self._matches), self._gets, self._hits)

    def get(self, key: Key) -> Match | None:
        """Return the match of a name, if it is cached."""
        self._gets += 1
        matches = self._matches
        match = matches.get(key)
        if match is not None:
            self._hits += 1
            if len(matches) >= self._size:
                # Inserted again it is the last to go.
                del matches[key]
                matches[key] = match
        return match

    def add(self, key: Key, match: Match) -> None:
        """Add a match, and remove others if there is no room for it."""
        size = _match_size(key, match)
        if size > MAX_MATCH_BYTES or not self._size:
            return
        matches, account = self._matches, self.account
        while matches and (len(matches) >= self._size or not account.has_room(size)):
            oldest = next(iter(matches))
            self._charge(-_match_size(oldest, matches.pop(oldest)))
        if account.has_room(size):
            self._charge(size)
            matches[key] = match

    def release(self) -> None:
        """Give back what all matches were charged; they are not used any more."""
        self._charge(-self._bytes)

    def clear(self) -> None:
        """Remove all matches, whose charge is released already."""
        self._matches.clear()

    def _charge(self, size: int) -> None:
        self._bytes += size
        self.account.charge(size)


def _match_size(key: Key, match: Match) -> int:
    """Return the estimated size of a match with its key."""
    texts = [*match.captures, *(value for _, value in match.untagged.labels)]
    return (
        MATCH_BYTES
        + getsizeof(key[1])
        + getsizeof(match.untagged.name)
        + sum(TEXT_BYTES + getsizeof(each) for each in texts)
    )
