"""From a socket to datagrams to lines."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import datagram
from statsd_bridge.datagram import MAX_BATCH, Received, receive
from statsd_bridge.datagram.lines import MAX_LINE_BYTES
from statsd_bridge.datagram.receive import BatchReceiver, SingleReceiver

Pair = tuple[socket.socket, BatchReceiver | SingleReceiver]


@pytest.fixture(params=["recvmmsg", "recv"])
def pair(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pair]:
    """A socket to send to, and a receiver at the other end: the fast, the portable."""
    if request.param == "recv":
        monkeypatch.setattr(receive, "has_recvmmsg", lambda: False)
    elif not receive.has_recvmmsg():
        pytest.skip("this system has no recvmmsg")
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        right.setblocking(False)
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        yield left, datagram.new_receiver(right)


@pytest.mark.parametrize(
    "sent",
    [
        [b"a:1|c\nb:2|c", b"", b"c:3|c"],
        *(
            [b"before", random.Random(size).randbytes(size), b"after"]
            for size in (
                1,
                receive.HEAD_BYTES - 1,
                receive.HEAD_BYTES,
                receive.HEAD_BYTES + 1,
                9_000,
                receive.MAX_DATAGRAM_BYTES,
            )
        ),
    ],
    ids=lambda sent: f"{len(sent[1])} bytes",
)
def test_datagrams_are_received_whole(pair: Pair, sent: list[bytes]) -> None:
    """Empty, small and large ones; without any it does not wait."""
    left, receiver = pair
    for each in sent:
        left.send(each)

    assert receiver.receive() == Received(sent)
    assert receiver.receive() == Received([])


def test_a_batch_is_bounded(pair: Pair) -> None:
    """The next batch has the others, in order."""
    left, receiver = pair
    sent: list[bytes] = []
    received: list[bytes] = []
    while len(received) <= MAX_BATCH:
        try:
            left.send(b"a:%d|c" % len(sent), socket.MSG_DONTWAIT)
        except BlockingIOError:
            received += receiver.receive().datagrams
        else:
            sent.append(b"a:%d|c" % len(sent))
    while batch := receiver.receive().datagrams:
        assert len(batch) <= MAX_BATCH
        received += batch

    assert received == sent


@pytest.fixture
def few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound of bytes that is less than what the kernel queues."""
    monkeypatch.setattr(receive, "MIN_BATCH", 2)
    monkeypatch.setattr(receive, "MAX_BATCH_BYTES", 100_000)


@pytest.mark.usefixtures("few_bytes")
def test_a_batch_of_large_datagrams_is_bounded_in_bytes(pair: Pair) -> None:
    """Also the first one; after small ones a batch is large again."""
    left, receiver = pair
    batches: list[list[bytes]] = []
    large = [bytes([number]) * 40_000 for number in range(6)]
    small = [b"a:%d|c" % number for number in range(9)]
    for sent in (large, small, small):
        for each in sent:
            left.send(each)
        is_full = True
        while is_full:
            datagrams, _, is_full, *_ = receiver.receive()
            batches.append(datagrams)

    assert [each for batch in batches for each in batch] == large + small + small
    assert max(len(b"".join(batch)) for batch in batches) <= 120_000
    assert batches[-1] == small


def test_a_datagram_that_is_too_large_loses_its_last_line(pair: Pair) -> None:
    """Half a line could be read as another value, so it is dropped and counted."""
    left, receiver = pair
    line = b"x" * 9_999
    left.send(b"\n".join([line] * 7))
    left.send(b"a:1|c")

    assert receiver.receive() == Received([b"\n".join([line] * 6), b"a:1|c"], 1)
    left.send(b"a:1|c")
    assert receiver.receive() == Received([b"a:1|c"])


def test_an_error_passes(pair: Pair) -> None:
    """The caller sees the error of the system."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.setblocking(False)
        receiver = datagram.new_receiver(closed)

    with pytest.raises(OSError, match="Bad file descriptor"):
        receiver.receive()


def test_an_error_costs_no_datagram_that_came_before_it() -> None:
    """These are returned, and the error is raised when there is nothing else."""
    script: list[bytes | OSError] = [b"a:1|c", OSError("once"), OSError("again")]

    class ScriptedSocket(socket.socket):
        def recv(self, *_: int) -> bytes:  # type: ignore[override]
            step = script.pop(0)
            if isinstance(step, OSError):
                raise step
            return step

    with ScriptedSocket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        receiver = receive.SingleReceiver(sock)

        assert receiver.receive() == Received([b"a:1|c"])
        with pytest.raises(OSError, match="again"):
            receiver.receive()


@pytest.mark.parametrize(
    ("datagrams", "lines"),
    [
        ([b"a:1|c"], [b"a:1|c"]),
        ([b"a:1|c\nb:2|c"], [b"a:1|c", b"b:2|c"]),
        ([b"a:1|c\n"], [b"a:1|c", b""]),
        ([b""], [b""]),
        ([b"a:1|c", b"b:2|c\n\n", b"c"], [b"a:1|c", b"b:2|c", b"", b"", b"c"]),
    ],
)
def test_n_newlines_make_n_plus_1_lines(
    datagrams: list[bytes], lines: list[bytes]
) -> None:
    """A datagram ends its last line, and an empty one counts."""
    assert datagram.split_datagrams(datagrams) == lines


@pytest.mark.parametrize(
    ("chunks", "lines", "rest", "too_long"),
    [
        ([b"a:1|c\nb:2|c\n"], [b"a:1|c", b"b:2|c"], [], 0),
        ([b"a:1", b"|c\nb:2|c"], [b"a:1|c"], [b"b:2|c"], 0),
        ([b"\n\n"], [b"", b""], [], 0),
        ([b"a:1|c\r\n\r\nb:2|c\r", b"\n"], [b"a:1|c", b"", b"b:2|c"], [], 0),
        ([b"a\rb:1|c\n\r", b"\r\nc\r"], [b"a\rb:1|c", b"\r"], [b"c\r"], 0),
        ([b"x" * (MAX_LINE_BYTES - 1) + b"\r\n"], [b"x" * (MAX_LINE_BYTES - 1)], [], 0),
        ([b"x" * MAX_LINE_BYTES + b"\r\n"], [], [], 1),
        ([b"x" * MAX_LINE_BYTES + b"\n"], [b"x" * MAX_LINE_BYTES], [], 0),
        ([b"x" * (MAX_LINE_BYTES + 1) + b"\nnext\n"], [b"next"], [], 1),
        ([b"x" * MAX_LINE_BYTES], [], [b"x" * MAX_LINE_BYTES], 0),
        ([b"x" * MAX_LINE_BYTES, b"x", b"xx\nnext\n"], [b"next"], [], 1),
        ([b"x" * 9000, b"x" * 9000], [], [], 1),
    ],
)
def test_a_stream_is_split_into_lines(
    chunks: list[bytes], lines: list[bytes], rest: list[bytes], too_long: int
) -> None:
    """Whatever the chunks; a line that is too long costs itself only."""
    splitter = datagram.LineSplitter()
    found = [line for chunk in chunks for line in splitter.feed(chunk)]

    assert (found, splitter.end(), splitter.too_long) == (lines, rest, too_long)


@given(st.binary(max_size=60), st.integers(1, 9))
def test_chunks_do_not_matter(data: bytes, size: int) -> None:
    """The lines are those of all bytes together."""
    whole, in_chunks = datagram.LineSplitter(), datagram.LineSplitter()
    wanted = whole.feed(data) + whole.end()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    found = [line for piece in pieces for line in in_chunks.feed(piece)]

    assert found + in_chunks.end() == wanted
