"""Datagrams on real sockets: what arrives, what is lost and why."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from structlog.testing import capture_logs

from crocbot.telemetry.catalogue import Loss
from crocbot.telemetry.udp import ChatThread, UdpSender, resolve

NONE_LOST = dict.fromkeys(Loss, 0)


def listen(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    """A receiver; a second's patience keeps a failing test from hanging."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    receiver = socket.socket(family, socket.SOCK_DGRAM)
    receiver.bind((host, port))
    receiver.settimeout(5)
    return receiver


def port_of(receiver: socket.socket) -> int:
    """The port it got."""
    return int(receiver.getsockname()[1])


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    """A receiver on loopback."""
    with closing(listen()) as opened:
        yield opened


class Names:
    """A resolver that says what it is told to say, and counts the questions."""

    def __init__(self, *answers: list[ChatThread] | Exception) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.often = asyncio.Event()

    async def __call__(self, host: str, port: int) -> list[ChatThread]:
        """Answer in turn; the last answer stays."""
        self.asked += 1
        if self.asked == 5:
            self.often.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Socket:
    """A socket whose sends end with these error numbers, then well."""

    def __init__(self, *errors: int, pending: int = 0) -> None:
        self.errors = list(errors)
        self.pending = pending
        self.sent: list[bytes] = []
        self.closed = False

    def send(self, datagram: bytes) -> None:
        """Fail as told, then take it."""
        if self.errors:
            number = self.errors.pop(0)
            if number:
                raise OSError(number, "no")
        self.sent.append(datagram)

    def getsockopt(self, level: int, option: int) -> int:
        """Tell the pending error."""
        return self.pending

    def close(self) -> None:
        """Remember that."""
        self.closed = True


def at(port: int, host: str = "127.0.0.1") -> ChatThread:
    """An address as the resolver gives it."""
    return (socket.AF_INET, (host, port))


async def connected(names: Names, **options: object) -> UdpSender:
    """A wire after its first look-up."""
    wire = UdpSender("bridge", 9125, resolve=names, **options)  # type: ignore[arg-type]
    await wire.look_up()
    return wire


def test_a_datagram_arrives(receiver: socket.socket) -> None:
    """What is sent on a connected wire arrives, and its lines are counted."""

    async def scenario() -> UdpSender:
        wire = UdpSender("127.0.0.1", port_of(receiver))
        assert await wire.look_up()
        wire.send(b"a:1|c\nb:1|c")
        await wire.stop()
        return wire

    wire = asyncio.run(scenario())

    assert receiver.recv(100) == b"a:1|c\nb:1|c"
    assert (wire.sent, wire.lost) == (2, NONE_LOST)


def test_ipv6_works() -> None:
    """An address of the other family needs nothing else."""
    try:
        receiver = listen("::1")
    except OSError:
        pytest.skip("no IPv6 on this machine's loopback")

    async def scenario() -> None:
        wire = UdpSender("::1", port_of(receiver))
        await wire.look_up()
        wire.send(b"a:1|c")
        await wire.stop()

    with closing(receiver):
        asyncio.run(scenario())

        assert receiver.recv(100) == b"a:1|c"


def test_refusals_are_charged_to_the_datagram_before() -> None:
    """With nobody there every line is lost to a refusal, none is counted twice."""
    with closing(listen()) as gone:
        port = port_of(gone)

    async def scenario() -> UdpSender:
        wire = await connected(Names([at(port)]))
        for datagram in (b"a:1|c", b"b:1|c\nb:2|c", b"c:1|c\nc:2|c\nc:3|c"):
            wire.send(datagram)
        await wire.stop()
        return wire

    wire = asyncio.run(scenario())

    assert wire.lost == {**NONE_LOST, Loss.REFUSED: 6}
    assert wire.sent == 6


def test_a_refused_socket_sends_the_current_datagram_once_more() -> None:
    """The refusal is about the one before, so the current one goes out."""
    door = Socket(0, errno.ECONNREFUSED)

    async def scenario() -> UdpSender:
        wire = await connected(Names([at(1)]), connect=lambda address: door)
        wire.send(b"one\ntwo")
        wire.send(b"three")
        return wire

    wire = asyncio.run(scenario())

    assert door.sent == [b"one\ntwo", b"three"]
    assert wire.lost == {**NONE_LOST, Loss.REFUSED: 2}


