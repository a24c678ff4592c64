"""
Doors that take datagrams: UDP, Unix.

A door is a socket that the reactor watches, emptied a batch at a time: Twisted's own
hands over one datagram a call, this one drains the socket and hands over all.

    idle      the reactor watches; nothing is done until a datagram comes
    resting   datagrams come steadily: they wait in the kernel, a few milliseconds, and
              are taken together, since a turn of the reactor costs 60 us whether it
              takes one or a hundred
    busy      a batch was full: no rest until one is not

Who wants to know all that has come calls `drain`; a scrape does.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

from statsd_bridge import datagram
from statsd_bridge.listener.coalesce import CoalescingDelay

Feed = Callable[[list[bytes]], None]

BATCHES = 100
"""Batches that one `drain` takes at most, so that a scrape ends in a flood, too."""


@implementer(IReadDescriptor)
class Datagrams:
    """
    One socket for datagrams.  `feed` gets each batch; `failed` hears of a read error.

    A read error never closes the door.  `granted` are the bytes of its buffer.  `cut`
    counts datagrams that were too large and lost their end.
    """

    def __init__(
        self,
        sock: socket.socket,
        feed: Feed,
        failed: Callable[[OSError], None],
        reactor: Any,
        granted: int = 0,
    ) -> None:
        self.cut = 0
        self._socket = sock
        self._feed = feed
        self._failed = failed
        self._reactor = reactor
        self._receive = datagram.receiver(sock)
        # Of a Unix socket the kernel keeps 10 datagrams, whatever their bytes are
        # (net.unix.max_dgram_qlen): it never rests, or senders wait or give up.
        self._rest = CoalescingDelay(0 if self._is_unix() else granted, reactor.seconds)
        self._resting: Any = None

    def open(self) -> None:
        """Begin to receive."""
        self._reactor.addReader(self)
        # The reactor closes what it watches.
        self._reactor.addSystemEventTrigger("before", "shutdown", self._wake)

    @property
    def port(self) -> int:
        """The UDP port that the kernel gave."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """Tell the reactor what to watch."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Name this door in Twisted's log."""
        return "statsd"

    def doRead(self) -> None:
        """Take one batch; the reactor calls again while there is more."""
        if self._batch():
            return
        seconds = self._rest.seconds()
        if seconds:
            self._reactor.removeReader(self)
            self._resting = self._reactor.callLater(seconds, self._rested)

    def _rested(self) -> None:
        """Take what came meanwhile; rest again, or watch if it was little or much."""
        seconds = 0.0 if self._batch() else self._rest.seconds()
        if seconds:
            self._resting = self._reactor.callLater(seconds, self._rested)
        else:
            self._resting = None
            self._reactor.addReader(self)

    def _wake(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
            self._reactor.addReader(self)

    def connectionLost(self, reason: Any) -> None:
        """Let go of the socket, and of its file: the reactor stops."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        path = self._socket.getsockname() if self._is_unix() else b""
        self._socket.close()
        # An abstract name is bytes, and goes with its socket.
        if isinstance(path, str) and path:
            Path(path).unlink(missing_ok=True)

    def _is_unix(self) -> bool:
        return self._socket.family == socket.AF_UNIX

    def drain(self) -> None:
        """Take all that the kernel has delivered until now."""
        for _ in range(BATCHES):
            if not self._batch():
                return

    def kernel_drops(self) -> int | None:
        """
        Count the datagrams that the kernel dropped as our buffer was full.

        The last column of /proc/net/udp, in the line of our socket; None where there is
        no such table.  A Unix socket drops nothing: its sender waits.
        """
        if self._is_unix():
            return None
        inode = str(os.fstat(self.fileno()).st_ino)
        six = self._socket.family == socket.AF_INET6
        try:
            table = Path("/proc/net/udp6" if six else "/proc/net/udp").read_text()
        except OSError:
            return None
        for row in table.splitlines()[1:]:
            columns = row.split()
            # sl local remote st tx:rx tr:tm retrnsmt uid timeout inode ref ptr drops
            if len(columns) >= 13 and columns[9] == inode:
                return int(columns[12])
        return None

    def _batch(self) -> bool:
        """Take one batch; tell whether there may be more."""
        try:
            received = self._receive()
        except OSError as error:
            self._failed(error)
            return False
        batch = received.datagrams
        self.cut += received.cut
        self._rest.took(len(batch))
        if batch:
            self._feed(batch)
        return len(batch) == datagram.BATCH
