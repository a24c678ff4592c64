"""A socket to datagrams to lines."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import datagram
from statsd_bridge.datagram import Receive, mmsg


@pytest.fixture(params=["recvmmsg", "recv"])
def pair(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[socket.socket, Receive]]:
    """A socket to send to, and what receives there: the quick and the portable way."""
    if request.param == "recv":
        monkeypatch.setattr(mmsg, "is_there", lambda: False)
    elif not mmsg.is_there():
        pytest.skip("this system has no recvmmsg")
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        right.setblocking(False)
        left.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        yield left, datagram.receiver(right)


Pair = tuple[socket.socket, Receive]


def test_a_batch_keeps_the_borders_of_datagrams(pair: Pair) -> None:
    """Empty ones, too; when there are none it does not wait."""
    left, receive = pair
    sent = [b"a:1|c\nb:2|c", b"", b"c:3|c"]
    for each in sent:
        left.send(each)

    assert receive() == (sent, 0)
    assert receive() == ([], 0)


def test_an_error_costs_nothing_that_came_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the socket gave is taken; the error is told when there is nothing else."""
    monkeypatch.setattr(mmsg, "is_there", lambda: False)
    comes: list[bytes | OSError] = [b"a:1|c", OSError("once"), OSError("again")]

    class Flaky(socket.socket):
        """A socket with a script."""

        def recv(self, *arguments: int) -> bytes:  # type: ignore[override]
            """Play the next part."""
            part = comes.pop(0)
            if isinstance(part, OSError):
                raise part
            return part

    with Flaky(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        receive = datagram.receiver(sock)

        assert receive() == ([b"a:1|c"], 0)
        with pytest.raises(OSError, match="again"):
            receive()


def test_a_batch_is_bounded(pair: Pair) -> None:
    """What is left comes with the next, in order."""
    left, receive = pair
    sent: list[bytes] = []
    received: list[bytes] = []
    while len(received) <= datagram.BATCH:
        try:
            left.send(b"a:%d|c" % len(sent), socket.MSG_DONTWAIT)
        except BlockingIOError:
            received += receive().datagrams
        else:
            sent.append(b"a:%d|c" % len(sent))
    while batch := receive().datagrams:
        assert len(batch) <= datagram.BATCH
        received += batch

    assert received == sent


@pytest.mark.parametrize(
    "size", [1, mmsg.HEAD - 1, mmsg.HEAD, mmsg.HEAD + 1, 9_000, datagram.LARGEST]
)
def test_large_and_small_datagrams_come_whole(pair: Pair, size: int) -> None:
    """Wherever a slot ends, and whatever the neighbours are."""
    left, receive = pair
    sent = [b"before", random.Random(size).randbytes(size), b"after"]
    for each in sent:
        left.send(each)

    assert receive() == (sent, 0)


def test_what_is_too_large_loses_its_last_line_and_no_other(pair: Pair) -> None:
    """Half a line could be read as another value; it is dropped and told."""
    left, receive = pair
    line = b"x" * 9_999
    left.send(b"\n".join([line] * 7))
    left.send(b"a:1|c")

    assert receive() == ([b"\n".join([line] * 6), b"a:1|c"], 1)
    left.send(b"a:1|c")
    assert receive() == ([b"a:1|c"], 0)


def test_an_error_passes(pair: Pair) -> None:
    """Whoever opened the socket hears of it."""
    left, receive = pair
    left.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.setblocking(False)
        receive = datagram.receiver(closed)

    with pytest.raises(OSError, match="Bad file descriptor"):
        receive()


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
def test_k_newlines_make_k_plus_1_lines(
    datagrams: list[bytes], lines: list[bytes]
) -> None:
    """A datagram ends its last line; the empty rest of one is a line, too."""
    assert datagram.lines(datagrams) == lines


LONGEST = datagram.LONGEST_LINE


@pytest.mark.parametrize(
    ("chunks", "lines", "rest", "too_long"),
    [
        ([b"a:1|c\nb:2|c\n"], [b"a:1|c", b"b:2|c"], [], 0),
        ([b"a:1", b"|c\nb:2|c"], [b"a:1|c"], [b"b:2|c"], 0),
        ([b"\n\n"], [b"", b""], [], 0),
        ([b"a:1|c\r\n\r\nb:2|c\r", b"\n"], [b"a:1|c", b"", b"b:2|c"], [], 0),
        ([b"a\rb:1|c\n\r", b"\r\nc\r"], [b"a\rb:1|c", b"\r"], [b"c\r"], 0),
        ([b"x" * (LONGEST - 1) + b"\r\n"], [b"x" * (LONGEST - 1)], [], 0),
        ([b"x" * LONGEST + b"\r\n"], [], [], 1),
        ([b"x" * LONGEST + b"\n"], [b"x" * LONGEST], [], 0),
        ([b"x" * (LONGEST + 1) + b"\nnext\n"], [b"next"], [], 1),
        ([b"x" * LONGEST], [], [b"x" * LONGEST], 0),
        ([b"x" * LONGEST, b"x", b"xx\nnext\n"], [b"next"], [], 1),
        ([b"x" * 9000, b"x" * 9000], [], [], 1),
    ],
)
def test_a_stream_is_cut_into_lines(
    chunks: list[bytes], lines: list[bytes], rest: list[bytes], too_long: int
) -> None:
    """However it is chopped; a line that is too long costs itself only."""
    stream = datagram.Stream()
    found = [line for chunk in chunks for line in stream.feed(chunk)]

    assert (found, stream.end(), stream.too_long) == (lines, rest, too_long)


@given(st.binary(max_size=60), st.integers(1, 9))
def test_chopping_does_not_matter(data: bytes, size: int) -> None:
    """The lines are those of the whole, whatever the pieces."""
    whole, chopped = datagram.Stream(), datagram.Stream()
    wanted = whole.feed(data) + whole.end()
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    found = [line for piece in pieces for line in chopped.feed(piece)]

    assert found + chopped.end() == wanted
