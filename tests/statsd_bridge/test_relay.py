"""The relay: what it sends, what is lost and counted, and that nothing waits."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from statsd_bridge.model import HostPort, Stats
from statsd_bridge.relay import FLUSH_SECONDS, MAX_PACKET_BYTES, Relay
from statsd_bridge.relay.udp import (
    RESOLVE_SECONDS,
    RETRY_SECONDS,
    Resolver,
    SocketAddress,
)
from tests.ports import HOST, free_port
from tests.statsd_bridge.in_memory import ReportedBugs

NAMED = HostPort("statsd.example.org", 8125)


class FakeResolver(Resolver):
    """Resolves names to given results, one after the other."""

    def __init__(self, *results: Deferred[SocketAddress]) -> None:
        self.results = list(results)
        self.asked: list[HostPort] = []

    def resolve(self, address: HostPort) -> Deferred[SocketAddress]:
        """Return the next result; raise an exception if there is none."""
        self.asked.append(address)
        return self.results.pop(0)


class Server:
    """A statsd server, and relays to it."""

    def __init__(self) -> None:
        self.socket = listen()
        self.address = HostPort(*self.socket.getsockname())
        self.socket_address: SocketAddress = (socket.AF_INET, self.socket.getsockname())
        self.stats = Stats()
        self.bugs = ReportedBugs()
        self.clock = Clock()

    def relay(
        self,
        *addresses: HostPort,
        packet_length: int = 1400,
        resolver: Resolver | None = None,
    ) -> Relay:
        """Start a relay to this server, or to other addresses."""
        relay = Relay(
            addresses or [self.address],
            packet_length=packet_length,
            stats=self.stats,
            bugs=self.bugs,
            reactor=self.clock,
            resolver=resolver or FakeResolver(),
        )
        relay.start()
        return relay

    def send(self, relay: Relay, *lines: bytes) -> None:
        """Relay lines at once."""
        relay.forward(lines)
        relay.flush()

    def received(self) -> list[bytes]:
        """Return all packets that have arrived."""
        packets = []
        try:
            while True:
                packets.append(self.socket.recv(70_000))
        except BlockingIOError:
            return packets

    @property
    def counted(self) -> dict[str, int]:
        """The counters of all targets that are not 0."""
        counts = self.stats.relay.items()
        return {outcome: count for (outcome, _), count in counts if count}


def listen(port: int = 0) -> socket.socket:
    """Open a socket that receives packets, at a port that may be opened again."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, port or free_port()))
    sock.setblocking(False)
    return sock


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A statsd server; all sockets are closed after the test."""
    opened: list[socket.socket] = []

    class Socket(socket.socket):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            opened.append(self)

    monkeypatch.setattr(socket, "socket", Socket)
    yield Server()
    for each in opened:
        each.close()


def test_lines_are_sent_unchanged_after_a_second(server: Server) -> None:
    """Malformed lines and carriage returns, too; empty lines are left out."""
    relay = server.relay()
    relay.forward([b"a:1|c", b"", b"nonsense\r"])
    before = server.received()
    server.clock.advance(FLUSH_SECONDS)

    assert before == []
    assert server.received() == [b"a:1|c\nnonsense\r\n"]
    assert server.counted == {"packets": 1, "lines_relayed": 2}


@pytest.mark.parametrize(
    ("packet_length", "lines", "packets"),
    [
        # A line needs a byte for its newline.
        (4, [b"123", b"1234", b"12"], [b"123\n", b"12\n"]),
        (8, [b"123", b"456", b"7"], [b"123\n456\n", b"7\n"]),
        (9, [b"123", b"456", b"7"], [b"123\n456\n", b"7\n"]),
        (10, [b"123", b"456", b"7"], [b"123\n456\n7\n"]),
        # 0: each line in its own packet.
        (0, [b"1", b"2"], [b"1\n", b"2\n"]),
        (1, [b"1"], []),
        # Longer than UDP allows.
        (100_000, [b"x" * 40_000] * 2, [b"x" * 40_000 + b"\n"] * 2),
        (100_000, [b"y" * MAX_PACKET_BYTES], []),
    ],
)
def test_the_length_of_a_packet_is_bounded(
    server: Server, packet_length: int, lines: list[bytes], packets: list[bytes]
) -> None:
    """A full packet is sent at once; a line that does not fit is counted."""
    relay = server.relay(packet_length=packet_length)
    relay.forward(lines)
    server.clock.advance(FLUSH_SECONDS)

    sent = b"".join(packets).count(b"\n")
    assert server.received() == packets
    assert server.counted == {
        name: count
        for name, count in (
            ("packets", len(packets)),
            ("lines_relayed", sent),
            ("long_lines", len(lines) - sent),
        )
        if count
    }


def test_every_target_gets_every_line(server: Server) -> None:
    """Two servers receive the same packets."""
    with listen() as second:
        relay = server.relay(server.address, HostPort(*second.getsockname()))
        server.send(relay, b"a:1|c")

        assert server.received() == [b"a:1|c\n"]
        assert second.recv(100) == b"a:1|c\n"


def test_all_counters_exist_from_the_start(server: Server) -> None:
    """So the first loss has a rate."""
    server.relay()

    assert {outcome for outcome, _ in server.stats.relay} == {
        *("packets", "long_lines", "lines_relayed"),
        *("lost_unresolved", "lost_full", "lost_error"),
    }


def test_a_look_up_that_hangs_delays_nothing(server: Server) -> None:
    """Lines are lost and counted, one look-up runs, and its result is used."""
    pending: Deferred[SocketAddress] = Deferred()
    resolver = FakeResolver(pending)
    relay = server.relay(NAMED, resolver=resolver)
    for _ in range(100):
        relay.forward([b"a:1|c"])
        server.clock.advance(FLUSH_SECONDS)
    assert server.counted == {"lines_relayed": 100, "lost_unresolved": 100}
    assert resolver.asked == [NAMED]

    pending.callback(server.socket_address)
    server.send(relay, b"b:1|c")
    assert server.received() == [b"b:1|c\n"]


def test_a_name_that_does_not_exist_yet_is_found_later(server: Server) -> None:
    """It is looked up again soon, and the failure is logged."""
    resolver = FakeResolver(fail(OSError("unknown")), succeed(server.socket_address))
    with capture_logs() as logs:
        relay = server.relay(NAMED, resolver=resolver)
    server.clock.advance(RETRY_SECONDS)
    server.send(relay, b"a:1|c")

    assert [(each["target"], each["error"]) for each in logs] == [
        (str(NAMED), "unknown")
    ]
    assert server.received() == [b"a:1|c\n"]


def test_a_look_up_that_cannot_start_is_tried_again(server: Server) -> None:
    """The exception is reported, other targets and the flushes go on."""
    resolver = FakeResolver()
    relay = server.relay(NAMED, server.address, resolver=resolver)
    resolver.results.append(succeed(server.socket_address))
    server.clock.advance(RETRY_SECONDS)
    relay.forward([b"a:1|c"])
    server.clock.advance(FLUSH_SECONDS)

    assert len(resolver.asked) == 2
    assert len(server.bugs) == 1
    assert server.received() == [b"a:1|c\n"] * 2


def test_a_target_that_moves_is_followed(server: Server) -> None:
    """The name is looked up again; the last address is used while that fails."""
    with listen() as old:
        resolver = FakeResolver(
            succeed((socket.AF_INET, old.getsockname())),
            fail(OSError("no")),
            succeed(server.socket_address),
        )
        relay = server.relay(NAMED, resolver=resolver)
        for seconds in (0, RESOLVE_SECONDS, RETRY_SECONDS):
            server.clock.pump([FLUSH_SECONDS] * int(seconds))
            server.send(relay, b"a:1|c")

        assert [old.recv(100), old.recv(100)] == [b"a:1|c\n"] * 2
        assert server.received() == [b"a:1|c\n"]


def test_a_server_that_is_down_stops_nothing(server: Server) -> None:
    """Each packet is sent, and when the server is back it gets the next."""
    relay = server.relay()
    server.socket.close()
    for _ in range(300):
        server.send(relay, b"a:1|c")
    server.socket = listen(server.address.port)
    server.send(relay, b"b:1|c")

    assert server.received() == [b"b:1|c\n"]
    assert server.counted == {"packets": 301, "lines_relayed": 301}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (BlockingIOError(errno.EAGAIN, "again"), "lost_full"),
        (OSError(errno.ENOBUFS, "no buffer space"), "lost_full"),
        (PermissionError(errno.EPERM, "not permitted"), "lost_error"),
        (OSError(errno.EMSGSIZE, "too long"), "lost_error"),
    ],
)
def test_a_packet_that_the_kernel_refuses_is_counted(
    server: Server,
    error: OSError,
    outcome: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its lines; the next packet is sent."""
    errors = [error]

    class Refusing(socket.socket):
        def sendto(self, *arguments: object) -> int:  # type: ignore[override]
            if errors:
                raise errors.pop()
            return super().sendto(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "socket", Refusing)
    relay = server.relay()
    server.send(relay, b"a:1|c", b"b:1|c")
    server.send(relay, b"c:1|c")

    assert server.received() == [b"c:1|c\n"]
    assert server.counted == {"packets": 2, "lines_relayed": 3, outcome: 2}


def test_only_names_are_looked_up(server: Server) -> None:
    """Not IP addresses; a name that cannot exist raises nothing."""
    impossible = HostPort("x" * 64 + ".org", 1)
    resolver = FakeResolver(Deferred(), Deferred())
    addresses = [HostPort("127.0.0.1", 1), HostPort("::1", 1), NAMED, impossible]
    server.relay(*addresses, resolver=resolver)

    assert resolver.asked == [NAMED, impossible]
