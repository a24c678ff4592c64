"""Readers of streams: lines, bounds and what is counted."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure

from statsd_bridge.listener import StreamFactory
from statsd_bridge.listener.streams import (
    MAX_IDLE_SECONDS,
    MAX_ROUND_SECONDS,
    ReadSize,
)
from tests.statsd_bridge.in_memory import FakePipeline


class Transport(StringTransportWithDisconnection):
    """A transport, and what its client has sent and the bridge has not read."""

    unread = b""

    def doRead(self) -> Exception | None:  # noqa: N802
        """Deliver what was not read, or report the end."""
        data, self.unread = self.unread, b""
        if data == END:
            return ConnectionDone()
        if data:
            self.protocol.dataReceived(data)
        return None

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802
        """End at once."""
        self.connected = False
        self.protocol.connectionLost(reason)

    def abortConnection(self) -> None:  # noqa: N802
        """End at once, too."""
        self.connectionLost(Failure(ConnectionAborted()))


END = b"the client has closed the connection"


class Listener(StreamFactory):
    """A listener in memory."""

    def __init__(self, transport: str = "tcp", max_connections: int = 10) -> None:
        self.pipeline: Any = FakePipeline()
        self.clock = Clock()
        super().__init__(
            self.pipeline, transport=transport, max_connections=max_connections
        )

    def connect(self, host: str = "192.0.2.1") -> tuple[Protocol, Transport]:
        """Open a connection."""
        protocol: Any = self.buildProtocol(None)
        protocol.callLater = self.clock.callLater
        transport = Transport(peerAddress=IPv4Address("TCP", host, 50_000))
        transport.protocol = protocol
        protocol.makeConnection(transport)
        return protocol, transport

    @property
    def counted(self) -> dict[str, int]:
        """The counters that are not 0."""
        return {name: count for name, count in self.counters.items() if count}


@pytest.fixture
def tcp() -> Listener:
    """A TCP listener in memory."""
    return Listener()


def test_the_last_line_needs_no_newline(tcp: Listener) -> None:
    """A connection that is closed in good order loses nothing."""
    connection, transport = tcp.connect()
    connection.dataReceived(b"a:1|c\nb:2")
    connection.dataReceived(b"|c")
    transport.loseConnection()

    assert tcp.pipeline.lines == [b"a:1|c", b"b:2|c"]
    assert tcp.counted == {"connections": 1}


def test_a_line_that_is_too_long_is_skipped(tcp: Listener) -> None:
    """It is counted, and the next line is read."""
    connection, _ = tcp.connect()
    connection.dataReceived(b"x" * 5000 + b"\na:1|c\n")

    assert tcp.pipeline.lines == [b"a:1|c"]
    assert tcp.counted == {"connections": 1, "too_long_lines": 1}


def test_a_bug_in_the_pipeline_does_not_close_the_connection(tcp: Listener) -> None:
    """It is reported, and the next lines are fed."""
    connection, transport = tcp.connect()
    for tcp.pipeline.error in (RuntimeError("a bug"), None):
        connection.dataReceived(b"a:1|c\n")

    assert len(tcp.pipeline.bugs) == 1
    assert tcp.pipeline.lines == [b"a:1|c"]
    assert transport.connected


def test_connections_are_bounded() -> None:
    """The peer with the most gives up its quietest; the new one is served."""
    tcp = Listener(max_connections=3)
    _, honest = tcp.connect("192.0.2.1")
    idle = [tcp.connect("192.0.2.9")[1] for _ in range(3)]
    connection, newest = tcp.connect("192.0.2.2")
    connection.dataReceived(b"a:1|c\n")

    states = [each.connected for each in (honest, *idle, newest)]
    assert states == [True, False, False, True, True]
    assert tcp.pipeline.lines == [b"a:1|c"]
    assert tcp.counted == {"connections": 5, "connections_closed": 2}


def test_what_a_closed_connection_has_sent_is_read() -> None:
    """Lines that arrived before the new connection are not lost."""
    tcp = Listener(max_connections=1)
    _, transport = tcp.connect()
    transport.unread = b"a:1|c\nb:2|c"
    tcp.connect()

    assert not transport.connected
    assert tcp.pipeline.lines == [b"a:1|c", b"b:2|c"]
    assert tcp.counted == {"connections": 2, "connections_closed": 1}


def test_a_connection_that_has_ended_is_not_counted_as_closed() -> None:
    """Its end had not been read yet."""
    tcp = Listener(max_connections=1)
    _, transport = tcp.connect()
    transport.unread = END
    tcp.connect()

    assert not transport.connected
    assert tcp.counted == {"connections": 2}


def test_an_idle_connection_is_closed(tcp: Listener) -> None:
    """After the bound."""
    _, transport = tcp.connect()
    tcp.clock.advance(MAX_IDLE_SECONDS - 1)
    assert transport.connected

    tcp.clock.advance(2)
    assert not transport.connected


def test_a_reset_is_counted_unless_part_of_a_line_is_left(tcp: Listener) -> None:
    """Like in statsd_exporter."""
    for data in (b"", b"a:1|c"):
        connection, _ = tcp.connect()
        connection.dataReceived(data)
        connection.connectionLost(Failure(ConnectionLost()))

    assert tcp.counted == {"connections": 2, "connection_errors": 1}
    assert tcp.pipeline.lines == [b"a:1|c"]


def frame(payload: bytes) -> bytes:
    """Frame a payload like Datadog's clients."""
    return len(payload).to_bytes(4, "little") + payload


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("sent", "lines"),
    [
        (b"a:1|c\nb:2|c", [b"a:1|c", b"b:2|c"]),
        (b"a", [b"a"]),
        (b"\n\na", [b"", b"", b"a"]),
        (b"", []),
        (frame(b"a:1|c\nb:2|c\n") + frame(b"c:3|c"), [b"a:1|c", b"b:2|c", b"c:3|c"]),
        (frame(b"") + frame(b"a:1|c\r\n"), [b"a:1|c"]),
        (frame(b"x:1|c\n" * 50_000), [b"x:1|c"] * 50_000),
        # The length of this frame begins with a newline.
        (frame(b"abcde:1|ms"), [b"abcde:1|ms"]),
        # As long as a frame of Datadog's clients may be, then longer.
        (frame(b"x" * 8192) + frame(b"a:1|c"), [b"x" * 8192, b"a:1|c"]),
        (frame(b"x" * 8193) + frame(b"a:1|c"), [b"a:1|c"]),
    ],
)
def test_a_unix_stream_may_be_framed(
    sent: bytes, lines: list[bytes], size: int
) -> None:
    """Its first four bytes decide, however they arrive."""
    unix = Listener("unixstream")
    connection, transport = unix.connect()
    size = max(size, len(sent) // 100)
    for start in range(0, len(sent), size):
        connection.dataReceived(sent[start : start + size])
    transport.loseConnection()

    assert unix.pipeline.lines == lines
    assert "connection_errors" not in unix.counted


@pytest.mark.parametrize(
    "sent",
    [
        frame(b"a:1|c\n") + b"GET / HTTP/1.1\r\n",
        frame(b"a:1|c\nb:2|c")[:-1],
        frame(b"a:1|c\n") + b"\x05\0",
    ],
    ids=["no length", "cut payload", "cut length"],
)
def test_a_broken_frame_ends_the_connection(sent: bytes) -> None:
    """What was complete counts, half a line does not."""
    unix = Listener("unixstream")
    connection, transport = unix.connect()
    connection.dataReceived(sent)
    if transport.connected:
        transport.loseConnection()

    assert unix.pipeline.lines == [b"a:1|c"]
    assert unix.counted == {"connections": 1, "connection_errors": 1}


@pytest.mark.parametrize("length", [1 << 24, 0x0100_4141, 0x4141_0041, 0x4141_4100])
def test_a_first_length_that_is_too_large_is_an_error(length: int) -> None:
    """It has a NUL, which no line of statsd has there."""
    unix = Listener("unixstream")
    connection, _ = unix.connect()
    connection.dataReceived(length.to_bytes(4, "little") + b"f14:1|c\n")

    assert unix.pipeline.lines == []
    assert unix.counted == {"connections": 1, "connection_errors": 1}


def test_tcp_is_never_framed(tcp: Listener) -> None:
    """Like in statsd_exporter, its bytes are lines."""
    connection, _ = tcp.connect()
    connection.dataReceived(frame(b"a:1|c\n"))

    assert tcp.pipeline.lines == [b"\x06\0\0\0a:1|c"]


def read_sizes(seconds: float, reads: int, *, is_full: bool = True) -> list[int]:
    """Return the sizes of reads that are as far apart."""
    clock = Clock()
    size, sizes = ReadSize(clock.seconds), []
    for _ in range(reads):
        clock.advance(seconds)
        size.record(size.bytes if is_full else 100)
        sizes.append(size.bytes)
    return sizes


def test_the_only_connection_is_read_in_large_pieces() -> None:
    """It does not wait for others."""
    assert read_sizes(0.001, 5) == [16_384, 32_768, *[65_536] * 3]


def test_many_busy_connections_are_read_in_small_pieces() -> None:
    """Scrapes and datagrams are handled between two rounds over all of them."""
    assert read_sizes(1.0, 3) == [4_096] * 3
    assert read_sizes(MAX_ROUND_SECONDS * 0.7, 4) == [8_192] * 4


def test_a_connection_that_sends_little_keeps_its_size() -> None:
    """The time between its reads is that between its lines."""
    assert read_sizes(100.0, 4, is_full=False) == [8_192] * 4
