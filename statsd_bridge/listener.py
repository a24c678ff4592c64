"""
The doors for statsd: UDP, and TCP.

The UDP door is a socket that the reactor watches, emptied a batch at a time: Twisted's
own hands over one datagram a call, this one drains the socket and hands over all.
The TCP door bounds connections, the length of a line and the time that one may idle.
They are handed functions and decide nothing about lines.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from statsd_bridge import datagram
from statsd_bridge.errors import BindError

Feed = Callable[[list[bytes]], None]

Tell = Callable[[str], None]
"""Counts what happens to connections, by the words of model.Tally.tcp."""

MOST_CONNECTIONS = 1_024
IDLE_SECONDS = 3_600
"""A client may be quiet for long, but what is lost for good must not stay open."""

BATCHES = 100
"""Batches that one `drain` takes at most, so that a scrape ends in a flood, too."""


@implementer(IReadDescriptor)
class Udp:
    """
    One UDP socket.  `feed` gets each batch; `failed` hears of a read error.

    A read error never closes the door.
    """

    def __init__(
        self,
        sock: socket.socket,
        feed: Feed,
        failed: Callable[[OSError], None],
    ) -> None:
        self._socket = sock
        self._feed = feed
        self._failed = failed

    @property
    def port(self) -> int:
        """The port that the kernel gave."""
        return int(self._socket.getsockname()[1])

    def fileno(self) -> int:
        """Tell the reactor what to watch."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Name this door in Twisted's log."""
        return "udp"

    def doRead(self) -> None:
        """Take one batch; the reactor calls again while there is more."""
        self._batch()

    def connectionLost(self, reason: Any) -> None:
        """Let go of the socket: the reactor stops."""
        self._socket.close()

    def drain(self) -> None:
        """Take all that the kernel has delivered until now."""
        for _ in range(BATCHES):
            if not self._batch():
                return

    def kernel_drops(self) -> int | None:
        """
        Count the datagrams that the kernel dropped as our buffer was full.

        The last column of /proc/net/udp, in the line of our socket; None elsewhere.
        """
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
            batch = datagram.receive(self._socket)
        except OSError as error:
            self._failed(error)
            return False
        self._feed(batch)
        return len(batch) == datagram.BATCH


class Tcp(Factory):
    """Connections that send lines.  `feed` gets the lines, `tell` what is counted."""

    noisy = False

    def __init__(
        self, feed: Feed, tell: Tell, *, most_connections: int = MOST_CONNECTIONS
    ) -> None:
        self.feed = feed
        self.tell = tell
        self.most_connections = most_connections
        self.connections = 0

    def buildProtocol(self, addr: Any) -> Protocol:
        """Make what reads one connection."""
        return _Connection(self)


class _Connection(Protocol, TimeoutMixin):
    """One connection, from its first byte to its last."""

    transport: Any

    def __init__(self, door: Tcp) -> None:
        self._door = door
        self._stream = datagram.Stream()
        self._refused = False

    def connectionMade(self) -> None:
        self._door.connections += 1
        if self._door.connections > self._door.most_connections:
            self._refused = True
            self._door.tell("connections_refused")
            self.transport.abortConnection()
            return
        self._door.tell("connections")
        self.setTimeout(IDLE_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        if self._refused:
            return
        self.resetTimeout()
        before = self._stream.too_long
        lines = self._stream.feed(data)
        for _ in range(self._stream.too_long - before):
            self._door.tell("too_long_lines")
        self._door.feed(lines)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        self._door.connections -= 1
        rest = self._stream.end()
        self._door.feed(rest)
        # As there: what is left of a line hides the error.
        if not (self._refused or rest or reason.check(ConnectionDone)):
            self._door.tell("connection_errors")


def bind(host: str, port: int, read_buffer: int) -> tuple[socket.socket, int]:
    """
    Open a non-blocking UDP socket; returns it and the buffer granted, in bytes.

    An empty host, or 0.0.0.0, is every interface, IPv4 and IPv6: only if asked for.
    """
    everywhere = host in ("", "0.0.0.0")  # noqa: S104
    if everywhere and socket.has_dualstack_ipv6():
        family, where = socket.AF_INET6, "::"
    else:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        where = host or "0.0.0.0"  # noqa: S104
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not everywhere)
        if read_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_buffer)
        sock.bind((where, port))
    except OSError as error:
        sock.close()
        raise BindError(
            f"--statsd.listen-udp: cannot listen on {host}:{port}:"
            f" {error.strerror or error}; choose a free address of this machine"
        ) from error
    granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    # Linux doubles what was asked for, to have room for its own bookkeeping.
    return sock, granted // 2 if os.uname().sysname == "Linux" else granted
