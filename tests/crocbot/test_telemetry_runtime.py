"""Samples of the process, and garbage collections in any thread."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import pytest
from structlog.testing import capture_logs

from crocbot.telemetry import catalogue, process
from crocbot.telemetry.emitter import Emitter
from crocbot.telemetry.observer import Observer
from crocbot.telemetry.runtime import MAX_COLLECTIONS, Runtime, segments
from tests.crocbot.fakes import Clock, RecordingTarget


class RuntimeFixture:
    """Runtime metrics that can be read as statsd lines."""

    def __init__(self, **options: float) -> None:
        self.clock = Clock()
        instruments = catalogue.instruments(Random(1))
        self.runtime = Runtime(
            instruments,
            Observer(instruments),
            version="1.2.3",
            clock=self.clock,
            **options,
        )
        self.target = RecordingTarget()
        self.emitter = Emitter(instruments, self.target)

    def lines(self, part: str = "", *, everything: bool = True) -> dict[str, str]:
        """Return the lines of a flush whose names contain this, without `crocbot.`."""
        self.emitter.flush(everything=everything)
        pairs = (line.split(":", 1) for line in self.target.take())
        return {n.removeprefix("crocbot."): text for n, text in pairs if part in n}

    def collect(self, generation: int) -> None:
        """Run a garbage collection, as far as the callbacks show."""
        for phase in ("start", "stop"):
            self.runtime.on_collection(phase, {"generation": generation})


@asynccontextmanager
async def running(**options: float) -> AsyncIterator[RuntimeFixture]:
    """Runtime metrics that are sampled; the sampler is asleep."""
    scene = RuntimeFixture(**options)
    scene.runtime.start()
    await asyncio.sleep(0)
    yield scene
    await scene.runtime.stop()


async def test_a_sample_has_every_gauge() -> None:
    """Uptime, tasks, versions and what the process reports."""
    scene = RuntimeFixture()
    scene.clock.now += 42
    scene.runtime.sample()
    lines = scene.lines()

    assert lines["uptime"] == "42.0|g"
    assert lines["event_loop.tasks"] == f"{len(asyncio.all_tasks())}|g"
    assert lines["build.1.2.3"] == "1|g"
    assert any(name.startswith("python.") for name in lines)
    assert float(lines["process.cpu.user"].partition("|")[0]) > 0
    assert int(lines["allocated_blocks"].partition("|")[0]) > 0


async def test_a_sample_that_fails_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that stops to report costs its gauges, not the sampler."""

    def broken(_: process.ProcessMetrics) -> None:
        raise OSError("no /proc")

    monkeypatch.setattr(process.ProcessMetrics, "sample", broken)
    scene = RuntimeFixture()
    with capture_logs() as logs:
        scene.runtime.sample()
        scene.runtime.sample()

    assert "uptime" in scene.lines()
    assert [(line["event"], line["exc_info"]) for line in logs] == [
        ("process metrics not sampled", True)
    ]


def test_collections_are_observed_by_generation() -> None:
    """Each generation has its timer; a generation beyond the last counts as it."""
    scene = RuntimeFixture()
    for generation in (0, 1, 2, 3):
        scene.collect(generation)
    scene.runtime.record_collections()
    scene.emitter.flush()
    names = [line.split(":")[0] for line in scene.target.take() if "|ms" in line]

    assert names == [f"crocbot.gc.duration.{n}" for n in (0, 1, 2, 2)]


def test_collections_beyond_the_bound_are_counted() -> None:
    """An event loop that is blocked loses some, and their number is known."""
    scene = RuntimeFixture()
    for _ in range(MAX_COLLECTIONS + 7):
        scene.collect(0)
    scene.runtime.record_collections()
    first = scene.lines("overflow")
    scene.runtime.record_collections()

    assert first == {"emitter.values_dropped.overflow": "7|c"}
    assert scene.lines("overflow") == {"emitter.values_dropped.overflow": "0|c"}


async def test_a_collection_in_another_thread_is_observed() -> None:
    """The collector calls back in the thread that it runs in."""
    async with running(lag_seconds=3600) as scene:
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()
        await scene.runtime.stop()

    assert scene.lines("gc.duration.2") != {}


async def test_stopping_leaves_no_callback_and_no_task() -> None:
    """The callbacks and tasks are those from before, also after a second stop."""
    before = len(gc.callbacks), len(asyncio.all_tasks())
    async with running() as scene:
        assert len(gc.callbacks) == before[0] + 1
        await scene.runtime.stop()

    assert (len(gc.callbacks), len(asyncio.all_tasks())) == before


async def test_lag_is_the_time_beyond_the_sleep() -> None:
    """A stall of two seconds is one observation of two seconds."""
    async with running(lag_seconds=0.001, sample_seconds=3600) as scene:
        scene.clock.now += 2.001
        async with asyncio.timeout(60):
            while not (lag := scene.lines("lag", everything=False)):
                await asyncio.sleep(0.001)

    assert lag == {"event_loop.lag": "2000.000000|ms"}


async def test_samples_are_periodic() -> None:
    """When the interval is over, the sampler takes the next sample."""
    async with running(lag_seconds=0.0001, sample_seconds=5) as scene:
        scene.clock.now += 6
        async with asyncio.timeout(60):
            while (uptime := scene.lines("uptime")["uptime"]) == "0.0|g":
                await asyncio.sleep(0.001)

    assert uptime == "6.0|g"


@pytest.mark.parametrize(
    ("version", "parts"),
    [
        ("0.1.0", ("0", "1", "0")),
        ("1.2", ("1", "2", "0")),
        ("", ("0", "0", "0")),
        ("1.2.0rc1", ("1", "2", "0rc1")),
        ("0.1.0.dev3+g12ab", ("0", "1", "0-dev3-g12ab")),
        ("1.2.é|:\n", ("1", "2", "----")),
        ("1.2." + "9" * 99, ("1", "2", "9" * 64)),
    ],
)
def test_a_version_is_three_segments(version: str, parts: tuple[str, ...]) -> None:
    """Any version becomes three segments that a statsd name may have."""
    assert segments(version) == parts
