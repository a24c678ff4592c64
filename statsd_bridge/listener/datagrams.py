"""
Read UDP and Unix datagram sockets in batches, and feed them to the pipeline.

Twisted's own UDP port makes one call per datagram; this reader takes all that wait.
"""

from __future__ import annotations

import socket
import sys
import time
from enum import Enum
from sys import getsizeof
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

from statsd_bridge import datagram
from statsd_bridge.fastpath import AnyPipeline
from statsd_bridge.listener import bind
from statsd_bridge.listener.denials import Denials
from statsd_bridge.log import RateLimitedLog
from statsd_bridge.model import Clock

# Linux: the memory of a socket (linux/sock_diag.h).
SO_MEMINFO = 55

MAX_DRAINED_BATCHES = 100
"""Batches of one `drain`, so that a scrape ends while a flood goes on."""

MAX_BATCHES_PER_ITERATION = 16
ITERATION_SECONDS = 0.005
"""
An iteration of the reactor reads for this time, or up to the batch that exceeds it.

While a thread computes, as in a reload, each iteration begins with a wait for it.
"""

MAX_HELD_BYTES = 16 * 1024 * 1024
"""What is held of a socket at a start while series are restored."""

MAX_WAIT_SECONDS = 0.010
"""
Only a relay has datagrams later by this: a page drains the sockets first.  With half of
it, a line takes 0.4 to 1 us more at 1,500 to 5,000 packets of 10 lines a second (python
-m benchmarks, shapes).
"""

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


class ReaderState(Enum):
    """
    When the socket is read next.

    An iteration of the reactor costs about as much for one datagram as for a hundred,
    so datagrams that come steadily are gathered.
    """

    IDLE = "when the reactor finds a datagram"
    COALESCING = "when a timer has expired; the reactor does not watch the socket"
    BUSY = "in the next iteration of the reactor, because the last batch was full"