def test_a_second_refusal_loses_the_current_datagram() -> None:
    """It is tried once more, not for ever."""
    door = Socket(errno.ECONNREFUSED, errno.ECONNREFUSED)

    async def scenario() -> UdpSender:
        wire = await connected(Names([at(1)]), connect=lambda address: door)
        wire.send(b"one")
        return wire

    wire = asyncio.run(scenario())

    assert (door.sent, wire.sent) == ([], 0)
    assert wire.lost == {**NONE_LOST, Loss.REFUSED: 1}


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.EAGAIN, Loss.BUFFER_FULL),
        (errno.ENOBUFS, Loss.BUFFER_FULL),
        (errno.ENETUNREACH, Loss.UNREACHABLE),
        (errno.EHOSTUNREACH, Loss.UNREACHABLE),
        (errno.EPERM, Loss.OTHER),
        (errno.EMSGSIZE, Loss.OTHER),
    ],
)
def test_losses_are_counted_by_reason(number: int, reason: Loss) -> None:
    """Each error of the socket is one of the few reasons, and nothing is raised."""

    async def scenario() -> UdpSender:
        door = Socket(number)
        wire = await connected(Names([at(1)]), connect=lambda address: door)
        wire.send(b"one\ntwo")
        wire.send(b"three")
        return wire

    wire = asyncio.run(scenario())

    assert wire.lost == {**NONE_LOST, reason: 2}
    assert wire.sent == 1


def test_a_wire_without_a_socket_raises_nothing() -> None:
    """Sending before there is an address is counted like any other loss."""
    wire = UdpSender("bridge", 9125)
    wire.send(b"one")

    assert wire.lost == {**NONE_LOST, Loss.OTHER: 1}


def test_the_last_refusal_is_learned_when_the_socket_closes() -> None:
    """A refusal that no later send told is counted all the same."""
    door = Socket(pending=errno.ECONNREFUSED)

    async def scenario() -> UdpSender:
        wire = await connected(Names([at(1)]), connect=lambda address: door)
        wire.send(b"one\ntwo")
        await wire.stop()
        return wire

    wire = asyncio.run(scenario())

    assert wire.lost == {**NONE_LOST, Loss.REFUSED: 2}
    assert door.closed


def test_a_receiver_that_is_back_is_found_again() -> None:
    """After a refusal the next look-up makes a new source port, and lines arrive."""
    with closing(listen()) as first:
        port = port_of(first)

    async def scenario() -> None:
        wire = await connected(Names([at(port)]))
        wire.send(b"lost:1|c")
        wire.send(b"lost:1|c")
        with closing(listen(port=port)) as back:
            await wire.look_up()
            wire.send(b"here:1|c")

            assert back.recv(100) == b"here:1|c"
        assert wire.generation == 2
        await wire.stop()

    asyncio.run(scenario())


def test_a_changed_address_gets_a_new_socket(receiver: socket.socket) -> None:
    """A container that moved is followed at the next look-up."""

    async def scenario() -> None:
        with closing(listen()) as old:
            names = Names([at(port_of(old))], [at(port_of(receiver))])
            wire = await connected(names)
            await wire.look_up()
            wire.send(b"moved:1|c")
            await wire.stop()

    asyncio.run(scenario())

    assert receiver.recv(100) == b"moved:1|c"


def test_an_unchanged_address_keeps_its_socket(receiver: socket.socket) -> None:
    """Without trouble a look-up changes nothing, whatever the order of the answer."""
    here = at(port_of(receiver))

    async def scenario() -> int:
        wire = await connected(Names([here], [at(1), here]))
        await wire.look_up()
        await wire.stop()
        return wire.generation

    assert asyncio.run(scenario()) == 1


def test_the_old_address_stays_while_the_name_is_unknown(
    receiver: socket.socket,
) -> None:
    """A resolver that fails later takes nothing away."""

    async def scenario() -> bool:
        names = Names([at(port_of(receiver))], socket.gaierror(-2, "unknown"))
        wire = await connected(names)
        found = await wire.look_up()
        wire.send(b"still:1|c")
        await wire.stop()
        return found

    assert asyncio.run(scenario()) is False
    assert receiver.recv(100) == b"still:1|c"


def test_trouble_moves_on_to_the_next_address(receiver: socket.socket) -> None:
    """A name with two addresses, one of them deaf, ends at the other."""
    with closing(listen()) as gone:
        deaf = at(port_of(gone))

    async def scenario() -> None:
        wire = await connected(Names([deaf, at(port_of(receiver))]))
        wire.send(b"one:1|c")
        wire.send(b"one:1|c")
        await wire.look_up()
        wire.send(b"two:1|c")
        await wire.stop()

    asyncio.run(scenario())

    assert receiver.recv(100) == b"two:1|c"


def test_an_address_without_a_route_is_passed_over() -> None:
    """The first address that can be connected is taken."""
    door = Socket()

    async def scenario() -> UdpSender:
        return await connected(
            Names([at(1), at(2)]),
            connect=lambda address: None if address == at(1) else door,
        )

    assert asyncio.run(scenario()).connected


