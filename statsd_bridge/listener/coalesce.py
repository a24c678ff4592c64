"""
How long datagrams wait in the kernel's buffer to be received together.

    rate        wait     reason
    low         none     each wake-up would still receive one datagram
    moderate    some ms  one wake-up receives many
    any         none     the buffer is small: a burst must fit in

A wait fills at most half of the buffer, at the measured rate or at ASSUMED_BURST_RATE,
whichever is higher, because senders come in bursts.
"""

from __future__ import annotations

from statsd_bridge.model import Clock

MAX_WAIT_SECONDS = 0.005
MIN_WAIT_SECONDS = 0.001
"""A shorter wait does not pay for its timer."""

MIN_GATHERED = 4
"""Datagrams that a wait must be expected to gather."""

ASSUMED_BURST_RATE = 400_000
"""
Datagrams per second that one sender reaches with sendmmsg over loopback on one core
(measured with benchmarks/sender.py).
"""

CHARGED_BYTES_PER_DATAGRAM = 832
"""Bytes of the buffer that Linux charges for a small datagram: 256 fill 212,992."""


class CoalescingDelay:
    """
    The delay of one socket.

    `receive_buffer` is the requested size; Linux holds twice as many bytes.
    """

    def __init__(self, receive_buffer: int, clock: Clock) -> None:
        self._capacity = 2 * receive_buffer // CHARGED_BYTES_PER_DATAGRAM
        self._clock = clock
        self._recorded_at = clock()
        self._rate = 0.0

    def record_batch(self, datagrams: int) -> None:
        """Measure the rate from the datagrams received since the last call."""
        now = self._clock()
        self._rate = datagrams / max(now - self._recorded_at, 1e-6)
        self._recorded_at = now

    def seconds(self) -> float:
        """Return how long the next datagrams may wait; 0 to receive them at once."""
        safe = self._capacity / 2 / max(self._rate, ASSUMED_BURST_RATE)
        seconds = min(MAX_WAIT_SECONDS, safe)
        if seconds < MIN_WAIT_SECONDS or self._rate * seconds < MIN_GATHERED:
            return 0.0
        return seconds