class CoalescingDelay:
    """
    How long the datagrams of one socket wait to be received together.

        rate        wait     reason
        low         none     each wake-up would still receive one datagram
        moderate    some ms  one wake-up receives many
        any         none     the buffer is small: a burst must fit in

    A wait fills at most half of the buffer, at the measured rate or at
    ASSUMED_BURST_RATE, whichever is higher, because senders come in bursts.
    `receive_buffer` is the granted size; Linux holds twice as many bytes.
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


@implementer(IReadDescriptor)
class DatagramReader:
    """
    The reader of one socket; `receive_buffer` is the size that the kernel granted.

    With `denials` only the datagrams of its allowed senders reach the pipeline.
    Neither a read error nor a bug in the pipeline closes the socket.
    """

    def __init__(
        self,
        sock: socket.socket,
        pipeline: AnyPipeline,
        *,
        transport: str,
        receive_buffer: int,
        reactor: Any,
        denials: Denials | None = None,
    ) -> None:
        self.state = ReaderState.IDLE
        self.truncated = 0
        """Datagrams that were too large and lost their end."""
        self.received_at: float | None = None
        """When the last datagram was received, on the monotonic clock."""
        self._socket = sock
        self._is_unix = sock.family == socket.AF_UNIX
        self._pipeline = pipeline
        self._transport = transport
        self._errors = RateLimitedLog()
        self._reactor = reactor
        self._receiver: datagram.Receiver = (
            datagram.new_receiver(sock)
            if denials is None
            else datagram.new_allowed_receiver(sock, denials.senders)
        )
        self._denials = denials
        # The kernel queues only 10 datagrams of a Unix socket (net.unix.max_dgram_qlen)
        # and then blocks its senders, so these never wait.
        buffer = 0 if self._is_unix else receive_buffer
        self._delay = CoalescingDelay(buffer, reactor.seconds)
        self._timer: Any = None
        self._held: list[list[bytes]] | None = None
        """What was received before anything may be processed."""
        self._held_bytes = 0
        self._file = bind.SocketFile(sock) if self._is_unix else None

    def start(self) -> None:
        """Begin to receive."""
        self._reactor.addReader(self)
        # At shutdown the reactor closes only what it watches.
        self._reactor.addSystemEventTrigger("before", "shutdown", self._stop_timer)

    def drain(self) -> None:
        """Receive all that the kernel has delivered until now."""
        for _ in range(MAX_DRAINED_BATCHES):
            if not self._read_batch():
                return

    def hold(self) -> None:
        """
        Receive what the kernel has delivered, and process nothing until `release`.

        Beyond MAX_HELD_BYTES the rest waits in the kernel.
        """
        if self._held is None:
            self._held, self._held_bytes = [], 0
        while self._held_bytes < MAX_HELD_BYTES and self._read_batch():
            pass

    def release(self) -> None:
        """Process what was held."""
        held, self._held = self._held or [], None
        for batch in held:
            self._feed(batch)

    @property
    def has_backlog(self) -> bool:
        """Whether more datagrams wait than are read at once."""
        return self.state is ReaderState.BUSY

    def read_some(self) -> None:
        """Receive what the kernel has delivered, for ITERATION_SECONDS at most."""
        self._read_batches()

    def doRead(self) -> None:
        """Receive some batches, and decide when to read next."""
        is_full = self._read_batches()
        seconds = 0.0 if is_full else self._delay.seconds()
        if seconds:
            if self.state is not ReaderState.COALESCING:
                self._reactor.removeReader(self)
            self.state = ReaderState.COALESCING
            self._timer = self._reactor.callLater(seconds, self.doRead)
            return
        if self.state is ReaderState.COALESCING:
            self._reactor.addReader(self)
        self.state = ReaderState.BUSY if is_full else ReaderState.IDLE

    def _read_batches(self) -> bool:
        """Read until there is no more or time is over; return whether one was full."""
        end = self._reactor.seconds() + ITERATION_SECONDS
        for count in range(MAX_BATCHES_PER_ITERATION):
            if not self._read_batch():
                return count > 0
            if self._reactor.seconds() >= end:
                break
        return True

    def _read_batch(self) -> bool:
        """Feed one batch to the pipeline; return whether more may be waiting."""
        try:
            received = self._receiver.receive()
        except OSError as error:
            self._errors.error(f"{self._transport} cannot be read", error=str(error))
            return False
        except Exception as error:
            # Raised, it would close the socket.
            self._pipeline.bugs.report(error)
            return False
        batch = received.datagrams
        self.truncated += received.truncated
        self._delay.record_batch(len(batch) + received.denied)
        if received.denied and self._denials:
            self._denials.record("udp", received.denied_sender, received.denied)
        if batch:
            self.received_at = time.monotonic()
            if self._held is None:
                self._feed(batch)
            else:
                self._held.append(batch)
                self._held_bytes += sum(map(getsizeof, batch))
        return received.is_full

    def _feed(self, batch: list[bytes]) -> None:
        with self._pipeline.bugs.catch():
            self._pipeline.feed(batch, self._transport)

    def _stop_timer(self) -> None:
        if self.state is ReaderState.COALESCING:
            self._timer.cancel()
            self.state = ReaderState.IDLE
            self._reactor.addReader(self)

    def fileno(self) -> int:
        """Return the descriptor that the reactor watches."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Return the name of this reader in Twisted's log."""
        return "statsd"

    def connectionLost(self, reason: Any) -> None:
        """Close the socket and remove its file; called when the reactor stops."""
        self._stop_timer()
        if self._file is not None:
            self._file.remove()
        self._socket.close()

    def kernel_drops(self) -> int | None:
        """
        Return how many datagrams the kernel dropped because the buffer was full.

        None if the kernel does not count them, and for a Unix socket, whose senders
        wait instead.
        """
        if self._is_unix or sys.platform != "linux":
            return None
        try:
            info = self._socket.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
        except OSError:
            return None
        # Nine numbers of four bytes; the last one is SK_MEMINFO_DROPS.
        return int.from_bytes(info[32:], sys.byteorder)
