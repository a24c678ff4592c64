"""
How long datagrams may wait in the kernel: its buffer and their rate in, seconds out.

    rate       |  wait            why
    low        |  none            nothing to gain: one wake takes one datagram
    moderate   |  some ms         one wake takes many
    any        |  none            the kernel granted little: a burst must fit in

A wait never fills more than half the buffer, at the rate measured or at the highest
that one sender reaches, whichever is more: senders come in bursts.
"""

from __future__ import annotations

from collections.abc import Callable

LONGEST_SECONDS = 0.005
SHORTEST_SECONDS = 0.001
"""What is shorter is not worth a timer."""

WORTHWHILE = 4
"""Datagrams that a wait must be expected to gather."""

HIGHEST_RATE = 400_000
"""Datagrams a second that one core can send with sendmmsg over loopback."""

DATAGRAM_BYTES = 832
"""What Linux charges a socket's buffer for a small datagram: 256 fill 212,992."""


class CoalescingDelay:
    """
    Decides for one socket.  `granted` are the bytes that its buffer was asked for.

    Linux keeps twice as much, for its own bookkeeping.
    """

    def __init__(self, granted: int, clock: Callable[[], float]) -> None:
        self._capacity = 2 * granted // DATAGRAM_BYTES
        self._clock = clock
        self._last = clock()
        self._rate = 0.0

    def took(self, datagrams: int) -> None:
        """Note that so many had come since the last time."""
        now = self._clock()
        self._rate = datagrams / max(now - self._last, 1e-6)
        self._last = now

    def seconds(self) -> float:
        """Tell how long the next ones may wait; 0 for not at all."""
        safe = self._capacity / 2 / max(self._rate, HIGHEST_RATE)
        seconds = min(LONGEST_SECONDS, safe)
        if seconds < SHORTEST_SECONDS or self._rate * seconds < WORTHWHILE:
            return 0.0
        return seconds
