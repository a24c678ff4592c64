"""
Metrics of the process itself, sampled since no event reports them.

    every 100 ms: the lag of the event loop, and the garbage collections since
    every 5 s:    uptime, CPU time, memory, file descriptors, tasks, and the ages

The garbage collector calls back in whatever thread triggered it, so a callback only
appends to a bounded deque, which the event loop empties.
"""

from __future__ import annotations

import asyncio
import gc
import platform
import re
import secrets
import sys
import time
from collections import deque
from collections.abc import Mapping

from crocbot import log
from crocbot.model import Clock
from crocbot.telemetry import catalogue, process, process_metrics, replica_metrics
from crocbot.telemetry.instruments import Instruments
from crocbot.telemetry.labels import DropReason, Generation
from crocbot.telemetry.observer import Observer

MAX_COLLECTIONS = 4096
"""Garbage collections that are kept until the event loop records them."""

START_BYTES = 4
"""Random bytes that tell two gateways at one bridge apart."""


class Runtime:
    """
    Samples the process.  Owned by the event loop, except for `on_collection`.

    `version` is that of the gateway; `observer` updates its ages with each sample.
    """

    def __init__(
        self,
        instruments: Instruments,
        observer: Observer,
        *,
        version: str,
        lag_seconds: float = 0.1,
        sample_seconds: float = 5.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._process = process.ProcessMetrics(instruments)
        self._observer = observer
        self._uptime = instruments.gauge(catalogue.UPTIME)
        self._tasks = instruments.gauge(process_metrics.TASKS)
        self._lag = instruments.timer(process_metrics.LOOP_LAG)
        self._gc_durations = [
            instruments.timer(process_metrics.GC_DURATION, generation)
            for generation in Generation
        ]
        self._overflow = instruments.counter(
            catalogue.VALUES_DROPPED, DropReason.OVERFLOW
        )
        self._lag_seconds = lag_seconds
        self._sample_seconds = sample_seconds
        self._clock = clock
        self._log = log.RateLimitedLog(clock)
        self._started_at = clock()
        self._sampler: asyncio.Task[None] | None = None
        self._collections: deque[tuple[int, float]] = deque()
        self._collection_started_at = 0.0
        self._overflows = self._recorded_overflows = 0

        start_time = process.start_time()
        if start_time is not None:
            instruments.gauge(process_metrics.START_TIME).set(start_time)
        python = (sys.implementation.name, *segments(platform.python_version()))
        instruments.gauge(process_metrics.PYTHON_INFO, *python).set(1)
        instruments.gauge(process_metrics.BUILD_INFO, *segments(version)).set(1)
        start = secrets.token_hex(START_BYTES)
        instruments.gauge(replica_metrics.INSTANCE_INFO, start).set(1)

    def start(self) -> None:
        """Sample now and then periodically."""
        gc.callbacks.append(self.on_collection)
        self._sampler = asyncio.create_task(self._keep_sampling())

    async def stop(self) -> None:
        """Sample once more and stop."""
        if self._sampler is None:
            return
        self._sampler.cancel()
        await asyncio.gather(self._sampler, return_exceptions=True)
        self._sampler = None
        gc.callbacks.remove(self.on_collection)
        self.record_collections()
        self.sample()

    async def _keep_sampling(self) -> None:
        sample_at = self._clock()
        while True:
            if self._clock() >= sample_at:
                self.sample()
                sample_at = self._clock() + self._sample_seconds
            wake_at = self._clock() + self._lag_seconds
            await asyncio.sleep(self._lag_seconds)
            lag = self._clock() - wake_at
            self._lag.observe(lag)
            self.record_collections()

    def sample(self) -> None:
        """Record everything that is no event.  Never raises."""
        try:
            self._sample()
        except Exception:
            self._log.error("process metrics not sampled", exc_info=True)

    def _sample(self) -> None:
        self._uptime.set(self._clock() - self._started_at)
        self._tasks.set(len(asyncio.all_tasks()))
        self._observer.update_ages()
        self._process.sample()

    def on_collection(self, phase: str, info: Mapping[str, int]) -> None:
        """Note a garbage collection, in any thread; they never run at the same time."""
        if phase == "start":
            self._collection_started_at = time.perf_counter()
        elif len(self._collections) < MAX_COLLECTIONS:
            seconds = time.perf_counter() - self._collection_started_at
            self._collections.append((info["generation"], seconds))
        else:
            self._overflows += 1

    def record_collections(self) -> None:
        """Record the garbage collections that were noted."""
        oldest = len(self._gc_durations) - 1
        while self._collections:
            generation, seconds = self._collections.popleft()
            # A Python with more generations counts them as the oldest.
            self._gc_durations[min(generation, oldest)].observe(seconds)
        overflows = self._overflows
        self._overflow.inc(overflows - self._recorded_overflows)
        self._recorded_overflows = overflows


def segments(version: str) -> tuple[str, str, str]:
    """Split a version into three name segments: 1.2.0rc1+x --> 1, 2, 0rc1-x."""
    parts = [*version.split(".", 2), "", ""][:3]
    major, minor, micro = (
        re.sub(r"[^A-Za-z0-9_-]", "-", part)[:64] or "0" for part in parts
    )
    return major, minor, micro
