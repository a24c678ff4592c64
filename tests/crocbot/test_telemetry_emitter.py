"""Instruments to datagrams: what is written, when, and how it is packed."""

from __future__ import annotations

import asyncio
import itertools
import math
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from crocbot.model import HostPort, MessageType
from crocbot.telemetry import catalogue, process_metrics
from crocbot.telemetry.emitter import MAX_DATAGRAM_BYTES, Emitter, sampling_rate
from crocbot.telemetry.instruments import MAX_NUMBER, MAX_OBSERVATIONS, Instruments
from crocbot.telemetry.labels import LossReason
from crocbot.telemetry.udp import SocketAddress, UdpTarget
from tests.crocbot.fakes import Clock, RecordingTarget
from tests.ports import free_port

TOTAL = RecordingTarget.TOTAL


class EmitterFixture:
    """An emitter of instruments that are made as the test asks for them."""

    def __init__(self, **options: object) -> None:
        self.target = RecordingTarget()
        self.instruments = Instruments(
            (), invalid_name="crocbot.emitter.values_dropped.invalid", random=Random(1)
        )
        self.messages = self.instruments.counter(catalogue.MESSAGES, MessageType.TEXT)
        self.tasks = self.instruments.gauge(process_metrics.TASKS)
        self.lag = self.instruments.timer(process_metrics.LOOP_LAG)
        self.emitter = Emitter(self.instruments, self.target, **options)  # type: ignore[arg-type]

    def flush(self, *, everything: bool = False) -> list[str]:
        """Return the lines of one flush."""
        self.emitter.flush(everything=everything)
        return self.target.take()

    async def received(self) -> list[str]:
        """Wait for a datagram; return the lines so far."""
        await asyncio.wait_for(self.target.received.wait(), 60)
        self.target.received.clear()
        return self.target.take()


@pytest.fixture
def scene() -> EmitterFixture:
    """An emitter whose first heartbeat is over."""
    scene = EmitterFixture()
    scene.flush()
    return scene


@asynccontextmanager
async def running(**options: object) -> AsyncIterator[EmitterFixture]:
    """An emitter that flushes by itself."""
    scene = EmitterFixture(**options)
    scene.emitter.start()
    yield scene
    await scene.emitter.stop()


def observations(lines: list[str]) -> int:
    """Count the observations in timer lines as a receiver does: int(1 / rate) each."""
    rates = [line.partition("|@")[2] for line in lines if "|ms" in line]
    return sum(int(1 / float(rate)) if rate else 1 for rate in rates)


def test_a_flush_sends_only_what_changed(scene: EmitterFixture) -> None:
    """One line for each instrument that changed, and nothing the next time."""
    scene.instruments.counter(catalogue.MESSAGES, MessageType.MEDIA)
    scene.messages.inc()
    scene.messages.inc(2)
    scene.tasks.set(12.5)
    scene.lag.observe(1.5)

    assert scene.flush() == [
        "crocbot.messages.text:3|c",
        "crocbot.event_loop.tasks:12.5|g",
        "crocbot.event_loop.lag:1500.000000|ms",
    ]
    scene.emitter.flush()
    assert scene.target.datagrams == []


def test_a_heartbeat_sends_everything(scene: EmitterFixture) -> None:
    """Counters are declared at 0 and gauges repeated; a gauge without value is not."""
    scene.instruments.gauge(catalogue.UPTIME).set(7)
    scene.flush()

    assert scene.flush(everything=True) == [
        "crocbot.emitter.values_dropped.invalid:0|c",
        "crocbot.messages.text:0|c",
        "crocbot.emitter.lines_lost.refused:0|g",
        "crocbot.emitter.lines_lost.buffer_full:0|g",
        "crocbot.emitter.lines_lost.unreachable:0|g",
        "crocbot.emitter.lines_lost.other:0|g",
        "crocbot.uptime:7|g",
    ]


def test_a_new_socket_gets_everything(scene: EmitterFixture) -> None:
    """Its receiver may have no state: it need not wait for the heartbeat."""
    scene.target.generation += 1

    assert "crocbot.messages.text:0|c" in scene.flush()


def test_every_flush_ends_with_the_total_of_lines(scene: EmitterFixture) -> None:
    """The total includes its own line, so it is what a receiver counts."""
    received = scene.target.sent
    for everything in (False, True, False):
        scene.messages.inc()
        scene.emitter.flush(everything=everything)
        lines = scene.target.take_all()
        received += len(lines)

        assert lines[-1] == f"{TOTAL}{received}|g"


