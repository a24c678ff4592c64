"""
Instruments to datagrams: the only import of statsd.

    counter.inc()      --.
    gauge.set(3)       --+--> flush, every 250 ms --> pipeline --> datagrams --> udp.py
    timer.observe(0.2) --'    everything, every 10 s           below 1,432 bytes
                                                  lines_sent:4711|g --'

A flush sends what changed since the last one, and then the total of lines sent, itself
included; so a receiver that counts lines can tell what was lost, except for a flush in
progress.  A large flush goes out in portions, between which the event loop runs other
tasks.  A heartbeat also repeats every gauge and declares every counter with `0|c`, so
that they exist before their first event and come back after the receiver restarted; a
new socket gets one at once.

Without an address nothing is sent and nothing is lost: counters and timers add up and
gauges keep their last value.  Lost lines are those that the kernel refused (udp.py);
they are not sent again, but their running total is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from statsd import StatsClient
from statsd.client.udp import Pipeline

from crocbot import log
from crocbot.model import Clock
from crocbot.telemetry import catalogue
from crocbot.telemetry.instruments import Instruments
from crocbot.telemetry.udp import UdpTarget

MAX_DATAGRAM_BYTES = 1432
"""An Ethernet frame without the headers of IPv6 and UDP; datagrams stay below it."""

MAX_PORTION_LINES = 512
"""Timer lines between two turns of the event loop; they take less than 1 ms."""

FIRST_ADDRESS_SECONDS = 1.0
"""How long `stop` waits for the first look-up of the receiver."""


class Emitter:
    """Sends the numbers of all instruments.  Owned by the event loop."""

    def __init__(
        self,
        instruments: Instruments,
        target: UdpTarget,
        *,
        flush_seconds: float = 0.25,
        heartbeat_seconds: float = 10.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._instruments = instruments
        self._target = target
        self._client = UdpTargetClient(target)
        self._flush_seconds = flush_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._log = log.RateLimitedLog(clock)
        self._declared_generation = 0
        self._flusher: asyncio.Task[None] | None = None
        self._lines_sent = instruments.gauge(catalogue.LINES_SENT).name

    def start(self) -> None:
        """Start to look up the receiver and to flush."""
        self._target.start()
        self._flusher = asyncio.create_task(self._keep_flushing())

    async def stop(self) -> None:
        """Send everything once more and close."""
        if self._flusher is None:
            return
        self._flusher.cancel()
        await asyncio.gather(self._flusher, return_exceptions=True)
        self._flusher = None
        await self._target.wait_connected(FIRST_ADDRESS_SECONDS)
        self.flush(everything=True)
        await self._target.stop()

    async def _keep_flushing(self) -> None:
        heartbeat_at = self._clock()
        while True:
            due = self._clock() >= heartbeat_at
            if due:
                heartbeat_at = self._clock() + self._heartbeat_seconds
            for _ in self._portions(everything=due):
                await asyncio.sleep(0)
            await asyncio.sleep(self._flush_seconds)

    def flush(self, *, everything: bool = False) -> None:
        """Send what is pending at once; `everything` is a heartbeat.  Never raises."""
        for _ in self._portions(everything):
            pass

    def _portions(self, everything: bool) -> Iterator[None]:
        """Send what is pending; yields after each portion.  Never raises."""
        try:
            yield from self._send_portions(everything)
        except Exception:
            self._log.error("metrics not sent", exc_info=True)

    def _send_portions(self, everything: bool) -> Iterator[None]:
        if not self._target.connected:
            return
        if self._declared_generation != self._target.generation:
            self._declared_generation = self._target.generation
            everything = True
        for reason, lost in self._target.lost.items():
            self._instruments.gauge(catalogue.LINES_LOST, reason).set(lost)
        datagrams = self._client.datagrams
        pipeline = self._client.pipeline()
        self._write_counters_and_gauges(pipeline, everything)
        yield from self._write_timers(pipeline)
        pipeline.send()
        if self._client.datagrams > datagrams:
            self._client.gauge(self._lines_sent, self._target.sent + 1)

    def _write_counters_and_gauges(
        self, pipeline: WeightedPipeline, everything: bool
    ) -> None:
        for counter in self._instruments.counters:
            if everything or counter.pending:
                pipeline.incr(counter.name, counter.take())
        for gauge in self._instruments.gauges:
            if gauge.changed or (everything and gauge.value is not None):
                pipeline.gauge(gauge.name, gauge.value)
                gauge.changed = False

    def _write_timers(self, pipeline: WeightedPipeline) -> Iterator[None]:
        lines = 0
        for timer in list(self._instruments.timers):
            if not timer.count:
                continue
            observations = timer.take()
            for seconds, weight in observations:
                pipeline.weighted_timing(timer.name, 1000 * seconds, weight)
            lines += len(observations)
            if lines >= MAX_PORTION_LINES:
                pipeline.send()
                lines = 0
                yield


class UdpTargetClient(StatsClient):
    """The statsd client with a UdpTarget in place of its own, blocking socket."""

    def __init__(self, target: UdpTarget) -> None:
        super().__init__("127.0.0.1", maxudpsize=MAX_DATAGRAM_BYTES)
        # Its constructor has opened a socket that is not needed.
        self.close()
        self._target = target
        self.datagrams = 0

    def pipeline(self) -> WeightedPipeline:
        """Return a pipeline that packs lines into datagrams."""
        return WeightedPipeline(self)

    def _send(self, data: str) -> None:
        self.datagrams += 1
        self._target.send(data.encode("ascii"))


class WeightedPipeline(Pipeline):
    """The client's pipeline; a duration can stand for several observations."""

    def weighted_timing(self, name: str, milliseconds: float, weight: int) -> None:
        """
        Write a duration that a receiver counts `weight` times.

        The client's own argument `rate` is of no use: it drops lines at random.
        """
        if weight == 1:
            self.timing(name, milliseconds)
        else:
            rate = sampling_rate(weight)
            self._send_stat(name, f"{milliseconds:0.6f}|ms|@{rate}", 1)


def sampling_rate(weight: int) -> str:
    """
    Return the sampling rate that receivers count as exactly `weight` observations.

    They compute int(1 / rate).  1/93 would be counted as 92; the middle between two
    integers leaves a margin for rounding, up to weights of 2**50.
    """
    return repr(1 / (weight + 0.5))
