"""
Handles in, datagrams out: the only import of statsd.

    counter.inc()      --.
    gauge.set(3)       --+--> flush, every 250 ms --> pipeline --> under 1,432 bytes
    timer.observe(0.2) --'    everything, every 10 s               --> wire
                                                  lines_sent:4711|g --'

A flush sends what happened since the last one, and after it how many lines were sent
in all, that one included: so whoever counts what came can tell at any time what did
not, but for the flush that is under way.  A large one goes out in portions, between
which the event loop has other things to do.  A heartbeat also repeats every gauge
and declares every counter with `0|c`: so they exist before the first event, and come
back by themselves when the receiver was restarted.  A new socket gets one at once.

While there is no address nothing is sent and nothing is lost: counters and timers add
up and gauges keep their last value until there is one.  Lost is what was sent and
not delivered, as far as the kernel tells (wire.py); it is not sent again, but its
running total is, so that what was lost is known as soon as anything gets through.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from random import Random

from statsd.client.udp import Pipeline

from crocbot.telemetry import catalogue
from crocbot.telemetry.catalogue import Drop, Metric
from crocbot.telemetry.instruments import Counter, Gauge, Timer, rate
from crocbot.telemetry.udp import UdpSender

DATAGRAM_BYTES = 1432
"""Datagrams stay under it: an Ethernet frame less the headers of IPv6 and UDP."""

PORTION = 512
"""Lines of timers after which others get their turn: less than a millisecond."""

_SETTLE_SECONDS = 1.0
"""How long the last flush waits for a first look-up that is under way."""


class Emitter:
    """All handles, and what flushes them.  Owned by the event loop."""

    def __init__(
        self,
        wire: UdpSender,
        *,
        flush_seconds: float = 0.25,
        heartbeat_seconds: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
    ) -> None:
        self._wire = wire
        self._flush_seconds = flush_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._random = random or Random()
        self._declared_to = 0
        self._flusher: asyncio.Task[None] | None = None

        self._invalid = Counter(catalogue.VALUES_DROPPED.path(Drop.INVALID))
        self._counters = {self._invalid.name: self._invalid}
        self._gauges: dict[str, Gauge] = {}
        self._timers: dict[str, Timer] = {}
        self._sent = catalogue.LINES_SENT.path()
        self._lost = {
            reason: self.gauge(catalogue.LINES_LOST, reason) for reason in wire.lost
        }

    @property
    def names(self) -> set[str]:
        """Every statsd name that can be sent."""
        return {*self._counters, *self._gauges, *self._timers, self._sent}

    def counter(self, metric: Metric, *words: str) -> Counter:
        """Return the counter of these words, the same one each time."""
        name = metric.path(*words)
        return self._counters.setdefault(name, Counter(name, self._invalid))

    def gauge(self, metric: Metric, *words: str) -> Gauge:
        """Return the gauge of these words, the same one each time."""
        name = metric.path(*words)
        return self._gauges.setdefault(name, Gauge(name, self._invalid))

    def timer(self, metric: Metric, *words: str) -> Timer:
        """Return the timer of these words, the same one each time."""
        name = metric.path(*words)
        timer = Timer(name, self._invalid, self._random)
        return self._timers.setdefault(name, timer)

    def start(self) -> None:
        """Begin to look up the receiver and to flush."""
        self._wire.start()
        self._flusher = asyncio.create_task(self._keep_flushing())

    async def stop(self) -> None:
        """Send everything once more and close; the look-up gets a second if needed."""
        if self._flusher is None:
            return
        self._flusher.cancel()
        await asyncio.gather(self._flusher, return_exceptions=True)
        self._flusher = None
        await self._wire.settle(_SETTLE_SECONDS)
        self.flush(everything=True)
        await self._wire.stop()

    async def _keep_flushing(self) -> None:
        heartbeat = self._clock()
        while True:
            due = self._clock() >= heartbeat
            if due:
                heartbeat = self._clock() + self._heartbeat_seconds
            for _ in self._flushing(due):
                await asyncio.sleep(0)
            await asyncio.sleep(self._flush_seconds)

    def flush(self, *, everything: bool = False) -> None:
        """Send what is pending at once; `everything` is a heartbeat."""
        for _ in self._flushing(everything):
            pass

    def _flushing(self, everything: bool) -> Iterator[None]:
        """Send what is pending, and pause between two portions."""
        if not self._wire.connected:
            return
        if self._declared_to != self._wire.generation:
            self._declared_to = self._wire.generation
            everything = True
        for reason, gauge in self._lost.items():
            gauge.set(self._wire.lost[reason])
        told = False
        for datagrams in self._portions(everything):
            for datagram in datagrams:
                self._wire.send(datagram)
            told = True
            yield
        if told:
            packed = _Packed()
            with Pipeline(packed) as pipeline:
                pipeline.gauge(self._sent, self._wire.sent + 1)
            self._wire.send(packed.datagrams[0])

    def _portions(self, everything: bool) -> Iterator[list[bytes]]:
        """Write and pack, with the client's own formats; what was taken is given."""
        packed = _Packed()
        pipeline = Pipeline(packed)
        for counter in self._counters.values():
            if everything or counter.pending:
                pipeline.incr(counter.name, counter.take())
        for gauge in self._gauges.values():
            if gauge.changed or (everything and gauge.value is not None):
                pipeline.gauge(gauge.name, gauge.value)
                gauge.changed = False
        lines = 0
        for timer in list(self._timers.values()):
            taken = timer.take()
            for seconds, weight in taken:
                _time(pipeline, timer.name, 1000 * seconds, weight)
            lines += len(taken)
            if lines >= PORTION:
                pipeline.send()
                yield packed.take()
                lines = 0
        pipeline.send()
        if packed.datagrams:
            yield packed.take()


class _Packed:
    """What the client's pipeline takes for its client: it keeps the datagrams."""

    _prefix = None
    _maxudpsize = DATAGRAM_BYTES

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    def _after(self, datagram: str) -> None:
        self.datagrams.append(datagram.encode("ascii"))

    def take(self) -> list[bytes]:
        """Return the datagrams and start again empty."""
        datagrams, self.datagrams = self.datagrams, []
        return datagrams


def _time(pipeline: Pipeline, name: str, milliseconds: float, weight: int) -> None:
    """Write one duration; given a rate, `timing` would draw lots once more."""
    if weight == 1:
        pipeline.timing(name, milliseconds)
    else:
        text = f"{milliseconds:0.6f}|ms|@{rate(weight)}"
        pipeline._send_stat(name, text, 1)