def test_refused_lines_are_counted_as_lost_not_as_sent(scene: EmitterFixture) -> None:
    """A datagram without room is missing in the total and in the next flush."""
    before = scene.target.sent
    scene.messages.inc()
    scene.target.full = 1
    scene.emitter.flush()
    scene.target.take_all()
    scene.messages.inc()
    scene.emitter.flush()
    lines = scene.target.take_all()

    assert "crocbot.messages.text:1|c" in lines
    assert "crocbot.emitter.lines_lost.buffer_full:1|g" in lines
    # The total of the first flush, and the second flush.
    assert lines[-1] == f"{TOTAL}{before + 1 + len(lines)}|g"


def test_without_an_address_numbers_add_up(scene: EmitterFixture) -> None:
    """Nothing is sent and nothing is lost until there is a receiver."""
    scene.target.online = False
    for value in range(2000):
        scene.messages.inc()
        scene.tasks.set(value)
        scene.lag.observe(value)
        scene.emitter.flush()
    unsent = scene.target.take()
    scene.target.online = True
    lines = scene.flush()

    assert unsent == []
    assert scene.target.lost == dict.fromkeys(LossReason, 0)
    assert "crocbot.messages.text:2000|c" in lines
    assert "crocbot.event_loop.tasks:1999|g" in lines
    assert observations(lines) == 2000


def test_a_negative_gauge_stays_in_one_datagram(scene: EmitterFixture) -> None:
    """The client writes it as two lines, and no scrape may come between them."""
    scene.tasks.set(-3)
    scene.emitter.flush()

    assert scene.target.datagrams[0] == (
        b"crocbot.event_loop.tasks:0|g\ncrocbot.event_loop.tasks:-3|g"
    )


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0.01, "0.01"),
        (1e-9, "1e-09"),
        (1234567.890123, "1234567.890123"),
        (3, "3"),
        (MAX_NUMBER, "9007199254740992"),
    ],
)
def test_a_counter_is_sent_with_all_its_digits(
    scene: EmitterFixture, amount: float, text: str
) -> None:
    """CPU time rises by fractions, and none is rounded away."""
    scene.messages.inc(amount)

    assert scene.flush() == [f"crocbot.messages.text:{text}|c"]


@pytest.mark.parametrize("count", [1, 511, 512, 513, 600, 1024, 5000, 47_619])
def test_a_timer_is_counted_exactly(scene: EmitterFixture, count: int) -> None:
    """The receiver counts all observations, from at most 512 lines."""
    for value in range(count):
        scene.lag.observe(value)
    lines = scene.flush()

    assert observations(lines) == count
    assert len(lines) == min(count, MAX_OBSERVATIONS)


def test_a_sampling_rate_is_counted_as_its_weight() -> None:
    """Truncated as receivers do, the rate gives the weight; 1/93 would give 92."""
    weights = [*range(1, 10_000), 2**50]

    assert [int(1 / float(sampling_rate(each))) for each in weights] == weights
    assert int(1 / float(repr(1 / 93))) == 92


NUMBERS = st.one_of(
    st.integers(-MAX_NUMBER, MAX_NUMBER),
    st.floats(-float(MAX_NUMBER), float(MAX_NUMBER)),
)
ANYTHING = st.one_of(NUMBERS, st.none(), st.text(max_size=3), st.just(math.nan))


@given(st.lists(st.tuples(st.integers(0, 999), ANYTHING), max_size=200), st.booleans())
def test_any_numbers_make_valid_datagrams(
    values: list[tuple[int, object]], everything: bool
) -> None:
    """Whatever is recorded, datagrams are below the limit and lines are statsd."""
    target, instruments = RecordingTarget(), catalogue.instruments(Random(1))
    record: list[Callable[[object], None]] = [
        *(counter.inc for counter in instruments.counters),  # type: ignore[list-item]
        *(gauge.set for gauge in instruments.gauges),  # type: ignore[list-item]
        *(timer.observe for timer in instruments.timers),  # type: ignore[list-item]
    ]
    for place, value in values:
        record[place % len(record)](value)
    Emitter(instruments, target).flush(everything=everything)
    names = {
        each.name
        for each in itertools.chain(
            instruments.counters, instruments.gauges, instruments.timers
        )
    }

    assert all(0 < len(each) < MAX_DATAGRAM_BYTES for each in target.datagrams)
    for line in target.take_all():
        name, _, rest = line.partition(":")
        value, type_, *rate = rest.split("|")
        assert name in names
        assert math.isfinite(float(value))
        assert type_ in {"c", "g", "ms"}
        assert type_ == "g" or float(value) >= 0
        assert not rate or type_ == "ms"


