"""
Doors that take streams of lines: TCP, Unix.

Bounded are the connections, the length of a line and the time that one may idle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from statsd_bridge import datagram

Feed = Callable[[list[bytes]], None]

Tell = Callable[[str], None]
"""
Counts what happens to connections: connections, connection_errors, too_long_lines,
connections_refused.
"""

IDLE_SECONDS = 3_600
"""A client may be quiet for long, but what is lost for good must not stay open."""


class Streams(Factory):
    """Connections that send lines.  `feed` gets the lines, `tell` what is counted."""

    noisy = False

    def __init__(self, feed: Feed, tell: Tell, *, most_connections: int) -> None:
        self.feed = feed
        self.tell = tell
        self.most_connections = most_connections
        self.connections = 0

    def buildProtocol(self, addr: Any) -> Protocol | None:
        """Make what reads one connection; None: one too many, to be closed at once."""
        if self.connections >= self.most_connections:
            self.tell("connections_refused")
            return None
        return _Connection(self)


class _Connection(Protocol, TimeoutMixin):
    """One connection, from its first byte to its last."""

    transport: Any

    def __init__(self, door: Streams) -> None:
        self._door = door
        self._stream = datagram.Stream()

    def connectionMade(self) -> None:
        self._door.connections += 1
        self._door.tell("connections")
        self.setTimeout(IDLE_SECONDS)

    def dataReceived(self, data: bytes) -> None:
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
        if not (rest or reason.check(ConnectionDone)):
            self._door.tell("connection_errors")
