"""What was seen recently: bounded lists of names and lines, for the pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

from statsd_bridge.memory import Account
from statsd_bridge.model import Clock, Labels, Sample, SampleType

MAX_RECENT = 100
"""Capacity of a `Recent`; beyond it the key added least recently is dropped."""

RECENT_BYTES = 700
"""An entry of a `Recent`, about: its text is short or cut."""

MAX_RECENT_SAMPLES = 2_000
"""Capacity of `RecentSamples`; beyond it the first one added is dropped."""

MAX_SAMPLE_LENGTH = 1_024
"""Characters of name and labels of a sample that is remembered."""

MAX_SAMPLES_BYTES = 1024 * 1024
"""What all samples that are remembered take, and at most a quarter of the account."""

SAMPLE_BYTES = 400
LABEL_BYTES = 200
"""A sample besides its name and labels, and a label besides its text."""

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


SeenSample = tuple[SampleType, str, Labels]
"""What determines the series of a sample."""


class RecentSamples:
    """
    The types, names and tags of samples that were seen recently, without their values.

    They are charged to `account`; without room the oldest ones go.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._limit = min(MAX_SAMPLES_BYTES, account.limit // 4)
        self._used = 0
        self._sizes: dict[SeenSample, int] = {}

    def __iter__(self) -> Iterator[SeenSample]:
        return reversed(self._sizes)

    def add(self, sample: Sample) -> None:
        """Remember a sample, unless it is long."""
        key = sample.type, sample.name, sample.labels
        if key in self._sizes:
            return
        length = len(sample.name)
        for name, value in sample.labels:
            length += len(name) + len(value)
        if length > MAX_SAMPLE_LENGTH:
            return
        # A character takes up to four bytes.
        size = SAMPLE_BYTES + LABEL_BYTES * len(sample.labels) + 4 * length
        while self._sizes and not self._has_room(size):
            self._drop_oldest()
        if self._has_room(size):
            self._account.charge(size)
            self._used += size
            self._sizes[key] = size

    def _has_room(self, size: int) -> bool:
        return (
            len(self._sizes) < MAX_RECENT_SAMPLES
            and self._used + size <= self._limit
            and self._account.has_room(size)
        )

    def _drop_oldest(self) -> None:
        size = self._sizes.pop(next(iter(self._sizes)))
        self._account.release(size)
        self._used -= size
