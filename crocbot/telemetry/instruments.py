"""
What the gateway holds to tell a number: memory only, nothing is sent here.

    inc, set, observe  -->  what is pending  -->  take, at the next flush

Rules:

- `inc`, `set` and `observe` never raise and never wait.  What is no plain, finite int
  or float of a sensible size is left out and counted in the counter `invalid`.
- Memory is bounded: a counter is one sum, a gauge one value, a timer a reservoir.
- A timer's count is exact.  Of n observations at most 512 are kept, each with an
  integer weight, and the weights add up to n.
- Owned by the event loop: another thread must hand its numbers over first.
"""

from __future__ import annotations

from random import Random

RESERVOIR = 512
"""Observations of one timer that are kept from one flush to the next."""

LARGEST = 2**53
"""Beyond it a float does not count by ones; no honest number gets there."""


class Counter:
    """A sum that only rises, since the last flush."""

    __slots__ = ("_invalid", "name", "pending")

    def __init__(self, name: str, invalid: Counter | None = None) -> None:
        self.name = name
        self.pending: float = 0
        self._invalid = invalid or self

    def inc(self, amount: float = 1) -> None:
        """Add to the sum."""
        if _is_number(amount) and 0 <= amount <= LARGEST - self.pending:
            self.pending += amount
        else:
            self._invalid.pending += 1

    def take(self) -> float:
        """Return the sum and start again at 0."""
        pending, self.pending = self.pending, 0
        return pending


class Gauge:
    """The last value; None until there is one."""

    __slots__ = ("_invalid", "changed", "name", "value")

    def __init__(self, name: str, invalid: Counter) -> None:
        self.name = name
        self.value: float | None = None
        self.changed = False
        self._invalid = invalid

    def set(self, value: float) -> None:
        """Replace the value."""
        if not _is_number(value) or not -LARGEST <= value <= LARGEST:
            self._invalid.inc()
            return
        # Adding 0 makes 0 of -0.0, whose sign the wire would take for a decrement.
        value += 0
        self.changed = self.changed or value != self.value
        self.value = value


class Timer:
    """Durations since the last flush, a fair sample of them when there are many."""

    __slots__ = ("_invalid", "_kept", "_random", "count", "name")

    def __init__(self, name: str, invalid: Counter, random: Random) -> None:
        self.name = name
        self.count = 0
        self._kept: list[float] = []
        self._invalid = invalid
        self._random = random

    def observe(self, seconds: float) -> None:
        """Add a duration; a negative one, from a clock that was set back, is 0."""
        if not _is_number(seconds) or not -LARGEST <= seconds <= LARGEST:
            self._invalid.inc()
            return
        self.count += 1
        if len(self._kept) < RESERVOIR:
            self._kept.append(max(seconds, 0))
            return
        # Algorithm R: each of the observations so far stays with the same probability.
        place = self._random.randrange(self.count)
        if place < RESERVOIR:
            self._kept[place] = max(seconds, 0)

    def take(self) -> list[tuple[float, int]]:
        """Return the kept seconds with their weights and start again empty."""
        kept, count = self._kept, self.count
        self._kept, self.count = [], 0
        return list(zip(kept, weights(count, len(kept)), strict=True))


def weights(count: int, kept: int) -> list[int]:
    """Share `count` observations among those kept: integers that add up to it."""
    if kept == 0:
        return []
    share, rest = divmod(count, kept)
    return [share + 1] * rest + [share] * (kept - rest)


def rate(weight: int) -> str:
    """
    Write the sampling rate that a receiver counts as exactly `weight` observations.

    Receivers cut off: int(1 / rate).  1/93 would come back as 92; aiming at the middle
    between two integers leaves no room for that, up to 2**50.
    """
    return repr(1 / (weight + 0.5))


def _is_number(value: object) -> bool:
    """Only the two exact types: their operators cannot raise.  NaN fails `<=`."""
    return type(value) is int or type(value) is float
