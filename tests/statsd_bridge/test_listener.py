"""The doors for datagrams: UDP, Unix."""

from __future__ import annotations

import errno
import socket
import stat
import sys
from pathlib import Path

import pytest
from twisted.internet.testing import MemoryReactorClock

from statsd_bridge import datagram, listener
from statsd_bridge.datagram import Receive, Received
from statsd_bridge.errors import BindError
from statsd_bridge.listener import Datagrams
from statsd_bridge.listener.datagrams import Feed


def door(feed: Feed, read_buffer: int = 0) -> Datagrams:
    """Open a door on loopback; a read error fails the test."""

    def failed(error: OSError) -> None:
        raise error

    sock, _ = listener.open_udp("127.0.0.1", 0, read_buffer)
    return Datagrams(sock, feed, failed, MemoryReactorClock())


def send(port: int, *datagrams: bytes) -> None:
    """Send datagrams to a port of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for each in datagrams:
            sender.sendto(each, ("127.0.0.1", port))


def test_a_read_hands_over_a_batch() -> None:
    """All that waits comes in one piece."""
    batches: list[list[bytes]] = []
    opened = door(batches.append)
    send(opened.port, b"a:1|c", b"b:2|c")
    opened.doRead()
    opened.connectionLost(None)

    assert batches == [[b"a:1|c", b"b:2|c"]]


def test_drain_takes_more_than_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape shows all that the kernel had delivered before it."""
    received: list[bytes] = []
    opened = door(received.extend, 1 << 20)
    sent = [b"%d" % number for number in range(datagram.BATCH + 100)]
    send(opened.port, *sent)
    opened.drain()
    opened.connectionLost(None)

    assert received == sent


def test_a_read_error_is_told_and_the_door_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next datagram is received."""
    errors: list[OSError] = []
    received: list[bytes] = []

    def flaky(_: socket.socket) -> Receive:
        def receive() -> Received:
            if not errors:
                raise ConnectionRefusedError("once")
            return Received([b"a:1|c"])

        return receive

    monkeypatch.setattr(datagram, "receiver", flaky)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        reactor = MemoryReactorClock()
        opened = Datagrams(sock, received.extend, errors.append, reactor)
        opened.doRead()
        opened.doRead()

    assert [str(error) for error in errors] == ["once"]
    assert received == [b"a:1|c"]


GRANTED = 4 * 1024 * 1024


class Steady:
    """A door on a reactor in memory, and a sender that sends at a rate."""

    def __init__(self, granted: int = GRANTED) -> None:
        self.reactor = MemoryReactorClock()
        self.batches: list[int] = []
        sock, _ = listener.open_udp("127.0.0.1", 0, 0)
        self.door = Datagrams(
            sock,
            lambda batch: self.batches.append(len(batch)),
            lambda error: None,
            self.reactor,
            granted,
        )
        self.door.open()

    def __enter__(self) -> Steady:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.door.connectionLost(None)

    @property
    def is_watched(self) -> bool:
        """Whether the reactor tells the door of a datagram at once."""
        return self.door in self.reactor.readers

    def run(self, rate: int, seconds: float) -> None:
        """Let datagrams come, and the reactor turn at each."""
        for _ in range(int(rate * seconds)):
            self.reactor.advance(1 / rate)
            send(self.door.port, b"a:1|c")
            if self.is_watched:
                self.door.doRead()


def test_datagrams_that_come_steadily_wait_for_each_other() -> None:
    """Many are taken at a time, though each could be taken at once."""
    with Steady() as steady:
        steady.run(5_000, 0.1)

        assert sum(steady.batches) > 400
        assert len(steady.batches) < 40


def test_a_few_datagrams_do_not_wait() -> None:
    """There would be nothing to take with them."""
    with Steady() as steady:
        steady.run(100, 0.5)

        assert steady.batches == [1] * 50
        assert steady.is_watched


def test_nothing_waits_where_the_kernel_granted_little() -> None:
    """A burst within the wait would be lost."""
    with Steady(granted=106_496) as steady:
        steady.run(5_000, 0.02)

        assert steady.batches == [1] * 100


def test_who_drains_sees_what_waits() -> None:
    """A scrape is not kept waiting."""
    with Steady() as steady:
        steady.run(5_000, 0.02)
        assert not steady.is_watched
        send(steady.door.port, b"a:1|c")
        before = sum(steady.batches)
        steady.door.drain()

        assert sum(steady.batches) > before


def test_a_door_that_rests_is_watched_again_when_it_is_quiet() -> None:
    """An idle bridge has no timers."""
    with Steady() as steady:
        steady.run(5_000, 0.02)
        steady.reactor.pump([0.01] * 3)

        assert steady.is_watched
        assert steady.reactor.getDelayedCalls() == []


def test_the_reactor_closes_a_door_that_rests() -> None:
    """What it does not watch it would forget."""
    with Steady() as steady:
        steady.run(5_000, 0.02)
        assert not steady.is_watched
        for function, arguments, named in steady.reactor.triggers["before"]["shutdown"]:
            function(*arguments, **named)

        assert steady.is_watched


@pytest.mark.skipif(sys.platform != "linux", reason="/proc/net/udp is Linux's")
def test_what_the_kernel_drops_is_known() -> None:
    """A full receive buffer shows in the count of our own socket."""
    opened = door(lambda batch: None, 1)
    before = opened.kernel_drops()
    send(opened.port, *[bytes(1000)] * 200)
    after = opened.kernel_drops()
    opened.connectionLost(None)

    assert before == 0
    assert after
    assert after > 0


def test_an_address_in_use_is_named() -> None:
    """The message has the flag, the address and the reason."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=rf"listen-udp: .*127\.0\.0\.1:{port}"):
            listener.open_udp("127.0.0.1", port, 0)


