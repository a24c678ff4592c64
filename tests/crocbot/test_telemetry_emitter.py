"""Handles to datagrams: what is written, when, and how it is packed."""

from __future__ import annotations

import asyncio
import math
import socket
from collections import Counter as Count
from contextlib import closing
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.model import MessageType
from crocbot.telemetry import catalogue
from crocbot.telemetry.catalogue import CATALOGUE, Loss, Type
from crocbot.telemetry.emitter import DATAGRAM_BYTES, Emitter
from crocbot.telemetry.instruments import LARGEST, RESERVOIR
from crocbot.telemetry.udp import ChatThread, UdpSender

TOTAL = "crocbot.emitter.lines_sent:"


class FakeWire:
    """A wire that keeps what it is given."""

    def __init__(self) -> None:
        self.connected = True
        self.generation = 1
        self.sent = 0
        self.lost = dict.fromkeys(Loss, 0)
        self.datagrams: list[bytes] = []
        self.running = False
        self.full = 0
        """How many datagrams find no room."""
        self.got = asyncio.Event()
        """Set by every datagram but the total's, which may come a turn later."""

    def send(self, datagram: bytes) -> None:
        """Keep it, if there is room."""
        if self.full:
            self.full -= 1
            self.lost[Loss.BUFFER_FULL] += datagram.count(b"\n") + 1
            return
        self.datagrams.append(datagram)
        self.sent += datagram.count(b"\n") + 1
        if not datagram.startswith(TOTAL.encode()):
            self.got.set()

    def start(self) -> None:
        """Run."""
        self.running = True

    async def settle(self, seconds: float) -> None:
        """Nothing to wait for."""

    async def stop(self) -> None:
        """Run no more."""
        self.running = False

    def take(self) -> list[str]:
        """Every line so far, once, but for the total that ends each flush."""
        lines = b"\n".join(self.datagrams).decode().split("\n")
        self.datagrams.clear()
        return [line for line in lines if line and not line.startswith(TOTAL)]


def quiet() -> tuple[Emitter, FakeWire]:
    """An emitter whose first heartbeat is over."""
    wire = FakeWire()
    emitter = Emitter(wire, random=Random(1))  # type: ignore[arg-type]
    emitter.flush()
    wire.take()
    return emitter, wire


def observations(lines: list[str]) -> int:
    """How many observations a receiver counts in timer lines: int(1 / rate) each."""
    rates = [line.partition("|@")[2] for line in lines]
    return sum(int(1 / float(rate)) if rate else 1 for rate in rates)


def test_a_flush_tells_only_what_happened() -> None:
    """One line for each handle that was touched, and none the next time."""
    emitter, wire = quiet()
    text = emitter.counter(catalogue.MESSAGES, MessageType.TEXT)
    emitter.counter(catalogue.MESSAGES, MessageType.MEDIA)
    text.inc()
    text.inc(2)
    emitter.gauge(catalogue.UPTIME).set(12.5)
    emitter.timer(catalogue.LATENCY, MessageType.TEXT).observe(1.5)
    emitter.flush()

    assert wire.take() == [
        "crocbot.messages.text:3|c",
        "crocbot.uptime:12.5|g",
        "crocbot.telegram.latency.text:1500.000000|ms",
    ]

    emitter.flush()

    assert wire.take() == []


def test_a_heartbeat_tells_everything() -> None:
    """Counters are declared at 0 and gauges repeated; a gauge without value is not."""
    emitter, wire = quiet()
    emitter.counter(catalogue.MESSAGES, MessageType.TEXT)
    emitter.gauge(catalogue.UPTIME).set(7)
    emitter.gauge(catalogue.TASKS)
    emitter.timer(catalogue.LOOP_LAG)
    emitter.flush()
    wire.take()
    emitter.flush(everything=True)

    assert wire.take() == [
        "crocbot.emitter.values_dropped.invalid:0|c",
        "crocbot.messages.text:0|c",
        "crocbot.emitter.lines_lost.refused:0|g",
        "crocbot.emitter.lines_lost.buffer_full:0|g",
        "crocbot.emitter.lines_lost.unreachable:0|g",
        "crocbot.emitter.lines_lost.other:0|g",
        "crocbot.uptime:7|g",
    ]


