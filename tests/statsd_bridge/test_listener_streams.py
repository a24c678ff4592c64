"""Readers of streams: lines, bounds and what is counted."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure

from statsd_bridge.listener import StreamFactory
from statsd_bridge.listener.streams import MAX_IDLE_SECONDS
from tests.statsd_bridge.in_memory import FakePipeline


class Tcp(StreamFactory):
    """A listener in memory."""

    def __init__(self, max_connections: int = 10) -> None:
        self.pipeline: Any = FakePipeline()
        self.clock = Clock()
        super().__init__(
            self.pipeline,
            transport="tcp",
            max_connections=max_connections,
        )

    def connect(self) -> tuple[Protocol, StringTransportWithDisconnection]:
        """Open a connection."""
        protocol: Any = self.buildProtocol(None)
        protocol.callLater = self.clock.callLater
        transport = StringTransportWithDisconnection()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return protocol, transport

    @property
    def counted(self) -> dict[str, int]:
        """The counters that are not 0."""
        return {name: count for name, count in self.counters.items() if count}


@pytest.fixture
def tcp() -> Tcp:
    """A listener in memory."""
    return Tcp()


def test_the_last_line_needs_no_newline(tcp: Tcp) -> None:
    """A connection that is closed in good order loses nothing."""
    connection, transport = tcp.connect()
    connection.dataReceived(b"a:1|c\nb:2")
    connection.dataReceived(b"|c")
    transport.loseConnection()

    assert tcp.pipeline.lines == [b"a:1|c", b"b:2|c"]
    assert tcp.counted == {"connections": 1}


def test_a_line_that_is_too_long_is_skipped(tcp: Tcp) -> None:
    """It is counted, and the next line is read."""
    connection, _ = tcp.connect()
    connection.dataReceived(b"x" * 5000 + b"\na:1|c\n")

    assert tcp.pipeline.lines == [b"a:1|c"]
    assert tcp.counted == {"connections": 1, "too_long_lines": 1}


def test_a_bug_in_the_pipeline_does_not_close_the_connection(tcp: Tcp) -> None:
    """It is reported, and the next lines are fed."""
    connection, transport = tcp.connect()
    for tcp.pipeline.error in (RuntimeError("a bug"), None):
        connection.dataReceived(b"a:1|c\n")

    assert len(tcp.pipeline.bugs) == 1
    assert tcp.pipeline.lines == [b"a:1|c"]
    assert transport.connected


def test_connections_are_bounded() -> None:
    """One too many is refused and counted, until another one ends."""
    tcp = Tcp(max_connections=1)
    _, first = tcp.connect()
    refused = tcp.buildProtocol(None)
    first.loseConnection()
    tcp.connect()

    assert refused is None
    assert tcp.counted == {"connections": 2, "connections_refused": 1}


def test_an_idle_connection_is_closed(tcp: Tcp) -> None:
    """After the bound."""
    _, transport = tcp.connect()
    tcp.clock.advance(MAX_IDLE_SECONDS - 1)
    assert transport.connected

    tcp.clock.advance(2)
    assert not transport.connected


def test_a_reset_is_counted_unless_part_of_a_line_is_left(tcp: Tcp) -> None:
    """Like in statsd_exporter."""
    for data in (b"", b"a:1|c"):
        connection, _ = tcp.connect()
        connection.dataReceived(data)
        connection.connectionLost(Failure(ConnectionLost()))

    assert tcp.counted == {"connections": 2, "connection_errors": 1}
    assert tcp.pipeline.lines == [b"a:1|c"]
