"""Readers of datagrams: batches, coalescing, errors, kernel drops."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from twisted.internet.testing import MemoryReactorClock

from statsd_bridge import datagram
from statsd_bridge.datagram import Received
from statsd_bridge.listener import DatagramReader, bind, datagrams
from statsd_bridge.listener.datagrams import ReaderState
from statsd_bridge.model import HostPort
from tests.statsd_bridge.in_memory import FakePipeline

LOOPBACK = HostPort("127.0.0.1", 0)


class Reader(DatagramReader):
    """A reader on a reactor in memory, its pipeline and a sender."""

    def __init__(self, sock: socket.socket, receive_buffer: int) -> None:
        self.reactor = MemoryReactorClock()
        self.pipeline: Any = FakePipeline()
        super().__init__(
            sock,
            self.pipeline,
            transport="udp",
            receive_buffer=receive_buffer,
            reactor=self.reactor,
        )
        self._address = sock.getsockname()
        self.start()

    def send(self, *datagrams: bytes) -> None:
        """Send datagrams to the socket."""
        is_udp = isinstance(self._address, tuple)
        address = ("127.0.0.1", self._address[1]) if is_udp else self._address
        family = socket.AF_INET if is_udp else socket.AF_UNIX
        with socket.socket(family, socket.SOCK_DGRAM) as sender:
            for each in datagrams:
                sender.sendto(each, address)

    def send_steadily(self, rate: int, seconds: float) -> None:
        """Send datagrams at a rate; the reactor has a turn at each."""
        for _ in range(int(rate * seconds)):
            self.reactor.advance(1 / rate)
            self.send(b"a:1|c")
            if self.is_watched:
                self.doRead()

    @property
    def is_watched(self) -> bool:
        """Whether the reactor watches the socket."""
        return self in self.reactor.readers


Open = Callable[..., Reader]


@pytest.fixture
def open_reader() -> Iterator[Open]:
    """Open readers on loopback, or on given sockets; close them after the test."""
    readers: list[Reader] = []

    def open_reader(
        sock: socket.socket | None = None, receive_buffer: int = 4 * 1024 * 1024
    ) -> Reader:
        sock = sock or bind.open_udp("flag", LOOPBACK, 1 << 20)
        readers.append(Reader(sock, receive_buffer))
        return readers[-1]

    yield open_reader
    for each in readers:
        each.connectionLost(None)


def test_all_waiting_datagrams_are_one_batch(open_reader: Open) -> None:
    """In their order."""
    reader = open_reader()
    reader.send(b"a:1|c", b"b:2|c")
    reader.doRead()

    assert reader.pipeline.batches == [[b"a:1|c", b"b:2|c"]]
    assert reader.received_at is not None


def test_drain_reads_more_than_one_batch(open_reader: Open) -> None:
    """A scrape includes all that the kernel had delivered before it."""
    reader = open_reader()
    sent = [b"%d" % number for number in range(datagram.MAX_BATCH + 100)]
    reader.send(*sent)
    reader.drain()

    assert reader.pipeline.lines == sent


def test_what_is_held_is_processed_later(
    open_reader: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its order, and before what comes after it; it is bounded in bytes."""
    monkeypatch.setattr(datagrams, "MAX_HELD_BYTES", 2_000 * (33 + 4))
    reader = open_reader()
    reader.hold()
    reader.send(*[b"%04d" % n for n in range(2_500)])
    reader.hold()
    reader.hold()
    assert reader.pipeline.lines == []
    reader.release()
    held = len(reader.pipeline.lines)
    assert 2_000 <= held < 2_500
    reader.doRead()

    assert reader.pipeline.lines == [b"%04d" % n for n in range(2_500)]