def test_every_flush_ends_with_how_many_lines_were_sent() -> None:
    """The running total has its own line in it, so it is what a receiver counts."""
    emitter, wire = quiet()
    counter = emitter.counter(catalogue.MESSAGES, MessageType.TEXT)
    received = wire.sent
    for everything in (False, True, False):
        counter.inc()
        emitter.flush(everything=everything)
        lines = b"\n".join(wire.datagrams).decode().split("\n")
        wire.datagrams.clear()
        received += len(lines)

        assert lines[-1] == f"{TOTAL}{received}|g"


def test_what_was_not_taken_is_not_in_the_total() -> None:
    """Lines that the kernel refused are told as lost, and not as sent."""
    emitter, wire = quiet()
    counter = emitter.counter(catalogue.MESSAGES, MessageType.TEXT)
    before = wire.sent
    counter.inc()
    wire.full = 1
    emitter.flush()
    wire.datagrams.clear()
    counter.inc()
    emitter.flush()
    lines = b"\n".join(wire.datagrams).decode().split("\n")

    assert "crocbot.emitter.lines_lost.buffer_full:1|g" in lines
    # One total that went out alone, and the second flush.
    assert lines[-1] == f"{TOTAL}{before + 1 + len(lines)}|g"


def test_a_quiet_flush_sends_no_total() -> None:
    """Nothing happened, nothing is sent."""
    emitter, wire = quiet()
    emitter.flush()

    assert wire.datagrams == []


def test_a_new_socket_is_told_everything() -> None:
    """Who listens there may know nothing: it need not wait for the heartbeat."""
    emitter, wire = quiet()
    emitter.counter(catalogue.MESSAGES, MessageType.TEXT)
    wire.generation += 1
    emitter.flush()

    assert "crocbot.messages.text:0|c" in wire.take()


def test_without_an_address_everything_adds_up() -> None:
    """Nothing is sent and nothing is lost before there is somewhere to send to."""
    wire = FakeWire()
    wire.connected = False
    emitter = Emitter(wire, random=Random(1))  # type: ignore[arg-type]
    for value in range(2000):
        emitter.counter(catalogue.MESSAGES, MessageType.TEXT).inc()
        emitter.gauge(catalogue.TASKS).set(value)
        emitter.timer(catalogue.LOOP_LAG).observe(value)
        emitter.flush()
    unsent = wire.take()
    wire.connected = True
    emitter.flush()
    lines = wire.take()

    assert unsent == []
    assert wire.lost == dict.fromkeys(Loss, 0)
    assert "crocbot.messages.text:2000|c" in lines
    assert "crocbot.event_loop.tasks:1999|g" in lines
    assert observations([line for line in lines if "|ms" in line]) == 2000


def test_a_negative_gauge_stays_in_one_datagram() -> None:
    """The client writes it as two lines, and no scrape may fall between them."""
    emitter, wire = quiet()
    emitter.gauge(catalogue.TASKS).set(-3)
    emitter.flush()

    assert wire.datagrams[0] == (
        b"crocbot.event_loop.tasks:0|g\ncrocbot.event_loop.tasks:-3|g"
    )


@pytest.mark.parametrize(
    ("amounts", "text"),
    [
        ([0.01], "0.01"),
        ([1e-9], "1e-09"),
        ([1234567.890123], "1234567.890123"),
        ([3], "3"),
        ([LARGEST], "9007199254740992"),
    ],
)
def test_a_counter_is_sent_with_all_its_digits(amounts: list[float], text: str) -> None:
    """Processor time rises by fractions, and none is rounded away."""
    emitter, wire = quiet()
    counter = emitter.counter(catalogue.CPU, "user")
    for amount in amounts:
        counter.inc(amount)
    emitter.flush()

    assert wire.take() == [f"crocbot.process.cpu.user:{text}|c"]


@pytest.mark.parametrize("count", [1, 511, 512, 513, 600, 1024, 5000, 47_619])
def test_a_timer_is_counted_exactly(count: int) -> None:
    """However many observations, the receiver counts as many, from few lines."""
    emitter, wire = quiet()
    timer = emitter.timer(catalogue.LOOP_LAG)
    for value in range(count):
        timer.observe(value)
    emitter.flush()
    lines = wire.take()

    assert observations(lines) == count
    assert len(lines) == min(count, RESERVOIR)


def test_no_lots_are_drawn_a_second_time() -> None:
    """A line with a rate is sent as surely as one without."""
    for seed in range(20):
        wire = FakeWire()
        emitter = Emitter(wire, random=Random(seed))  # type: ignore[arg-type]
        for _ in range(RESERVOIR * 100):
            emitter.timer(catalogue.LOOP_LAG).observe(0.001)
        emitter.flush()

        assert len([line for line in wire.take() if "|ms" in line]) == RESERVOIR