@pytest.mark.parametrize(
    "error",
    [
        socket.gaierror(-2, "Name or service not known"),
        UnicodeError("label empty or too long"),
        ValueError("embedded null character"),
    ],
)
def test_a_name_without_address_is_told_once(error: Exception) -> None:
    """One warning however often it fails, and one line when it is back."""
    door = Socket()

    async def scenario() -> None:
        names = Names(error, error, [at(1)], [at(1)])
        wire = await connected(names, connect=lambda address: door)
        for _ in range(3):
            await wire.look_up()

    with capture_logs() as lines:
        asyncio.run(scenario())

    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("warning", "statsd address not found; metrics wait, all else goes on"),
        ("info", "statsd address found"),
    ]
    assert [(line["host"], line["port"]) for line in lines] == [("bridge", 9125)] * 2


def test_a_slow_resolver_is_asked_once() -> None:
    """A look-up beyond its limit counts as failed, and no second one is begun."""

    async def scenario() -> tuple[list[bool], int]:
        answer = asyncio.Event()
        names = Names([at(1)])

        async def slow(host: str, port: int) -> list[ChatThread]:
            found = await names(host, port)
            await answer.wait()
            return found

        wire = UdpSender(
            "bridge",
            9125,
            resolve=slow,
            connect=lambda address: Socket(),  # type: ignore[arg-type,return-value]
            limit_seconds=0.001,
        )
        results = [await wire.look_up(), await wire.look_up()]
        answer.set()
        while not wire.connected:
            results.append(await wire.look_up())
        await wire.stop()
        return results, names.asked

    results, asked = asyncio.run(scenario())

    assert results[:2] == [False, False]
    assert results[-1] is True
    assert asked == 1


def test_it_looks_up_again_and_again() -> None:
    """At the start, at the interval, and after trouble: each makes a question."""

    async def scenario() -> int:
        names = Names(socket.gaierror(-2, "unknown"), [at(1)])
        wire = UdpSender(
            "bridge",
            9125,
            resolve=names,
            connect=lambda address: Socket(),  # type: ignore[arg-type,return-value]
            every_seconds=0.001,
            trouble_seconds=0.001,
        )
        wire.start()
        await asyncio.wait_for(names.often.wait(), 5)
        await wire.stop()
        return names.asked

    assert asyncio.run(scenario()) >= 5


def test_trouble_does_not_wait_for_the_interval() -> None:
    """After a loss there is a new socket long before the regular look-up."""

    async def scenario() -> int:
        doors = [Socket(errno.ENETUNREACH), Socket()]
        second = asyncio.Event()

        def connect(address: ChatThread) -> Socket:
            door = doors.pop(0)
            if not doors:
                second.set()
            return door

        wire = UdpSender(
            "bridge",
            9125,
            resolve=Names([at(1)]),
            connect=connect,  # type: ignore[arg-type]
            every_seconds=3600,
            trouble_seconds=0.001,
        )
        wire.start()
        await wire.settle(5)
        wire.send(b"lost:1|c")
        await asyncio.wait_for(second.wait(), 5)
        await wire.stop()
        return wire.generation

    assert asyncio.run(scenario()) == 2


def test_settling_has_an_end() -> None:
    """Waiting for a first address gives up after its time."""

    async def scenario() -> bool:
        wire = UdpSender("bridge", 9125)
        await wire.settle(0.001)
        return wire.connected

    assert asyncio.run(scenario()) is False


def test_a_silent_resolver_does_not_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The program ends while the system's resolver still waits for an answer."""
    answer = threading.Event()
    asking: list[threading.Thread] = []

    def silent(*_: object, **__: object) -> list[object]:
        asking.append(threading.current_thread())
        answer.wait(60)
        return []

    async def scenario() -> None:
        wire = UdpSender("bridge", 9125, limit_seconds=0.001)
        await wire.look_up()
        await wire.stop()

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    asyncio.run(scenario())
    still = [thread.is_alive() for thread in asking]
    answer.set()
    for thread in asking:
        thread.join()

    assert still == [True]


def test_the_system_does_not_know_every_name() -> None:
    """The system's own error comes back from the thread that asked."""
    with pytest.raises(OSError):
        asyncio.run(resolve("no-such-host.invalid", 9125))


def test_the_system_knows_its_own_loopback() -> None:
    """The default resolver gives addresses that connect() takes."""
    found = asyncio.run(resolve("127.0.0.1", 9125))

    assert found == [(socket.AF_INET, ("127.0.0.1", 9125))]
