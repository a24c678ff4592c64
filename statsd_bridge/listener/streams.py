"""
Read lines from TCP and Unix stream connections, and feed them to the pipeline.

The number of connections, the length of a line and the idle time are bounded.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Hashable
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from statsd_bridge import datagram
from statsd_bridge.connections import Connections, peer_of_host
from statsd_bridge.fastpath import AnyPipeline
from statsd_bridge.listener.denials import Denials
from statsd_bridge.model import Clock

MAX_IDLE_SECONDS = 3_600
"""A silent connection is closed after this time: its peer may be gone."""

MIN_READ_BYTES, MAX_READ_BYTES = 4_096, 65_536
"""
Bounds of what is read from a connection at a time.  In batches of less a line costs
twice as much.
"""

FIRST_READ_BYTES = 8_192

MAX_DRAINED_BYTES = 16 * 1024 * 1024
"""What is read of a connection at a stop: more than the kernel keeps for it."""

MAX_ROUND_SECONDS = 0.1
"""
Time in which all connections that send much are read once, so that neither datagrams
nor scrapes wait longer: 64 KiB of 300 connections are 600,000 lines, most of a second.
"""

AnySplitter = datagram.LineSplitter | datagram.StreamSplitter


class StreamFactory(Factory):
    """
    The connections of one listener; `transport` is tcp or unixstream.

    One more than `max_connections` closes the one that Connections selects.  With
    `denials` a connection of a sender that it does not allow is closed at once.
    """

    noisy = False

    def __init__(
        self,
        pipeline: AnyPipeline,
        *,
        transport: str,
        max_connections: int,
        denials: Denials | None = None,
    ) -> None:
        self.connections: Connections[_Connection] = Connections()
        self.counters = pipeline.stats.tcp
        self._pipeline = pipeline
        self._transport = transport
        self._max_connections = max_connections
        self._denials = denials

    def buildProtocol(self, addr: Any) -> Protocol | None:
        """Return the reader of a connection; None makes the reactor close it."""
        if self._denials and not self._denials.senders.allows(addr.host):
            self._denials.record("tcp", addr.host, 1)
            return None
        while len(self.connections) >= self._max_connections:
            self.connections.quietest().give_up()
        return _Connection(self)

    def drain(self) -> None:
        """Read what each client has sent, up to MAX_DRAINED_BYTES."""
        for connection in self.connections.all():
            connection.drain()

    def feed(self, lines: list[bytes]) -> None:
        """Feed lines to the pipeline; a bug in it does not close the connection."""
        with self._pipeline.bugs.catch():
            self._pipeline.feed_lines(lines, self._transport)

    def new_splitter(self) -> AnySplitter:
        """Return what splits the bytes of one connection into lines."""
        # Datadog's clients send frames only to Unix sockets.
        if self._transport == "unixstream":
            return datagram.StreamSplitter()
        return datagram.LineSplitter()


class ReadSize:
    """
    How many bytes of one connection are read at a time.

    A read that is full tells that more is waiting.  Then the time since the last read
    is that of one round over all connections, and decides whether to read less or more.
    It is CPU time of this thread, which a busy machine does not stretch.
    """

    def __init__(self, clock: Clock = time.thread_time) -> None:
        self.bytes = FIRST_READ_BYTES
        self._clock = clock
        self._read_at = clock()

    def record(self, received: int) -> None:
        """Adapt the size after a read."""
        now = self._clock()
        round_seconds, self._read_at = now - self._read_at, now
        if received < self.bytes:
            return
        if round_seconds > MAX_ROUND_SECONDS:
            self.bytes = max(self.bytes // 2, MIN_READ_BYTES)
        elif round_seconds < MAX_ROUND_SECONDS / 2:
            self.bytes = min(self.bytes * 2, MAX_READ_BYTES)


class _Connection(Protocol, TimeoutMixin):
    transport: Any

    def __init__(self, listener: StreamFactory) -> None:
        self._listener = listener
        self._read_size = ReadSize()
        self._splitter = listener.new_splitter()
        self._received = 0

    def connectionMade(self) -> None:
        self._listener.connections.add(self, _peer(self.transport))
        self._listener.counters["connections"] += 1
        self.setTimeout(MAX_IDLE_SECONDS)
        # Twisted reads as much at a time.
        self.transport.bufferSize = self._read_size.bytes

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()
        self._received += len(data)
        self._read_size.record(len(data))
        self.transport.bufferSize = self._read_size.bytes
        before = self._splitter.too_long
        lines = self._splitter.feed(data)
        self._listener.connections.record_activity(self, is_used=bool(lines))
        too_long = self._splitter.too_long - before
        self._listener.counters["too_long_lines"] += too_long
        self._listener.feed(lines)
        if self._splitter.is_broken:
            self.transport.abortConnection()

    def drain(self) -> None:
        """Read what the client has sent; what happens to the connection comes later."""
        self._received = left = 0
        while left < MAX_DRAINED_BYTES:
            # It returns an error, or None whether or not anything was received.
            if self.transport.doRead() or self._received == left:
                return
            left = self._received

    def give_up(self) -> None:
        """
        End the connection at once, because its file is needed for another one.

        What it has sent is read before, and it may have ended by itself.
        """
        ended = self.transport.doRead()
        self._listener.connections.remove(self)
        if ended is None:
            self._listener.counters["connections_closed"] += 1
        self.transport.connectionLost(Failure(ended or ConnectionAborted()))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        self._listener.connections.remove(self)
        partial_line = self._splitter.end()
        self._listener.feed(partial_line)
        # Like statsd_exporter, a trailing partial line suppresses the error's count.
        is_closed = reason.check(ConnectionDone, ConnectionAborted)
        if self._splitter.is_broken or not (partial_line or is_closed):
            self._listener.counters["connection_errors"] += 1


def _peer(transport: Any) -> Hashable:
    """Return what identifies a client: its network address, or its process."""
    host = getattr(transport.getPeer(), "host", None)
    if host is not None:
        return peer_of_host(host)
    return _process_id(transport.getHandle())


def _process_id(sock: socket.socket) -> int:
    """Return the process that has connected to a Unix socket; 0 if it is unknown."""
    credentials = struct.Struct("3i")
    try:
        # Linux's alone: process, user, group.
        option = socket.SO_PEERCRED
        data = sock.getsockopt(socket.SOL_SOCKET, option, credentials.size)
    except (AttributeError, OSError):
        return 0
    process: int = credentials.unpack(data)[0]
    return process