NUMBERS = st.one_of(
    st.integers(-LARGEST, LARGEST), st.floats(-float(LARGEST), float(LARGEST))
)
ANYTHING = st.one_of(NUMBERS, st.none(), st.text(max_size=3), st.just(math.nan))


@given(st.lists(st.tuples(st.integers(0, 99), ANYTHING), max_size=200), st.booleans())
def test_any_numbers_make_good_datagrams(
    told: list[tuple[int, object]], everything: bool
) -> None:
    """Whatever is told, every datagram is under the limit and every line is statsd."""
    emitter, wire = quiet()
    handles = every_handle(emitter)
    for place, value in told:
        handles[place % len(handles)](value)
    emitter.flush(everything=everything)

    assert all(0 < len(each) < DATAGRAM_BYTES for each in wire.datagrams)
    for line in wire.take():
        name, _, rest = line.partition(":")
        value, kind, *rate = rest.split("|")
        assert name in emitter.names
        assert math.isfinite(float(value))
        assert kind in {"c", "g", "ms"}
        assert kind == "g" or float(value) >= 0
        assert not rate or kind == "ms"


def every_handle(emitter: Emitter) -> list:
    """The one verb of each handle that the catalogue allows."""
    verbs: list = []
    for metric in CATALOGUE:
        free = [segment for segment in metric.segments if not segment.words]
        for words in [("1",) * len(free)] if free else metric.words():
            match metric.type:
                case Type.COUNTER:
                    verbs.append(emitter.counter(metric, *words).inc)
                case Type.GAUGE:
                    verbs.append(emitter.gauge(metric, *words).set)
                case Type.HISTOGRAM:
                    verbs.append(emitter.timer(metric, *words).observe)
    return verbs


def test_what_is_no_number_is_counted_and_told() -> None:
    """A refused value is known at the next flush."""
    emitter, wire = quiet()
    emitter.counter(catalogue.MESSAGES, MessageType.TEXT).inc(None)  # type: ignore[arg-type]
    emitter.gauge(catalogue.TASKS).set(math.nan)
    emitter.timer(catalogue.LOOP_LAG).observe("1")  # type: ignore[arg-type]
    emitter.flush()

    assert wire.take() == ["crocbot.emitter.values_dropped.invalid:3|c"]


def test_a_handle_is_made_once() -> None:
    """Asking again gives the same handle, so nothing is counted apart."""
    emitter, _ = quiet()

    for make, metric in (
        (emitter.counter, catalogue.MESSAGES),
        (emitter.timer, catalogue.LATENCY),
    ):
        assert make(metric, MessageType.TEXT) is make(metric, MessageType.TEXT)
    assert emitter.gauge(catalogue.UPTIME) is emitter.gauge(catalogue.UPTIME)


def test_memory_is_bounded() -> None:
    """A million numbers are held as a few, and as a few datagrams."""
    emitter, wire = quiet()
    counter = emitter.counter(catalogue.MESSAGES, MessageType.TEXT)
    timer = emitter.timer(catalogue.LOOP_LAG)
    wire.connected = False
    for _ in range(200_000):
        counter.inc()
        timer.observe(0.25)
    wire.connected = True
    emitter.flush()
    lines = Count(line.partition(":")[0] for line in wire.take())

    assert lines == {counter.name: 1, timer.name: RESERVOIR}


def test_the_heart_beats_by_itself() -> None:
    """The flusher declares the counters again whenever the interval is over."""

    async def scenario() -> list[list[str]]:
        wire = FakeWire()
        now = 0.0
        emitter = Emitter(
            wire,  # type: ignore[arg-type]
            flush_seconds=0.0001,
            heartbeat_seconds=10,
            clock=lambda: now,
        )
        emitter.counter(catalogue.MESSAGES, MessageType.TEXT)
        emitter.start()
        beats = []
        for _ in range(3):
            await asyncio.wait_for(wire.got.wait(), 5)
            wire.got.clear()
            beats.append(wire.take())
            now += 10
        await emitter.stop()
        return beats

    beats = asyncio.run(scenario())

    assert all("crocbot.messages.text:0|c" in lines for lines in beats)


