"""The doors for streams: lines, bounds and what is counted."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure

from statsd_bridge.listener import Streams
from statsd_bridge.listener.streams import IDLE_SECONDS


class Tcp:
    """A TCP door in memory: what came, and what was counted."""

    def __init__(self, most_connections: int = 10) -> None:
        self.lines: list[bytes] = []
        self.told: list[str] = []
        self.door = Streams(
            self.lines.extend, self.told.append, most_connections=most_connections
        )

    def connect(self) -> tuple[Protocol, StringTransportWithDisconnection]:
        """Open a connection."""
        protocol = self.door.buildProtocol(None)
        protocol.callLater = Clock().callLater
        transport = StringTransportWithDisconnection()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return protocol, transport


def test_lines_come_over_tcp_and_the_last_needs_no_newline() -> None:
    """A connection that ends in good order loses nothing."""
    tcp = Tcp()
    connection, transport = tcp.connect()
    connection.dataReceived(b"a:1|c\nb:2")
    connection.dataReceived(b"|c")
    transport.loseConnection()

    assert tcp.lines == [b"a:1|c", b"b:2|c"]
    assert tcp.told == ["connections"]


def test_a_line_that_is_too_long_is_counted_and_the_connection_goes_on() -> None:
    """The next line is read."""
    tcp = Tcp()
    connection, _ = tcp.connect()
    connection.dataReceived(b"x" * 5000 + b"\na:1|c\n")

    assert tcp.lines == [b"a:1|c"]
    assert tcp.told == ["connections", "too_long_lines"]


def test_connections_are_bounded() -> None:
    """One too many is closed and counted; when one ends there is room again."""
    tcp = Tcp(most_connections=1)
    _, first = tcp.connect()
    refused = tcp.door.buildProtocol(None)
    first.loseConnection()
    tcp.connect()

    assert refused is None
    assert tcp.told == ["connections", "connections_refused", "connections"]


def test_a_connection_that_idles_is_closed() -> None:
    """Its time is over when nothing came for the bound."""
    tcp = Tcp()
    clock = Clock()
    protocol = tcp.door.buildProtocol(None)
    protocol.callLater = clock.callLater
    transport = StringTransportWithDisconnection()
    transport.protocol = protocol
    protocol.makeConnection(transport)
    clock.advance(IDLE_SECONDS - 1)
    assert transport.connected

    clock.advance(2)
    assert not transport.connected


def test_an_error_of_a_connection_is_counted() -> None:
    """A reset is one, unless part of a line was left."""
    tcp = Tcp()
    for rest in (b"", b"a:1|c"):
        connection, _ = tcp.connect()
        connection.dataReceived(rest)
        connection.connectionLost(Failure(ConnectionLost()))

    assert tcp.told == ["connections", "connection_errors", "connections"]
    assert tcp.lines == [b"a:1|c"]
