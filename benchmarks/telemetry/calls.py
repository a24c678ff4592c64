"""
CPU of a metric call in ns, of a message in us, of a runtime sample in us.

Another process listens, so that sending costs what it costs in production.  The times
of calls include that of reading the clock, which is a row of its own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median, quantiles

from statsd import StatsClient

from crocbot.model import HostPort
from crocbot.telemetry import catalogue
from crocbot.telemetry.emitter import Emitter
from crocbot.telemetry.instruments import MAX_OBSERVATIONS
from crocbot.telemetry.observer import Observer
from crocbot.telemetry.runtime import Runtime
from crocbot.telemetry.udp import UdpTarget

HOST = "127.0.0.1"
CALLS = 100_000
MESSAGES = 20_000
FLUSH_EACH = 250
"""Messages between two flushes: a thousand a second, four flushes a second."""

Spread = tuple[float, float]
"""Median and 99.9th percentile."""


def spread(
    call: Callable[[], object],
    calls: int,
    before: Callable[[], object] = lambda: None,
) -> Spread:
    """Return the time of a call in ns; `before` runs before each, unmeasured."""
    now, times = time.perf_counter_ns, []
    for _ in range(calls):
        before()
        began = now()
        call()
        times.append(now() - began)
    return median(times), quantiles(times, n=1000)[-1]


def microseconds(message: Callable[[int], None], messages: int) -> float:
    """Return the CPU time of a message in us, the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for number in range(messages):
            message(number)
        best = min(best, time.process_time() - began)
    return 1e6 * best / messages


def _listen(ready: object) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind((HOST, 0))
        ready.send(receiver.getsockname()[1])  # type: ignore[attr-defined]
        while True:
            receiver.recv(65_535)


@contextmanager
def listener() -> Iterator[int]:
    """Run a process that receives everything; yields its port."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_listen, args=(theirs,), daemon=True
    )
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


class Ours:
    """The gateway's instruments, connected to a port."""

    def __init__(self, port: int) -> None:
        target = UdpTarget(HostPort(HOST, port))
        asyncio.run(target.reconnect())
        instruments = catalogue.instruments()
        self.emitter = Emitter(instruments, target)
        self.counters = [
            instruments.counter(catalogue.TURNS, "answered"),
            instruments.counter(catalogue.MESSAGES, "text"),
            instruments.counter(catalogue.UPDATES, "message"),
            instruments.counter(catalogue.AGENT_TOKENS, "input"),
            instruments.counter(catalogue.AGENT_TOKENS, "output"),
            instruments.counter(catalogue.FLOOD_WAITS),
        ]
        self.timers = [
            instruments.timer(catalogue.LATENCY, "text"),
            instruments.timer(catalogue.AGENT_LATENCY),
            instruments.timer(catalogue.API_LATENCY, "sendMessage", "ok"),
        ]
        self.gauge = instruments.gauge(catalogue.TURNS_IN_FLIGHT)

    def message(self, number: int) -> None:
        """Record ten events, and flush after every FLUSH_EACH messages."""
        for counter in self.counters:
            counter.inc()
        for timer in self.timers:
            timer.observe(0.25)
        self.gauge.set(number % 64)
        if number % FLUSH_EACH == 0:
            self.emitter.flush()


class Plain:
    """The plain client, used like in its manual, with the same names."""

    def __init__(self, port: int) -> None:
        self.client = StatsClient(HOST, port)
        ours = Ours(port)
        self.counters = [counter.name for counter in ours.counters]
        self.timers = [timer.name for timer in ours.timers]
        self.gauge = ours.gauge.name

    def message(self, number: int) -> None:
        """Send ten events."""
        for name in self.counters:
            self.client.incr(name)
        for name in self.timers:
            self.client.timing(name, 250)
        self.client.gauge(self.gauge, number % 64)

    def pipelined(self, number: int) -> None:
        """Send ten events in one datagram."""
        with self.client.pipeline() as pipe:
            for name in self.counters:
                pipe.incr(name)
            for name in self.timers:
                pipe.timing(name, 250)
            pipe.gauge(self.gauge, number % 64)


def calls(times: int = CALLS) -> Iterator[tuple[str, Spread]]:
    """Yield each call by name, with its spread over `times` calls."""
    yield "the clock alone", spread(lambda: None, times)
    with listener() as port:
        ours = Ours(port)
        yield "`counter.inc()`", spread(ours.counters[0].inc, times)
        yield "`gauge.set(7)`", spread(partial(ours.gauge.set, 7), times)
        timer = ours.timers[0]
        observe = partial(timer.observe, 0.25)
        empty = spread(
            observe,
            times,
            before=lambda: timer.count < MAX_OBSERVATIONS or timer.take(),
        )
        yield "`timer.observe(0.25)`, reservoir not full", empty
        for _ in range(2 * MAX_OBSERVATIONS):
            observe()
        yield "`timer.observe(0.25)`, reservoir full", spread(observe, times)
        client = StatsClient(HOST, port)
        yield "plain `incr`", spread(partial(client.incr, "a.counter"), times)
        yield "plain `gauge`", spread(partial(client.gauge, "a.gauge", 7), times)
        yield "plain `timing`", spread(partial(client.timing, "a.timer", 250), times)


def messages(times: int = MESSAGES) -> tuple[float, float, float]:
    """Return us for ten events: ours with its flushes, plain, a pipeline each."""
    with listener() as port:
        ours, plain = Ours(port), Plain(port)
        return (
            microseconds(ours.message, times),
            microseconds(plain.message, times),
            microseconds(plain.pipelined, times),
        )


def samples(times: int = 2000) -> Iterator[tuple[int, float]]:
    """Yield the number of tasks and the time of a runtime sample in us."""

    async def measure(tasks: int) -> float:
        instruments = catalogue.instruments()
        runtime = Runtime(instruments, Observer(instruments), version="0.0.0")
        sleeping = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(tasks)]
        await asyncio.sleep(0)
        cost, _ = spread(runtime.sample, times)
        for task in sleeping:
            task.cancel()
        await asyncio.gather(*sleeping, return_exceptions=True)
        return cost / 1000

    for tasks in (10, 100, 300):
        yield tasks, asyncio.run(measure(tasks))
