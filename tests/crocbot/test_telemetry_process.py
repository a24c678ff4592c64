"""What the system reports about this process, and what is left out."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from crocbot.telemetry import catalogue, process
from crocbot.telemetry.process_metrics import (
    CPU,
    MALLOC,
    MAX_FDS,
    OPEN_FDS,
    RESIDENT_MEMORY,
    THREADS,
    VIRTUAL_MEMORY,
)


def sampled() -> dict[str, float]:
    """Return the gauges that a sample has set, by statsd name."""
    instruments = catalogue.instruments()
    process.ProcessMetrics(instruments).sample()
    values = {gauge.name: gauge.value for gauge in instruments.gauges}
    return {name: value for name, value in values.items() if value is not None}


@pytest.mark.skipif(sys.platform != "linux", reason="psutil reads /proc")
def test_a_real_process_has_plausible_numbers(tmp_path: Path) -> None:
    """It started before now, uses less memory than it reserved, and opens files."""
    # What earlier tests left would be closed while this one counts.
    gc.collect()
    before, start_time = sampled(), process.start_time()
    files = [(tmp_path / str(i)).open("w") for i in range(10)]
    during = sampled()
    for file in files:
        file.close()

    assert start_time is not None
    assert 0 < start_time <= time.time() + 1
    assert 1_000_000 < before[RESIDENT_MEMORY.statsd] < before[VIRTUAL_MEMORY.statsd]
    assert during[OPEN_FDS.statsd] == before[OPEN_FDS.statsd] + 10
    assert before.get(MAX_FDS.statsd, 1) > 0


def test_what_the_system_does_not_report_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without /proc there is no memory and no start time; all else is there."""

    def no_proc() -> None:
        raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(psutil, "Process", no_proc)
    monkeypatch.setattr(process, "_process", process.find_process())
    gauges = sampled()

    assert process.start_time() is None
    assert RESIDENT_MEMORY.statsd not in gauges
    assert gauges[THREADS.statsd] > 0


def test_cpu_time_is_counted_once() -> None:
    """The increases of all samples add up to what the process used."""
    instruments = catalogue.instruments()
    metrics = process.ProcessMetrics(instruments)
    counter = instruments.counter(CPU, process.CpuMode.USER)
    total = 0.0
    for _ in range(20):
        metrics.sample()
        total += counter.take()

    assert 0 < total <= os.times().user + 1e-6


def test_the_memory_of_the_c_library_is_counted() -> None:
    """A block of ten megabytes is counted until it is freed."""

    def allocated() -> float:
        return sampled().get(MALLOC.statsd, -1)

    # What earlier tests left would be freed while this one measures.
    gc.collect()
    before = allocated()
    if before < 0:
        pytest.skip("the C library has no mallinfo2")
    block = ctypes.create_string_buffer(10_000_000)
    during = allocated()
    del block

    # Besides the block, what other threads and the samples themselves need.
    assert during - before >= 9_000_000
    assert during - allocated() >= 9_000_000
