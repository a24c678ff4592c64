"""A socket to datagrams to lines."""

from __future__ import annotations

import socket

import pytest

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