def test_an_empty_host_is_ipv4_and_ipv6() -> None:
    """`:9125` hears both families where the machine has both."""
    received: list[bytes] = []
    sock, _ = listener.open_udp("", 0, 0)
    opened = Datagrams(sock, received.extend, lambda error: None, MemoryReactorClock())
    send(opened.port, b"four")
    opened.doRead()
    opened.connectionLost(None)

    assert received == [b"four"]


def send_unix(path: str, *datagrams: bytes) -> None:
    """Send datagrams to a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for each in datagrams:
            sender.sendto(each, path)


def unix_door(path: str, received: list[bytes], mode: int | None = None) -> Datagrams:
    """Open a Unix door."""
    sock, _ = listener.open_unixgram(path, mode, 0)
    return Datagrams(sock, received.extend, lambda error: None, MemoryReactorClock())


def test_a_unix_socket_takes_datagrams_and_leaves_no_file(tmp_path: Path) -> None:
    """The file has the mode that was asked for, and goes with the door."""
    path = tmp_path / "statsd.sock"
    received: list[bytes] = []
    opened = unix_door(str(path), received, 0o640)
    mode = stat.S_IMODE(path.stat().st_mode)
    send_unix(str(path), b"a:1|c", b"b:2|c")
    opened.doRead()
    opened.connectionLost(None)

    assert mode == 0o640
    assert received == [b"a:1|c", b"b:2|c"]
    assert opened.kernel_drops is not None
    assert not path.exists()


def test_a_socket_that_a_dead_process_left_is_replaced(tmp_path: Path) -> None:
    """A crash does not keep the next start from listening."""
    path = str(tmp_path / "statsd.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(path)
    received: list[bytes] = []
    opened = unix_door(path, received)
    send_unix(path, b"a:1|c")
    opened.doRead()
    opened.connectionLost(None)

    assert received == [b"a:1|c"]


def test_a_living_listener_is_not_replaced(tmp_path: Path) -> None:
    """Two bridges on one socket: the second is told so, whatever the first takes."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        path = str(tmp_path / f"{kind.name}.sock")
        with socket.socket(socket.AF_UNIX, kind) as alive:
            alive.bind(path)
            if kind is socket.SOCK_STREAM:
                alive.listen()
            with pytest.raises(BindError, match="another process listens"):
                listener.open_unixgram(path, None, 0)
            assert Path(path).exists()


def test_a_socket_that_cannot_be_asked_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's socket: the line says that we may not ask."""

    class Foreign(socket.socket):
        """A socket that may not connect."""

        def connect(self, address: object) -> None:
            """Refuse."""
            raise PermissionError(errno.EACCES, "Permission denied")

    path = str(tmp_path / "statsd.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left:
        left.bind(path)
    monkeypatch.setattr("statsd_bridge.listener.sockets.socket.socket", Foreign)
    with pytest.raises(BindError, match="Permission denied; remove it"):
        listener.open_unixgram(path, None, 0)

    assert Path(path).exists()


def test_a_buffer_of_any_size_may_be_asked_for() -> None:
    """More than a kernel can count in is cut to what it can."""
    sock, granted = listener.open_udp("127.0.0.1", 0, 1 << 40)
    sock.close()

    assert granted > 0


def test_a_unix_door_never_rests(tmp_path: Path) -> None:
    """Its queue holds ten datagrams: who may not wait would give up."""
    path = str(tmp_path / "statsd.sock")
    sock, granted = listener.open_unixgram(path, None, 1 << 22)
    reactor = MemoryReactorClock()
    received: list[bytes] = []
    opened = Datagrams(sock, received.extend, lambda error: None, reactor, granted)
    opened.open()
    for _ in range(500):
        reactor.advance(0.0002)
        send_unix(path, b"a:1|c")
        assert opened in reactor.readers
        opened.doRead()
    opened.connectionLost(None)

    assert len(received) == 500


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    """Nothing of the operator's is removed."""
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(BindError, match="listen-unixgram: .* no socket"):
        listener.open_unixgram(str(path), None, 0)

    assert path.read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_an_abstract_name_has_no_file() -> None:
    """`@name` is heard under that name."""
    received: list[bytes] = []
    opened = unix_door("@crocbot-test-listener", received, 0o600)
    send_unix("\0crocbot-test-listener", b"a:1|c")
    opened.doRead()
    opened.connectionLost(None)

    assert received == [b"a:1|c"]
