"""
How the process itself is doing, into handles: nothing reports this, so it is sampled.

    every 100 ms: how late the event loop woke us, and the garbage collections since
    every 5 s:    uptime, processor time, memory, file descriptors, tasks, and `also`

A sample costs far less than 0.1 ms: see `make bench`.

Garbage collection calls back in whatever thread triggered it, so a callback only
appends to a bounded deque, which the event loop empties.
"""

from __future__ import annotations

import asyncio
import gc
import platform
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from crocbot.telemetry import catalogue, process
from crocbot.telemetry.catalogue import Drop, Generation, Mode
from crocbot.telemetry.emitter import Emitter
from crocbot.telemetry.instruments import Gauge

MAX_PAUSES = 4096
"""Garbage collections that are remembered until the event loop comes by."""


class Runtime:
    """Owned by the event loop, except for `on_collection`."""

    def __init__(
        self,
        emitter: Emitter,
        *,
        version: str,
        also: Callable[[], None] = lambda: None,
        lag_seconds: float = 0.1,
        sample_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        proc: Path = process.PROC,
    ) -> None:
        self._also = also
        self._lag_seconds = lag_seconds
        self._sample_seconds = sample_seconds
        self._clock = clock
        self._started = clock()
        self._task: asyncio.Task[None] | None = None

        self._uptime = emitter.gauge(catalogue.UPTIME)
        self._lag = emitter.timer(catalogue.LOOP_LAG)
        self._tasks = emitter.gauge(catalogue.TASKS)
        self._cpu = [emitter.counter(catalogue.CPU, mode) for mode in Mode]
        self._cpu_told = [0.0 for _ in Mode]
        self._proc = proc
        self._virtual = emitter.gauge(catalogue.VIRTUAL_MEMORY)
        self._resident = emitter.gauge(catalogue.RESIDENT_MEMORY)
        self._readings = _readings(emitter, proc)

        self._collections = [
            emitter.timer(catalogue.GC_DURATION, generation)
            for generation in Generation
        ]
        self._overflow = emitter.counter(catalogue.VALUES_DROPPED, Drop.OVERFLOW)
        self._pauses: deque[tuple[int, float]] = deque()
        self._missed = self._missed_told = 0
        self._collecting_since = 0.0

        start = process.start_time(proc)
        if start is not None:
            emitter.gauge(catalogue.START_TIME).set(start)
        emitter.gauge(catalogue.PYTHON_INFO, *python_words()).set(1)
        emitter.gauge(catalogue.BUILD_INFO, *version_words(version)).set(1)

    def start(self) -> None:
        """Sample at once and from now on."""
        gc.callbacks.append(self.on_collection)
        self.sample()
        self._task = asyncio.create_task(self._keep_sampling())

    async def stop(self) -> None:
        """Sample once more and stop."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        gc.callbacks.remove(self.on_collection)
        self.merge_collections()
        self.sample()

    async def _keep_sampling(self) -> None:
        sample_at = self._clock() + self._sample_seconds
        while True:
            wake_at = self._clock() + self._lag_seconds
            await asyncio.sleep(self._lag_seconds)
            self._lag.observe(self._clock() - wake_at)
            self.merge_collections()
            if self._clock() >= sample_at:
                self.sample()
                sample_at = self._clock() + self._sample_seconds

    def sample(self) -> None:
        """Read everything that is not an event."""
        self._uptime.set(self._clock() - self._started)
        self._tasks.set(len(asyncio.all_tasks()))
        virtual, resident = process.memory(self._proc)
        for i, seconds in enumerate(process.cpu_seconds()):
            self._cpu[i].inc(max(seconds - self._cpu_told[i], 0.0))
            self._cpu_told[i] = seconds
        _set(self._virtual, virtual)
        _set(self._resident, resident)
        for gauge, read in self._readings:
            _set(gauge, read())
        self._also()

    def on_collection(self, phase: str, info: Mapping[str, int]) -> None:
        """Note a garbage collection, in any thread; there is only one at a time."""
        if phase == "start":
            self._collecting_since = time.perf_counter()
        elif len(self._pauses) < MAX_PAUSES:
            pause = time.perf_counter() - self._collecting_since
            self._pauses.append((info["generation"], pause))
        else:
            self._missed += 1

    def merge_collections(self) -> None:
        """Take over what the callbacks noted."""
        while self._pauses:
            generation, pause = self._pauses.popleft()
            # Should a Python have more generations, the last one takes them.
            self._collections[min(generation, 2)].observe(pause)
        missed = self._missed
        self._overflow.inc(missed - self._missed_told)
        self._missed_told = missed


def _readings(
    emitter: Emitter, proc: Path
) -> list[tuple[Gauge, Callable[[], int | None]]]:
    return [
        (emitter.gauge(catalogue.OPEN_FDS), lambda: process.open_fds(proc)),
        (emitter.gauge(catalogue.MAX_FDS), process.max_fds),
        (emitter.gauge(catalogue.ALLOCATED_BLOCKS), sys.getallocatedblocks),
        (emitter.gauge(catalogue.MALLOC), process.allocated_by_malloc),
        (emitter.gauge(catalogue.THREADS), threading.active_count),
    ]


def _set(gauge: Gauge, value: int | None) -> None:
    """What the system does not tell stays without a value."""
    if value is not None:
        gauge.set(value)


def python_words() -> tuple[str, str, str, str]:
    """Name the Python that runs us: implementation, major, minor, micro."""
    return (sys.implementation.name, *version_words(platform.python_version()))


def version_words(version: str) -> tuple[str, str, str]:
    """Cut a version into three name segments: 1.2.0rc1+x -> 1, 2, 0rc1-x."""
    parts = [*version.split(".", 2), "", ""][:3]
    major, minor, micro = (
        re.sub(r"[^A-Za-z0-9_-]", "-", part)[:64] or "0" for part in parts
    )
    return major, minor, micro
