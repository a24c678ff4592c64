"""A socket to datagrams to lines."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import datagram


def test_receive_takes_what_is_there_and_no_more_than_asked() -> None:
    """A batch is bounded, keeps the borders of datagrams, and never waits."""
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with left, right:
        right.setblocking(False)
        for number in range(5):
            left.send(b"a:%d|c" % number)
        left.send(b"")

        assert datagram.receive(right, 2) == [b"a:0|c", b"a:1|c"]
        assert datagram.receive(right) == [b"a:2|c", b"a:3|c", b"a:4|c", b""]
        assert datagram.receive(right) == []


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
