"""Datagrams on real sockets: what arrives, what is lost and why."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from structlog.testing import capture_logs

from crocbot.model import HostPort
from crocbot.telemetry.labels import LossReason
from crocbot.telemetry.udp import SocketAddress, UdpTarget, resolve
from tests.ports import free_port

NONE_LOST = dict.fromkeys(LossReason, 0)
BRIDGE = HostPort("bridge", 9125)


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """Open a receiver; the kernel gives no other socket its port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    receiver = socket.socket(family, socket.SOCK_DGRAM)
    receiver.bind((host, port or free_port()))
    receiver.settimeout(60)
    return receiver


def port_of(receiver: socket.socket) -> int:
    """Return the port of a receiver."""
    return int(receiver.getsockname()[1])


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A receiver on loopback."""
    with closing(listen()) as opened:
        yield opened


@pytest.fixture
def closed_port() -> int:
    """A port on loopback without a receiver."""
    with closing(listen()) as gone:
        return port_of(gone)


class Resolver:
    """Gives these answers in turn, the last one for ever, and counts the calls."""

    def __init__(self, *answers: list[SocketAddress] | Exception) -> None:
        self.answers = list(answers)
        self.calls = 0

    async def __call__(self, receiver: HostPort) -> list[SocketAddress]:
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeSocket:
    """A socket whose sends fail with these error numbers, then succeed."""

    def __init__(self, *errors: int, pending: int = 0) -> None:
        self.errors = list(errors)
        self.pending = pending
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, datagram: bytes) -> None:
        if self.errors and (number := self.errors.pop(0)):
            raise OSError(number, "no")
        self.sent.append(datagram)

    def getsockopt(self, level: int, option: int) -> int:
        return self.pending

    def close(self) -> None:
        self.closed = True


def at(port: int, host: str = "127.0.0.1") -> SocketAddress:
    """Return an address as the resolver gives it."""
    return (socket.AF_INET, (host, port))


async def connected(resolver: Resolver, **options: Any) -> UdpTarget:
    """Return a target after its first look-up."""
    target = UdpTarget(BRIDGE, resolve=resolver, **options)
    await target.reconnect()
    return target


async def on_fake_socket(fake: FakeSocket) -> UdpTarget:
    """Return a target that sends on this socket."""
    return await connected(Resolver([at(1)]), connect=lambda address: fake)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_datagram_arrives(host: str) -> None:
    """Both address families work, and the lines are counted."""
    try:
        receiver = listen(host)
    except OSError:
        pytest.skip(f"{host} is not on this machine's loopback")
    target = UdpTarget(HostPort(host, port_of(receiver)))
    assert await target.reconnect()
    target.send(b"a:1|c\nb:1|c")
    await target.stop()

    with closing(receiver):
        assert receiver.recv(100) == b"a:1|c\nb:1|c"
    assert (target.sent, target.lost) == (2, NONE_LOST)


async def test_refusals_are_charged_to_the_datagram_before(closed_port: int) -> None:
    """Without a receiver every line is lost to a refusal, none is counted twice."""
    target = await connected(Resolver([at(closed_port)]))
    for datagram in (b"a:1|c", b"b:1|c\nb:2|c", b"c:1|c\nc:2|c\nc:3|c"):
        target.send(datagram)
    await target.stop()

    assert target.lost == {**NONE_LOST, LossReason.REFUSED: 6}
    assert target.sent == 6


@pytest.mark.parametrize(
    ("errors", "sent", "lost"),
    [
        # The refusal is about the datagram before: the current one is sent again,
        ([0, errno.ECONNREFUSED], [b"one\ntwo", b"three"], {LossReason.REFUSED: 2}),
        # but only once.
        ([errno.ECONNREFUSED] * 2, [b"three"], {LossReason.REFUSED: 2}),
        ([errno.EAGAIN], [b"three"], {LossReason.BUFFER_FULL: 2}),
        ([errno.ENOBUFS], [b"three"], {LossReason.BUFFER_FULL: 2}),
        ([errno.ENETUNREACH], [b"three"], {LossReason.UNREACHABLE: 2}),
        ([errno.EHOSTUNREACH], [b"three"], {LossReason.UNREACHABLE: 2}),
        ([errno.EPERM], [b"three"], {LossReason.OTHER: 2}),
        ([errno.EMSGSIZE], [b"three"], {LossReason.OTHER: 2}),
    ],
)
async def test_lost_lines_are_counted_by_reason(
    errors: list[int], sent: list[bytes], lost: dict[LossReason, int]
) -> None:
    """Each error of the socket has one of few reasons, and nothing is raised."""
    fake = FakeSocket(*errors)
    target = await on_fake_socket(fake)
    target.send(b"one\ntwo")
    target.send(b"three")

    assert fake.sent == sent
    assert target.lost == {**NONE_LOST, **lost}
    assert target.sent == sum(each.count(b"\n") + 1 for each in sent)


def test_a_target_without_a_socket_counts_a_loss() -> None:
    """Sending before there is an address raises nothing."""
    target = UdpTarget(BRIDGE)
    target.send(b"one")

    assert target.lost == {**NONE_LOST, LossReason.OTHER: 1}


async def test_the_last_refusal_is_read_when_the_socket_closes() -> None:
    """A refusal that no later send reported is counted all the same."""
    fake = FakeSocket(pending=errno.ECONNREFUSED)
    target = await on_fake_socket(fake)
    target.send(b"one\ntwo")
    await target.stop()

    assert target.lost == {**NONE_LOST, LossReason.REFUSED: 2}
    assert fake.closed


async def test_a_receiver_that_restarted_is_found(closed_port: int) -> None:
    """After a refusal the next look-up makes a new source port, and lines arrive."""
    target = await connected(Resolver([at(closed_port)]))
    target.send(b"lost:1|c")
    target.send(b"lost:1|c")
    with closing(listen(port=closed_port)) as back:
        await target.reconnect()
        target.send(b"here:1|c")

        assert back.recv(100) == b"here:1|c"
    assert target.generation == 2
    await target.stop()


async def test_a_changed_address_gets_a_new_socket(receiver: socket.socket) -> None:
    """A container that moved is found at the next look-up."""
    with closing(listen()) as old:
        addresses = [at(port_of(old))], [at(port_of(receiver))]
        target = await connected(Resolver(*addresses))
        await target.reconnect()
        target.send(b"moved:1|c")
        await target.stop()

    assert receiver.recv(100) == b"moved:1|c"


async def test_an_unchanged_address_keeps_its_socket(receiver: socket.socket) -> None:
    """Without a loss a look-up changes nothing, whatever the order of the answer."""
    here = at(port_of(receiver))
    target = await connected(Resolver([here], [at(1), here]))
    await target.reconnect()
    await target.stop()

    assert target.generation == 1


async def test_the_old_address_stays_if_a_look_up_fails(
    receiver: socket.socket,
) -> None:
    """The socket is used until there is another address."""
    answers = [at(port_of(receiver))], socket.gaierror(-2, "unknown")
    target = await connected(Resolver(*answers))
    found = await target.reconnect()
    target.send(b"still:1|c")
    await target.stop()

    assert found is False
    assert receiver.recv(100) == b"still:1|c"


async def test_a_loss_moves_on_to_the_next_address(
    receiver: socket.socket, closed_port: int
) -> None:
    """Of a name with two addresses the one with a receiver is used in the end."""
    target = await connected(Resolver([at(closed_port), at(port_of(receiver))]))
    target.send(b"one:1|c")
    target.send(b"one:1|c")
    await target.reconnect()
    target.send(b"two:1|c")
    await target.stop()

    assert receiver.recv(100) == b"two:1|c"


async def test_an_address_without_a_route_is_skipped() -> None:
    """The first address that can be connected is used."""
    target = await connected(
        Resolver([at(1), at(2)]),
        connect=lambda address: None if address == at(1) else FakeSocket(),
    )

    assert target.connected


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(-2, "Name or service not known"),
        UnicodeError("label empty or too long"),
        ValueError("embedded null character"),
        # What threading raises if there can be no more threads.
        RuntimeError("can't start new thread"),
    ],
)
async def test_an_unreachable_receiver_is_logged_once(error: Exception) -> None:
    """One warning however often it fails, and one line when it is back."""
    with capture_logs() as logs:
        target = await connected(
            Resolver(error, error, [at(1)], [at(1)]),
            connect=lambda address: FakeSocket(),
        )
        for _ in range(3):
            await target.reconnect()

    assert [(line["log_level"], line["event"], line["address"]) for line in logs] == [
        (
            "warning",
            "statsd address not found; metrics wait, all else goes on",
            "bridge:9125",
        ),
        ("info", "statsd address found", "bridge:9125"),
    ]
    assert logs[0]["error"] == str(error)


async def test_a_slow_resolver_is_called_once() -> None:
    """A look-up beyond its limit counts as failed, and no second one is begun."""
    answer, resolver = asyncio.Event(), Resolver([at(1)])

    async def slow(receiver: HostPort) -> list[SocketAddress]:
        addresses = await resolver(receiver)
        await answer.wait()
        return addresses

    target = UdpTarget(
        BRIDGE,
        resolve=slow,
        connect=lambda address: FakeSocket(),  # type: ignore[arg-type,return-value]
        timeout_seconds=0.001,
    )
    results = [await target.reconnect(), await target.reconnect()]
    answer.set()
    while not target.connected:
        results.append(await target.reconnect())
    await target.stop()

    assert results[:2] == [False, False]
    assert results[-1] is True
    assert resolver.calls == 1


async def test_look_ups_are_periodic() -> None:
    """The name is resolved at start, again after a failure, and at the interval."""
    resolver = Resolver(socket.gaierror(-2, "unknown"), [at(1)])
    target = UdpTarget(
        BRIDGE,
        resolve=resolver,
        connect=lambda address: FakeSocket(),  # type: ignore[arg-type,return-value]
        resolve_seconds=0.001,
        retry_seconds=0.001,
    )
    target.start()
    async with asyncio.timeout(60):
        while resolver.calls < 5:
            await asyncio.sleep(0.001)
    await target.stop()


async def test_a_loss_does_not_wait_for_the_interval() -> None:
    """After a loss there is a new socket long before the regular look-up."""
    sockets = [FakeSocket(errno.ENETUNREACH), FakeSocket()]
    target = UdpTarget(
        BRIDGE,
        resolve=Resolver([at(1)]),
        connect=lambda address: sockets.pop(0),  # type: ignore[arg-type,return-value]
        resolve_seconds=3600,
        retry_seconds=0.001,
    )
    target.start()
    await target.wait_connected(60)
    target.send(b"lost:1|c")
    async with asyncio.timeout(60):
        while target.generation < 2:
            await asyncio.sleep(0.001)
    await target.stop()

    assert sockets == []


async def test_waiting_for_a_socket_has_a_limit() -> None:
    """Without an address the wait ends after its time."""
    target = UdpTarget(BRIDGE)
    await target.wait_connected(0.001)

    assert not target.connected


def test_a_slow_resolver_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The event loop ends while the system's resolver still waits for an answer."""
    began, answer = threading.Event(), threading.Event()
    threads: list[threading.Thread] = []

    def slow(*_: object, **__: object) -> list[object]:
        threads.append(threading.current_thread())
        began.set()
        answer.wait(60)
        return []

    async def look_up() -> None:
        target = UdpTarget(BRIDGE, timeout_seconds=0.001)
        await target.reconnect()
        await target.stop()

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    asyncio.run(look_up())
    began.wait(60)
    alive = [thread.is_alive() for thread in threads]
    answer.set()
    for thread in threads:
        thread.join()

    assert alive == [True]


async def test_the_system_resolves_names() -> None:
    """The resolver gives addresses that connect() takes, or the system's own error."""
    loopback = HostPort("127.0.0.1", 9125)

    assert await resolve(loopback) == [(socket.AF_INET, ("127.0.0.1", 9125))]
    with pytest.raises(OSError):
        await resolve(HostPort("no-such-host.invalid", 9125))
