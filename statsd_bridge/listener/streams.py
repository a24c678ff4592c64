"""
Read lines from TCP and Unix stream connections, and feed them to the pipeline.

The number of connections, the length of a line and the idle time are bounded.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from statsd_bridge import datagram
from statsd_bridge.fastpath import AnyPipeline

MAX_IDLE_SECONDS = 3_600
"""A silent connection is closed after this time: its peer may be gone."""


class StreamFactory(Factory):
    """The connections of one listener; `transport` is tcp or unixstream."""

    noisy = False

    def __init__(
        self, pipeline: AnyPipeline, *, transport: str, max_connections: int
    ) -> None:
        self.connections = 0
        self.counters = pipeline.stats.tcp
        self._pipeline = pipeline
        self._transport = transport
        self._max_connections = max_connections

    def buildProtocol(self, addr: Any) -> Protocol | None:
        """Return the reader of a connection, or None to close one too many."""
        if self.connections >= self._max_connections:
            self.counters["connections_refused"] += 1
            return None
        return _Connection(self)

    def feed(self, lines: list[bytes]) -> None:
        """Feed lines to the pipeline; a bug in it does not close the connection."""
        with self._pipeline.bugs.catch():
            self._pipeline.feed_lines(lines, self._transport)


class _Connection(Protocol, TimeoutMixin):
    transport: Any

    def __init__(self, listener: StreamFactory) -> None:
        self._listener = listener
        self._splitter = datagram.LineSplitter()

    def connectionMade(self) -> None:
        self._listener.connections += 1
        self._listener.counters["connections"] += 1
        self.setTimeout(MAX_IDLE_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()
        before = self._splitter.too_long
        lines = self._splitter.feed(data)
        too_long = self._splitter.too_long - before
        self._listener.counters["too_long_lines"] += too_long
        self._listener.feed(lines)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)
        self._listener.connections -= 1
        partial_line = self._splitter.end()
        self._listener.feed(partial_line)
        # Like statsd_exporter, a trailing partial line suppresses the error's count.
        if not (partial_line or reason.check(ConnectionDone)):
            self._listener.counters["connection_errors"] += 1
