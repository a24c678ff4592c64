"""Samples of the process, and garbage collections from any thread."""

from __future__ import annotations

import asyncio
import gc
import threading
from pathlib import Path
from random import Random

import pytest

from crocbot.telemetry import process
from crocbot.telemetry.catalogue import Loss
from crocbot.telemetry.emitter import Emitter
from crocbot.telemetry.runtime import MAX_PAUSES, Runtime, python_words, version_words


class FakeWire:
    """A wire that keeps the lines."""

    connected = True
    generation = 1
    sent = 0

    def __init__(self) -> None:
        self.lost = dict.fromkeys(Loss, 0)
        self.lines: list[str] = []

    def send(self, datagram: bytes) -> None:
        """Keep its lines."""
        self.lines += datagram.decode().split("\n")


class Clock:
    """Time that passes when told."""

    now = 1000.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Scene:
    """A runtime whose numbers can be read."""

    def __init__(self, proc: Path = process.PROC, **options: float) -> None:
        self.wire = FakeWire()
        self.emitter = Emitter(self.wire, random=Random(1))  # type: ignore[arg-type]
        self.clock = Clock()
        self.runtime = Runtime(
            self.emitter, version="1.2.3", clock=self.clock, proc=proc, **options
        )

    def lines(self, part: str = "") -> dict[str, str]:
        """The lines of one flush whose names contain `part`, without `crocbot.`."""
        self.wire.lines.clear()
        self.emitter.flush(everything=True)
        pairs = (line.split(":", 1) for line in self.wire.lines)
        return {n.removeprefix("crocbot."): text for n, text in pairs if part in n}


def test_a_sample_tells_of_the_process() -> None:
    """Every gauge has a value where the system tells it."""

    async def scenario() -> dict[str, str]:
        scene = Scene()
        scene.clock.now += 42
        scene.runtime.sample()
        return scene.lines()

    lines = asyncio.run(scenario())

    assert lines["uptime"] == "42.0|g"
    assert lines["event_loop.tasks"] == "1|g"
    assert lines["build.1.2.3"] == "1|g"
    assert float(lines["process.cpu.user"].partition("|")[0]) > 0
    assert int(lines["allocated_blocks"].partition("|")[0]) > 0


def test_a_system_without_proc_tells_less(tmp_path: Path) -> None:
    """What is missing has no line; all else is there."""

    async def scenario() -> dict[str, str]:
        scene = Scene(proc=tmp_path)
        scene.runtime.sample()
        return scene.lines()

    lines = asyncio.run(scenario())

    assert not {name for name in lines if "memory" in name or "open_fds" in name}
    assert "process.start_time" not in lines
    assert "uptime" in lines


def test_processor_time_is_told_once() -> None:
    """The counter rises by what was used since; all rises make the total."""

    async def scenario() -> tuple[float, float]:
        scene = Scene()
        told = 0.0
        for _ in range(20):
            scene.runtime.sample()
            text = scene.lines("cpu.user")["process.cpu.user"]
            told += float(text.partition("|")[0])
        return told, process.cpu_seconds()[0]

    told, used = asyncio.run(scenario())

    assert 0 < told <= used + 1e-6


def test_collections_are_observed_by_generation() -> None:
    """A collection of each generation makes one observation of it."""
    scene = Scene()
    for generation in (0, 1, 2, 2):
        scene.runtime.on_collection("start", {"generation": generation})
        scene.runtime.on_collection("stop", {"generation": generation})
    scene.runtime.merge_collections()
    scene.wire.lines.clear()
    scene.emitter.flush()
    names = [line.partition(":")[0] for line in scene.wire.lines if "|ms" in line]

    assert names == [f"crocbot.gc.duration.{n}" for n in (0, 1, 2, 2)]


def test_collections_beyond_the_bound_are_counted() -> None:
    """A loop that never comes by loses the rest, and says how many."""
    scene = Scene()
    for _ in range(MAX_PAUSES + 7):
        scene.runtime.on_collection("start", {"generation": 0})
        scene.runtime.on_collection("stop", {"generation": 0})
    scene.runtime.merge_collections()
    first = scene.lines("overflow")
    scene.runtime.merge_collections()

    assert first == {"emitter.values_dropped.overflow": "7|c"}
    assert scene.lines("overflow") == {"emitter.values_dropped.overflow": "0|c"}


def test_a_collection_in_another_thread_is_observed() -> None:
    """The real collector calls back wherever it runs, and the loop takes it over."""

    async def scenario() -> list[str]:
        scene = Scene(lag_seconds=3600)
        scene.runtime.start()
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()
        await scene.runtime.stop()
        scene.emitter.flush()
        return [line for line in scene.wire.lines if "gc.duration.2" in line]

    assert asyncio.run(scenario()) != []


def test_stopping_leaves_no_trace() -> None:
    """No callback and no task stays behind, also when it is stopped twice."""

    async def scenario() -> tuple[int, int, int]:
        before = len(gc.callbacks)
        scene = Scene()
        scene.runtime.start()
        during = len(gc.callbacks)
        await scene.runtime.stop()
        await scene.runtime.stop()
        return during - before, len(gc.callbacks) - before, len(asyncio.all_tasks())

    assert asyncio.run(scenario()) == (1, 0, 1)


def test_lag_is_what_the_clock_says_beyond_the_sleep() -> None:
    """A stall of two seconds is one observation of two seconds."""

    async def scenario() -> list[str]:
        scene = Scene(lag_seconds=0.001, sample_seconds=3600)
        scene.runtime.start()
        # The sampler is asleep by now; its clock jumps.
        await asyncio.sleep(0)
        scene.clock.now += 2.001
        async with asyncio.timeout(5):
            while not (lines := lag_lines(scene)):
                await asyncio.sleep(0.001)
        await scene.runtime.stop()
        return lines

    lines = asyncio.run(scenario())

    assert lines[0] == "crocbot.event_loop.lag:2000.000000|ms"


def lag_lines(scene: Scene) -> list[str]:
    """The lag observations since the last time."""
    scene.wire.lines.clear()
    scene.emitter.flush()
    return [line for line in scene.wire.lines if "lag" in line]


def test_samples_are_taken_again() -> None:
    """When the interval is over by the clock, the next wake-up samples."""

    async def scenario() -> str:
        scene = Scene(lag_seconds=0.0001, sample_seconds=5)
        scene.runtime.start()
        # The sampler is asleep by now; its clock jumps.
        await asyncio.sleep(0)
        scene.clock.now += 6
        async with asyncio.timeout(5):
            while (text := scene.lines("uptime")["uptime"]) == "0.0|g":
                await asyncio.sleep(0.001)
        await scene.runtime.stop()
        return text

    assert asyncio.run(scenario()) == "6.0|g"


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("0.1.0", ("0", "1", "0")),
        ("1.2", ("1", "2", "0")),
        ("3", ("3", "0", "0")),
        ("", ("0", "0", "0")),
        ("1.2.0rc1", ("1", "2", "0rc1")),
        ("0.1.0.dev3+g12ab", ("0", "1", "0-dev3-g12ab")),
        ("1.2.é|:\n", ("1", "2", "----")),
        ("1.2." + "9" * 99, ("1", "2", "9" * 64)),
    ],
)
def test_a_version_is_three_segments(version: str, words: tuple[str, ...]) -> None:
    """Any version text becomes three segments that a statsd name may hold."""
    assert version_words(version) == words


def test_the_running_python_has_four_segments() -> None:
    """Implementation and version, as name segments."""
    assert len(python_words()) == 4
