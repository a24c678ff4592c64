"""
The connections of the HTTP server, and their bounds: number, time, size of a head.

    accept --> _BoundedConnection --> (TLS) --> HttpConnection --> requests

Like Go's server, it reads lines that end with a bare newline, and responds to a client
that has closed its side after its request, as `nc -N` does.
"""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from zope.interface import implementer

from statsd_bridge.connections import Connections, peer_of_host
from statsd_bridge.model import Stats

MAX_IDLE_SECONDS = 180
"""A connection without any bytes for this long is closed."""

REQUEST_SECONDS = 30
"""A request, and the TLS handshake, must be complete within this time."""

MAX_CONTENT_LENGTH = (1 << 63) - 1
"""The largest Content-Length that Go reads."""

BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\n\r\n400 Bad Request"
)

_NOT_ASCII = re.compile(rb"[\x80-\xff]")

_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""The characters that the value of a header must not have."""


@implementer(IHalfCloseableProtocol)
class _BoundedConnection(ProtocolWrapper):
    """A connection below TLS and HTTP that reports its activity to the factory."""

    factory: Any
    transport: Any

    def dataReceived(self, data: bytes) -> None:
        self.factory.connections.record_activity(self)
        super().dataReceived(data)

    def write(self, data: bytes) -> None:
        self.factory.connections.record_activity(self)
        super().write(data)

    def record_request(self) -> None:
        """Note that a request is complete; HTTP above TLS calls it through TLS."""
        self.factory.connections.record_activity(self, is_used=True)

    def readConnectionLost(self) -> None:
        """Pass on that the client has closed its side; in TLS that is the end."""
        # TLS claims to provide what is below it, IHalfCloseableProtocol too.
        if isinstance(self.wrappedProtocol, HttpConnection):
            self.wrappedProtocol.readConnectionLost()
        else:
            self.transport.connectionLost(Failure(ConnectionDone()))

    def writeConnectionLost(self) -> None:
        """Do nothing: the bridge never closes only its own side."""


class BoundedFactory(WrappingFactory):
    """At most `max_connections`; one more closes the one that Connections selects."""

    noisy = False
    protocol: Any = _BoundedConnection

    def __init__(self, factory: Any, max_connections: int, stats: Stats) -> None:
        super().__init__(factory)
        self.connections: Connections[_BoundedConnection] = Connections()
        self._max_connections = max_connections
        self._stats = stats

    def buildProtocol(self, addr: Any) -> Any:
        if len(self.connections) >= self._max_connections:
            quietest = self.connections.quietest()
            self.connections.remove(quietest)
            # At once, not in the next iteration of the reactor: this one may accept a
            # hundred more connections, and open files are few.
            quietest.transport.connectionLost(Failure(ConnectionAborted()))
            self._stats.http_closed += 1
        return super().buildProtocol(addr)

    def registerProtocol(self, connection: _BoundedConnection) -> None:
        host = getattr(connection.getPeer(), "host", "")
        self.connections.add(connection, peer_of_host(str(host)))

    def unregisterProtocol(self, connection: _BoundedConnection) -> None:
        self.connections.remove(connection)


@implementer(IHalfCloseableProtocol)
class HttpConnection(HTTPChannel):
    """One connection; a request that is not complete in time closes it."""

    delimiter = b"\n"
    site: Any
    transport: Any
    _deadline: Any = None
    _current: Any = None
    """The request that is complete and whose response is not."""
    _received = b""
    """What the client has sent after a request whose response is complete."""
    _is_half_closed = _is_lost = False
    _is_blocked = False
    """Whether the client does not take what the transport has to send."""
    request_line = b""
    """The first line of the request that is being received."""
    _reads_on = True
    """Whether the next request is read, which waits while the client is blocked."""
    _is_in_head = False
    """Whether a request line has been received, and the rest of the head has not."""

    def connectionMade(self) -> None:
        self._start_deadline()
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if self.transport.disconnecting:
            # TLS delivers what it has received, also after a response that is the last.
            return
        if self._deadline is None and not self.requests:
            self._start_deadline()
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        if line and not self._is_in_head:
            self._is_in_head = True
            # Like in Go, a target may have such bytes, as curl sends them.
            line = _NOT_ASCII.sub(lambda found: b"%%%02X" % found[0][0], line)
            self.request_line = line
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse()

    def headerReceived(self, line: bytes) -> bool:
        if self._is_repeated_length(line):
            return True
        try:
            is_valid: bool = super().headerReceived(line)
        except ValueError:
            # Python reads no number of more than 4,300 digits.
            is_valid = False
        is_too_large = (self.length or 0) > MAX_CONTENT_LENGTH
        if is_valid and not is_too_large and not _CONTROL.search(line):
            return True
        if not self.transport.disconnecting:
            self.refuse()
        return False

    def _is_repeated_length(self, line: bytes) -> bool:
        """Return whether a header is the same Content-Length again (RFC 9110, 8.6)."""
        name, _, value = line.partition(b":")
        known = self.requests[-1].requestHeaders.getRawHeaders(b"content-length")
        return name.lower() == b"content-length" and known == [value.strip(b" \t")]

    def rawDataReceived(self, data: bytes) -> None:
        super().rawDataReceived(data)
        if self._is_chunk_malformed() and not self.transport.disconnecting:
            self.refuse()

    def _is_chunk_malformed(self) -> bool:
        """
        Return whether a line between chunks ends with a bare newline.

        Twisted would wait for the end of that line; like Go, the bridge does not.
        """
        state = getattr(self._transferDecoder, "state", "")
        # What is buffered in these states is a line without its end.
        is_line = state in ("CHUNK_LENGTH", "TRAILER")
        return is_line and b"\n" in getattr(self._transferDecoder, "_buffer", b"")

    def refuse(self) -> None:
        """Respond to a malformed head or body, and close the connection."""
        self.transport.write(BAD_REQUEST)
        self.loseConnection()

    def allContentReceived(self) -> None:
        self._cancel_deadline()
        self._current = self.requests[-1]
        self._is_in_head = False
        self.transport.record_request()
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        self._current = None
        # What follows is read in the next iteration of the reactor: a client that sends
        # many requests at once must not hold up the others.
        self.paused = True
        super().requestDone(request)
        self._received = self.clearLineBuffer()
        if self._received and not self.transport.disconnecting:
            self.transport.pauseProducing()
            self.callLater(0, self._read_on)
        else:
            self.paused = False
            self._close_if_half_closed()

    def _read_on(self) -> None:
        """Read the next request; then let the transport read."""
        if self._is_lost:
            return
        self._reads_on = not self._is_blocked
        if not self._reads_on:
            # Responses that the client does not read must not become more.
            return
        self.paused = False
        self.dataReceived(self._received + self.clearLineBuffer())
        self._close_if_half_closed()
        if not (self.paused or self._is_blocked or self.transport.disconnecting):
            self.transport.resumeProducing()

    def pauseProducing(self) -> None:
        self._is_blocked = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self._is_blocked = False
        super().resumeProducing()
        if self.paused:
            self.transport.pauseProducing()
        if not self._reads_on:
            self._reads_on = True
            self.callLater(0, self._read_on)

    def readConnectionLost(self) -> None:
        """Respond to what is complete, refuse what is not or waits; then close."""
        self._is_half_closed = True
        if self._current is not None:
            self._current.stop_waiting()
        self._close_if_half_closed()

    def writeConnectionLost(self) -> None:
        """Do nothing: the bridge never closes only its own side."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        self._cancel_deadline()
        super().connectionLost(reason)

    def _close_if_half_closed(self) -> None:
        is_busy = self._current is not None or self.paused
        if is_busy or not self._is_half_closed or self.transport.disconnecting:
            return
        if self.requests:
            # The rest of a request does not come.
            self.refuse()
        else:
            self.loseConnection()

    def _start_deadline(self) -> None:
        self._deadline = self.callLater(REQUEST_SECONDS, self._expire)

    def _expire(self) -> None:
        self._deadline = None
        self.forceAbortClient()

    def _cancel_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()