def test_between_two_heartbeats_it_flushes() -> None:
    """A number goes out at the next flush, long before the next heartbeat."""

    async def scenario() -> list[str]:
        wire = FakeWire()
        emitter = Emitter(wire, flush_seconds=0.0001, clock=lambda: 0.0)  # type: ignore[arg-type]
        emitter.start()
        await asyncio.wait_for(wire.got.wait(), 5)
        wire.take()
        wire.got.clear()
        emitter.counter(catalogue.MESSAGES, MessageType.TEXT).inc()
        await asyncio.wait_for(wire.got.wait(), 5)
        lines = wire.take()
        await emitter.stop()
        return lines

    assert asyncio.run(scenario()) == ["crocbot.messages.text:1|c"]


def test_a_large_flush_leaves_others_their_turn() -> None:
    """Between two portions the event loop goes round; no line is lost or told twice."""

    async def scenario() -> tuple[int, list[str]]:
        wire = FakeWire()
        emitter = Emitter(wire, flush_seconds=3600)  # type: ignore[arg-type]
        timers = [emitter.timer(catalogue.LATENCY, kind) for kind in MessageType]
        for timer in timers:
            for _ in range(RESERVOIR):
                timer.observe(0.25)
        emitter.start()
        turns = 0
        while not any(TOTAL.encode() in each for each in wire.datagrams):
            await asyncio.sleep(0)
            turns += 1
        lines = wire.take()
        await emitter.stop()
        return turns, [line for line in lines if "|ms" in line]

    turns, lines = asyncio.run(scenario())

    assert turns > len(MessageType)
    assert observations(lines) == len(lines) == len(MessageType) * RESERVOIR


def test_stopping_in_the_middle_of_a_flush_loses_nothing() -> None:
    """What the flusher had not sent yet goes out with the last flush."""

    async def scenario() -> list[str]:
        wire = FakeWire()
        emitter = Emitter(wire, flush_seconds=3600)  # type: ignore[arg-type]
        for kind in MessageType:
            timer = emitter.timer(catalogue.LATENCY, kind)
            for _ in range(RESERVOIR):
                timer.observe(0.25)
        emitter.start()
        await asyncio.wait_for(wire.got.wait(), 5)
        await emitter.stop()
        return [line for line in wire.take() if "|ms" in line]

    assert observations(asyncio.run(scenario())) == len(MessageType) * RESERVOIR


def test_stopping_sends_what_is_left() -> None:
    """The last flush is a heartbeat, then the wire is closed; again does nothing."""

    async def scenario() -> tuple[list[str], list[str], bool]:
        wire = FakeWire()
        emitter = Emitter(wire, flush_seconds=3600)  # type: ignore[arg-type]
        emitter.start()
        await asyncio.wait_for(wire.got.wait(), 5)
        wire.take()
        emitter.counter(catalogue.MESSAGES, MessageType.TEXT).inc(5)
        await emitter.stop()
        left = wire.take()
        await emitter.stop()
        return left, wire.take(), wire.running

    left, after, running = asyncio.run(scenario())

    assert "crocbot.messages.text:5|c" in left
    assert "crocbot.emitter.values_dropped.invalid:0|c" in left
    assert (after, running) == ([], False)


def test_counters_come_back_after_the_receiver_restarts() -> None:
    """Losses are counted, and whoever listens next is told everything at once."""

    async def scenario() -> tuple[UdpSender, list[str]]:
        with closing(listen()) as first:
            port = first.getsockname()[1]
        wire = UdpSender("bridge", port, resolve=loopback)
        emitter = Emitter(wire)
        messages = emitter.counter(catalogue.MESSAGES, MessageType.TEXT)
        await wire.look_up()
        for _ in range(3):
            messages.inc()
            emitter.flush()
        with closing(listen(port)) as back:
            await wire.look_up()
            messages.inc()
            emitter.flush()
            lines = [*back.recv(2000).decode().split("\n"), back.recv(99).decode()]
            await wire.stop()
        return wire, lines

    wire, lines = asyncio.run(scenario())

    assert "crocbot.messages.text:1|c" in lines
    assert "crocbot.emitter.values_dropped.invalid:0|c" in lines
    # All that was sent before it came back: a first heartbeat and two more lines.
    assert wire.lost[Loss.REFUSED] == wire.sent - len(lines) > 2
    assert lines[-1] == f"{TOTAL}{wire.sent}|g"


def listen(port: int = 0) -> socket.socket:
    """A receiver on loopback."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", port))
    receiver.settimeout(5)
    return receiver


async def loopback(host: str, port: int) -> list[ChatThread]:
    """Every name is this machine."""
    return [(socket.AF_INET, ("127.0.0.1", port))]
