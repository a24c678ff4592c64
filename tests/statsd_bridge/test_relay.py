"""The relay: what goes out, what is lost and counted, and that nothing waits."""

from __future__ import annotations

import errno
import socket
from collections import Counter
from collections.abc import Iterator, Sequence

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from statsd_bridge.model import HostPort
from statsd_bridge.relay import (
    FLUSH_SECONDS,
    LARGEST,
    OUTCOMES,
    RESOLVE_SECONDS,
    RETRY_SECONDS,
    Destination,
    LookUp,
    Relay,
)

NAMED = HostPort("statsd.example.org", 8125)


class Other:
    """Another statsd server, the relay to it, and what the relay told."""

    def __init__(self) -> None:
        self.socket = listening()
        self.address = HostPort(*self.socket.getsockname())
        self.destination: Destination = (socket.AF_INET, self.socket.getsockname())
        self.told: Counter[str] = Counter()
        self.failures: list[str] = []
        self.clock = Clock()
        self.relays: list[Relay] = []

    def relay(
        self,
        packet_length: int = 1400,
        addresses: Sequence[HostPort] = (),
        look_up: LookUp | None = None,
    ) -> Relay:
        """Start a relay to it, or to other addresses."""
        relay = Relay(
            addresses or [self.address],
            packet_length,
            self._tell,
            lambda _, why: self.failures.append(why),
            self.clock,
            look_up,
        )
        relay.start()
        self.relays.append(relay)
        return relay

    def _tell(self, what: str, target: str, count: int) -> None:
        self.told[what] += count

    def received(self) -> list[bytes]:
        """Take all packets that have arrived."""
        packets = []
        try:
            while True:
                packets.append(self.socket.recv(70_000))
        except BlockingIOError:
            return packets

    def counted(self) -> dict[str, int]:
        """What was told and is not 0."""
        return {what: count for what, count in self.told.items() if count}