def test_a_read_error_is_logged_and_the_socket_stays_open(
    open_reader: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next datagram is received."""
    results = [
        ConnectionRefusedError("once"),
        MemoryError("a bug"),
        Received([b"a:1|c"]),
    ]

    class ScriptedReceiver:
        def __init__(self, _: object) -> None:
            """Receive from no socket."""

        def receive(self) -> Received:
            result = results.pop(0)
            if isinstance(result, Exception):
                raise result
            return result

    monkeypatch.setattr(datagram, "new_receiver", ScriptedReceiver)
    reader = open_reader()
    with capture_logs() as logs:
        for _ in range(3):
            reader.doRead()

    assert [str(error) for error in reader.pipeline.bugs] == ["a bug"]
    assert [(each["event"], each["error"]) for each in logs] == [
        ("udp cannot be read", "once")
    ]
    assert reader.pipeline.lines == [b"a:1|c"]


def test_a_bug_in_the_pipeline_costs_one_batch(open_reader: Open) -> None:
    """It is reported, and the next batch is fed."""
    reader = open_reader()
    for reader.pipeline.error in (RuntimeError("a bug"), None):
        reader.reactor.advance(1)
        reader.send(b"a:1|c")
        reader.doRead()

    assert [str(error) for error in reader.pipeline.bugs] == ["a bug"]
    assert reader.pipeline.lines == [b"a:1|c"]
    assert reader.is_watched


def test_steady_datagrams_are_coalesced(open_reader: Open) -> None:
    """Many are received at a time, though each could be received at once."""
    reader = open_reader()
    reader.send_steadily(5_000, 0.1)

    assert len(reader.pipeline.lines) > 400
    assert len(reader.pipeline.batches) < 40
    assert reader.state is ReaderState.COALESCING
    assert not reader.is_watched


@pytest.mark.parametrize(
    ("rate", "receive_buffer"),
    [(100, 4 * 1024 * 1024), (5_000, 106_496)],
    ids=["few datagrams", "a small buffer"],
)
def test_datagrams_do_not_wait(
    open_reader: Open, rate: int, receive_buffer: int
) -> None:
    """A wait would gather nothing, or lose a burst."""
    reader = open_reader(receive_buffer=receive_buffer)
    reader.send_steadily(rate, 50 / rate)

    assert reader.pipeline.batches == [[b"a:1|c"]] * 50
    assert reader.state is ReaderState.IDLE


def test_a_full_batch_is_followed_by_another_read(open_reader: Open) -> None:
    """However high the rate is, the reactor goes on at once."""
    reader = open_reader()
    reader.reactor.advance(0.001)
    reader.send(*[b"a:1|c"] * (datagram.MAX_BATCH + 1))
    reader.doRead()

    assert reader.state is ReaderState.BUSY
    assert reader.is_watched


@pytest.mark.parametrize(("seconds_per_batch", "batches"), [(0.0, 3), (0.01, 1)])
def test_an_iteration_reads_batches_for_some_time(
    open_reader: Open, seconds_per_batch: float, batches: int
) -> None:
    """A thread that computes holds up each iteration, so one reads all it can."""
    reader = open_reader()
    feed = reader.pipeline.feed

    def feed_slowly(batch: list[bytes], transport: str) -> None:
        reader.reactor.advance(seconds_per_batch)
        feed(batch, transport)

    reader.pipeline.feed = feed_slowly
    reader.send(*[b"a:1|c"] * (2 * datagram.MAX_BATCH + 1))
    reader.doRead()

    assert len(reader.pipeline.batches) == batches
    assert reader.state is ReaderState.BUSY


def test_drain_reads_what_is_being_coalesced(open_reader: Open) -> None:
    """A scrape does not miss it."""
    reader = open_reader()
    reader.send_steadily(5_000, 0.02)
    reader.send(b"last")
    reader.drain()

    assert reader.pipeline.lines[-1] == b"last"


def test_coalescing_ends_when_the_sender_is_silent(open_reader: Open) -> None:
    """An idle bridge has no timers."""
    reader = open_reader()
    reader.send_steadily(5_000, 0.02)
    reader.reactor.pump([0.01] * 3)

    assert reader.state is ReaderState.IDLE
    assert reader.is_watched
    assert reader.reactor.getDelayedCalls() == []


def test_a_coalescing_reader_is_closed_with_the_reactor(open_reader: Open) -> None:
    """At shutdown the reactor closes only what it watches."""
    reader = open_reader()
    reader.send_steadily(5_000, 0.02)
    for function, arguments, named in reader.reactor.triggers["before"]["shutdown"]:
        function(*arguments, **named)

    assert reader.is_watched


def test_a_unix_socket_is_never_coalesced(open_reader: Open, tmp_path: Path) -> None:
    """Its queue holds ten datagrams, then its senders block or give up."""
    path = str(tmp_path / "statsd.sock")
    sock = bind.open_unixgram("flag", path, mode=None, read_buffer=1 << 22)
    reader = open_reader(sock)
    reader.send_steadily(5_000, 0.1)

    assert reader.pipeline.batches == [[b"a:1|c"]] * 500
    assert reader.kernel_drops() is None


@pytest.mark.skipif(sys.platform != "linux", reason="SO_MEMINFO is Linux's")
def test_kernel_drops_are_counted(open_reader: Open) -> None:
    """The counter of the socket rises when its buffer is full."""
    reader = open_reader(bind.open_udp("flag", LOOPBACK, 1))
    before = reader.kernel_drops()
    reader.send(*[bytes(1000)] * 200)

    assert before == 0
    assert reader.kernel_drops()
