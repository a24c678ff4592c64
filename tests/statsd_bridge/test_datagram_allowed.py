"""Receivers that drop the datagrams of senders that are not allowed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from statsd_bridge import datagram
from statsd_bridge.datagram import MAX_BATCH, Received, allowed, receive
from statsd_bridge.listener import bind
from statsd_bridge.model import HostPort
from statsd_bridge.networks import AllowedSenders, parse_network

HOSTS = ["127.0.0.1", "127.0.0.2", "::1"]


class Peers:
    """A receiver on all interfaces, and senders with addresses of loopback."""

    def __init__(self, networks: list[str], stack: ExitStack) -> None:
        self._stack = stack
        self._senders: dict[str, socket.socket] = {}
        sock = stack.enter_context(bind.open_udp("flag", HostPort("", 0), 1 << 20))
        self._port = sock.getsockname()[1]
        self.receiver = datagram.new_allowed_receiver(
            sock, AllowedSenders([parse_network(each) for each in networks])
        )

    def send(self, host: str, data: bytes) -> None:
        """Send from an address of this machine to the same family's loopback."""
        is_ipv6 = ":" in host
        if host not in self._senders:
            family = socket.AF_INET6 if is_ipv6 else socket.AF_INET
            sender = socket.socket(family, socket.SOCK_DGRAM)
            self._senders[host] = self._stack.enter_context(sender)
            sender.bind((host, 0))
        target = "::1" if is_ipv6 else "127.0.0.1"
        self._senders[host].sendto(data, (target, self._port))


@pytest.fixture(params=["recvmmsg", "recvfrom"])
def stack(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ExitStack]:
    """The fast receiver, then the portable one; closes all sockets."""
    if not Path("/proc/net/if_inet6").exists():
        pytest.skip("this machine has no IPv6")
    if request.param == "recvfrom":
        monkeypatch.setattr(allowed, "has_recvmmsg", lambda: False)
    elif not receive.has_recvmmsg():
        pytest.skip("this system has no recvmmsg")
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize(
    ("networks", "expected"),
    [
        (["127.0.0.1"], {"127.0.0.1"}),
        (["127.0.0.0/8"], {"127.0.0.1", "127.0.0.2"}),
        (["::1"], {"::1"}),
        (["::ffff:127.0.0.2", "::1"], {"127.0.0.2", "::1"}),
        (["10.0.0.0/8"], set()),
        (["0.0.0.0/0", "::/0"], set(HOSTS)),
    ],
)
def test_only_allowed_senders_are_received(
    stack: ExitStack, networks: list[str], expected: set[str]
) -> None:
    """In their order, on one socket for both families; the others are counted."""
    peers = Peers(networks, stack)
    sent = [(host, f"{number} {host}".encode()) for number in (1, 2) for host in HOSTS]
    for host, data in sent:
        peers.send(host, data)
    received = peers.receiver.receive()

    assert received.datagrams == [data for host, data in sent if host in expected]
    assert received.denied == len(sent) - len(received.datagrams)
    assert received.denied_sender in {*HOSTS, ""} - expected
    assert peers.receiver.receive() == Received([])


def test_a_datagram_never_has_the_sender_of_an_earlier_one(stack: ExitStack) -> None:
    """Batches of one, of large ones, and of a flood from both senders."""
    peers = Peers(["127.0.0.1"], stack)
    for size in (1, 1, 9_000, 1):
        peers.send("127.0.0.2", b"x" * size)
        assert peers.receiver.receive() == Received(
            [], denied=1, denied_sender="127.0.0.2"
        )
        peers.send("127.0.0.1", b"a" * size)
        assert peers.receiver.receive() == Received([b"a" * size])
    for number in range(MAX_BATCH // 4):
        peers.send("127.0.0.2" if number % 3 else "127.0.0.1", b"%d" % number)
    batches = iter(peers.receiver.receive, Received([]))

    numbers = [int(data) for batch in batches for data in batch.datagrams]
    assert numbers == list(range(0, MAX_BATCH // 4, 3))