def listening() -> socket.socket:
    """Open a socket that takes packets."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.setblocking(False)
    return sock


@pytest.fixture
def other() -> Iterator[Other]:
    """Another statsd server."""
    made = Other()
    yield made
    made.socket.close()
    for relay in made.relays:
        relay.close()


def test_lines_go_out_as_they_came_after_a_second(other: Other) -> None:
    """A bad line and a carriage return, too; an empty line says nothing."""
    relay = other.relay()
    relay.forward([b"a:1|c", b"", b"nonsense\r"])
    before = other.received()
    other.clock.advance(FLUSH_SECONDS)

    assert before == []
    assert other.received() == [b"a:1|c\nnonsense\r\n"]
    assert other.counted() == {"packets": 1, "lines_relayed": 2}


@pytest.mark.parametrize(
    ("packet_length", "lines", "packets"),
    [
        # A line needs a byte for its newline.
        (4, [b"123", b"1234", b"12"], [b"123\n", b"12\n"]),
        (8, [b"123", b"456", b"7"], [b"123\n456\n", b"7\n"]),
        (9, [b"123", b"456", b"7"], [b"123\n456\n", b"7\n"]),
        (10, [b"123", b"456", b"7"], [b"123\n456\n7\n"]),
        # 0: every line alone.
        (0, [b"1", b"2"], [b"1\n", b"2\n"]),
        (1, [b"1"], []),
    ],
)
def test_a_packet_is_not_longer_than_allowed(
    other: Other, packet_length: int, lines: list[bytes], packets: list[bytes]
) -> None:
    """A full packet goes at once, the rest with the clock; a longer line is counted."""
    relay = other.relay(packet_length)
    relay.forward(lines)
    other.clock.advance(FLUSH_SECONDS)

    assert other.received() == packets
    assert other.told["packets"] == len(packets)
    assert other.told["long_lines"] == len(lines) - b"".join(packets).count(b"\n")


def test_a_packet_is_never_longer_than_udp_allows(other: Other) -> None:
    """A length that the kernel would refuse is cut to one that it takes."""
    relay = other.relay(100_000)
    line = b"x" * 40_000
    relay.forward([line, line, b"y" * LARGEST])
    other.clock.advance(FLUSH_SECONDS)

    assert other.received() == [line + b"\n"] * 2
    assert other.counted() == {"packets": 2, "lines_relayed": 2, "long_lines": 1}


def test_every_target_gets_every_line(other: Other) -> None:
    """Two servers, the same packets."""
    with listening() as second:
        addresses = [other.address, HostPort(*second.getsockname())]
        other.relay(addresses=addresses).forward([b"a:1|c"])
        other.clock.advance(FLUSH_SECONDS)

        assert other.received() == [b"a:1|c\n"]
        assert second.recv(100) == b"a:1|c\n"


def test_all_counters_are_there_from_the_start(other: Other) -> None:
    """A rate can be computed over the first loss."""
    other.relay()

    assert other.told == dict.fromkeys(OUTCOMES, 0)


def test_a_name_that_hangs_keeps_nobody_waiting(other: Other) -> None:
    """Lines are lost and counted, one question is open, and its answer is used."""
    asked: list[Deferred[Destination]] = []

    def look_up(_: HostPort) -> Deferred[Destination]:
        asked.append(Deferred())
        return asked[-1]

    relay = other.relay(addresses=[NAMED], look_up=look_up)
    for _ in range(100):
        relay.forward([b"a:1|c"])
        other.clock.advance(FLUSH_SECONDS)
    assert other.counted() == {"lines_relayed": 100, "lost_unresolved": 100}
    assert len(asked) == 1

    asked[0].callback(other.destination)
    relay.forward([b"b:1|c"])
    other.clock.advance(FLUSH_SECONDS)
    assert other.received() == [b"b:1|c\n"]


def test_a_name_that_is_not_there_yet_is_found_later(other: Other) -> None:
    """It is asked for again soon, and the failure is told."""
    answers = [fail(OSError("nobody")), succeed(other.destination)]
    relay = other.relay(addresses=[NAMED], look_up=lambda _: answers.pop(0))
    other.clock.advance(RETRY_SECONDS)
    relay.forward([b"a:1|c"])
    other.clock.advance(FLUSH_SECONDS)

    assert other.failures == ["nobody"]
    assert other.received() == [b"a:1|c\n"]


def test_a_target_that_moves_is_followed(other: Other) -> None:
    """The name is asked for again, and what was known holds while it fails."""
    with listening() as old:
        before = (socket.AF_INET, old.getsockname())
        answers = [succeed(before), fail(OSError("no")), succeed(other.destination)]
        relay = other.relay(addresses=[NAMED], look_up=lambda _: answers.pop(0))
        for advance in (0, RESOLVE_SECONDS, RETRY_SECONDS):
            other.clock.pump([FLUSH_SECONDS] * int(advance))
            relay.forward([b"a:1|c"])
            relay.flush()

        assert [old.recv(100), old.recv(100)] == [b"a:1|c\n"] * 2
        assert other.received() == [b"a:1|c\n"]
        assert other.failures == ["no"]


def test_a_target_that_is_gone_stops_nothing(other: Other) -> None:
    """Each packet is tried, and when the target is back it gets the next."""
    relay = other.relay()
    other.socket.close()
    for _ in range(300):
        relay.forward([b"a:1|c"])
        relay.flush()
    other.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    other.socket.bind((other.address.host, other.address.port))
    other.socket.setblocking(False)
    relay.forward([b"b:1|c"])
    relay.flush()

    assert other.received() == [b"b:1|c\n"]
    assert other.counted() == {"packets": 301, "lines_relayed": 301}


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (BlockingIOError(errno.EAGAIN, "again"), "lost_full"),
        (OSError(errno.ENOBUFS, "no buffer space"), "lost_full"),
        (PermissionError(errno.EPERM, "not permitted"), "lost_error"),
        (OSError(errno.EMSGSIZE, "too long"), "lost_error"),
    ],
)
def test_what_the_kernel_refuses_is_counted_and_the_next_goes(
    other: Other,
    error: OSError,
    outcome: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lines are counted, not packets; the packet after it is sent."""
    errors = [error]

    class Refusing(socket.socket):
        """A socket that refuses the first packet."""

        def sendto(self, *arguments: object) -> int:  # type: ignore[override]
            """Fail once."""
            if errors:
                raise errors.pop()
            return super().sendto(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("statsd_bridge.relay.socket.socket", Refusing)
    relay = other.relay()
    relay.forward([b"a:1|c", b"b:1|c"])
    relay.flush()
    relay.forward([b"c:1|c"])
    relay.flush()

    assert other.received() == [b"c:1|c\n"]
    assert other.counted() == {"packets": 2, "lines_relayed": 3, outcome: 2}


def test_a_name_that_cannot_be_is_a_target_that_is_not_found(other: Other) -> None:
    """No traceback for a label longer than a name may have."""
    look_up = succeed(other.destination)
    relay = other.relay(
        addresses=[HostPort("x" * 64 + ".org", 1)], look_up=lambda _: look_up
    )
    relay.forward([b"a:1|c"])
    relay.flush()

    assert other.received() == [b"a:1|c\n"]


def test_ipv4_and_ipv6_addresses_need_no_look_up(other: Other) -> None:
    """Only names are asked for."""
    asked: list[HostPort] = []

    def look_up(address: HostPort) -> Deferred[Destination]:
        asked.append(address)
        return Deferred()

    addresses = [HostPort("127.0.0.1", 1), HostPort("::1", 1), NAMED]
    other.relay(addresses=addresses, look_up=look_up)

    assert asked == [NAMED]