async def test_heartbeats_are_periodic() -> None:
    """The emitter declares the counters whenever the interval is over."""
    clock = Clock()
    async with running(flush_seconds=0.0001, clock=clock) as scene:
        for _ in range(3):
            assert "crocbot.messages.text:0|c" in await scene.received()
            clock.now += 10


async def test_flushes_are_periodic() -> None:
    """A number is sent at the next flush, long before the next heartbeat."""
    async with running(flush_seconds=0.0001, clock=Clock()) as scene:
        await scene.received()
        scene.messages.inc()

        assert await scene.received() == ["crocbot.messages.text:1|c"]


async def test_a_flush_that_fails_is_logged() -> None:
    """A bug ends neither the task that sends the metrics nor the gateway's stop."""
    with capture_logs() as logs:
        async with running(flush_seconds=0.0001, clock=Clock()) as scene:
            await scene.received()
            scene.tasks.value, scene.tasks.changed = "no number", True  # type: ignore[assignment]
            while not logs:
                await asyncio.sleep(0.001)
            scene.tasks.set(3)

            assert "crocbot.event_loop.tasks:3|g" in await scene.received()
            scene.tasks.value = "no number"  # type: ignore[assignment]

    assert not scene.target.running
    assert [(line["event"], line["exc_info"]) for line in logs] == [
        ("metrics not sent", True)
    ]


def fill(scene: EmitterFixture) -> None:
    """Fill the reservoirs of three timers."""
    for type_ in MessageType:
        timer = scene.instruments.timer(catalogue.LATENCY, type_)
        for _ in range(MAX_OBSERVATIONS):
            timer.observe(0.25)


async def test_a_large_flush_lets_other_tasks_run() -> None:
    """The event loop turns between two portions; no line is lost or sent twice."""
    scene = EmitterFixture(flush_seconds=3600)
    fill(scene)
    scene.emitter.start()
    turns = 0
    while not any(TOTAL.encode() in each for each in scene.target.datagrams):
        await asyncio.sleep(0)
        turns += 1
    lines = [line for line in scene.target.take() if "|ms" in line]
    await scene.emitter.stop()

    assert turns > len(MessageType)
    assert observations(lines) == len(lines) == len(MessageType) * MAX_OBSERVATIONS


async def test_a_stop_during_a_flush_loses_nothing() -> None:
    """What was not sent yet goes out with the last flush."""
    scene = EmitterFixture(flush_seconds=3600)
    fill(scene)
    scene.emitter.start()
    await asyncio.wait_for(scene.target.received.wait(), 60)
    await scene.emitter.stop()

    assert observations(scene.target.take()) == len(MessageType) * MAX_OBSERVATIONS


async def test_a_stop_sends_what_is_pending() -> None:
    """The last flush is a heartbeat, then the target is closed; again does nothing."""
    async with running(flush_seconds=3600) as scene:
        await scene.received()
        scene.messages.inc(5)
        await scene.emitter.stop()
        lines = scene.target.take()

    assert "crocbot.messages.text:5|c" in lines
    assert "crocbot.emitter.values_dropped.invalid:0|c" in lines
    assert (scene.target.take(), scene.target.running) == ([], False)


async def test_counters_come_back_after_the_receiver_restarts() -> None:
    """Losses are counted, and the next receiver gets everything at once."""

    async def loopback(receiver: HostPort) -> list[SocketAddress]:
        return [(socket.AF_INET, ("127.0.0.1", receiver.port))]

    with closing(listen()) as first:
        port = first.getsockname()[1]
    target = UdpTarget(HostPort("bridge", port), resolve=loopback)
    instruments = Instruments((), invalid_name="crocbot.emitter.values_dropped.invalid")
    emitter = Emitter(instruments, target)
    messages = instruments.counter(catalogue.MESSAGES, MessageType.TEXT)
    await target.reconnect()
    for _ in range(3):
        messages.inc()
        emitter.flush()
    with closing(listen(port)) as back:
        await target.reconnect()
        messages.inc()
        emitter.flush()
        lines = [*back.recv(2000).decode().split("\n"), back.recv(99).decode()]
        await target.stop()

    assert "crocbot.messages.text:1|c" in lines
    assert "crocbot.emitter.values_dropped.invalid:0|c" in lines
    # All that was sent before it came back: a first heartbeat and two more lines.
    assert target.lost[LossReason.REFUSED] == target.sent - len(lines) > 2
    assert lines[-1] == f"{TOTAL}{target.sent}|g"


def listen(port: int = 0) -> socket.socket:
    """Open a receiver on loopback; the kernel gives no other socket its port."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", port or free_port()))
    receiver.settimeout(60)
    return receiver
