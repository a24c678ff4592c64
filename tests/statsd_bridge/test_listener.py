"""The UDP door."""

from __future__ import annotations

import socket
import sys

import pytest

from statsd_bridge import datagram, listener
from statsd_bridge.errors import BindError


def door(feed: listener.Feed, read_buffer: int = 0) -> listener.Udp:
    """Open a door on loopback; a read error fails the test."""

    def failed(error: OSError) -> None:
        raise error

    sock, _ = listener.bind("127.0.0.1", 0, read_buffer)
    return listener.Udp(sock, feed, failed)


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


def test_drain_takes_more_than_one_batch() -> None:
    """A scrape shows all that the kernel had delivered before it."""
    received: list[bytes] = []
    opened = door(received.extend, 1 << 20)
    sent = [b"%d" % number for number in range(150)]
    most, datagram.BATCH = datagram.BATCH, 50
    try:
        send(opened.port, *sent)
        opened.drain()
    finally:
        datagram.BATCH = most
        opened.connectionLost(None)

    assert received == sent


def test_a_read_error_is_told_and_the_door_stays_open() -> None:
    """The next datagram is received."""
    errors: list[OSError] = []
    received: list[bytes] = []

    class Flaky(socket.socket):
        """A socket whose first read fails."""

        def recv(self, *arguments: int) -> bytes:  # type: ignore[override]
            """Fail once."""
            if not errors:
                raise ConnectionRefusedError("once")
            return super().recv(*arguments)

    with Flaky(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        opened = listener.Udp(sock, received.extend, errors.append)
        send(opened.port, b"a:1|c")
        opened.doRead()
        opened.doRead()

    assert [str(error) for error in errors] == ["once"]
    assert received == [b"a:1|c"]


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
            listener.bind("127.0.0.1", port, 0)


def test_an_empty_host_is_ipv4_and_ipv6() -> None:
    """`:9125` hears both families where the machine has both."""
    received: list[bytes] = []
    sock, _ = listener.bind("", 0, 0)
    opened = listener.Udp(sock, received.extend, lambda error: None)
    send(opened.port, b"four")
    opened.doRead()
    opened.connectionLost(None)

    assert received == [b"four"]
