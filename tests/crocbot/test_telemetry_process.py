"""What the system reports about this process, and what is left out."""

from __future__ import annotations

import ctypes
import sys
import time
from pathlib import Path

import psutil
import pytest

from crocbot.telemetry import process
from crocbot.telemetry.catalogue import (
    MALLOC,
    MAX_FDS,
    OPEN_FDS,
    RESIDENT_MEMORY,
    THREADS,
    VIRTUAL_MEMORY,
)


@pytest.mark.skipif(sys.platform != "linux", reason="psutil reads /proc")
def test_a_real_process_has_plausible_numbers(tmp_path: Path) -> None:
    """It started before now, uses less memory than it reserved, and opens files."""
    before, start_time = dict(process.gauges()), process.start_time()
    files = [(tmp_path / str(i)).open("w") for i in range(10)]
    during = dict(process.gauges())
    for file in files:
        file.close()

    assert start_time is not None
    assert 0 < start_time <= time.time() + 1
    assert 1_000_000 < before[RESIDENT_MEMORY] < before[VIRTUAL_MEMORY]
    assert during[OPEN_FDS] == before[OPEN_FDS] + 10
    assert before.get(MAX_FDS, 1) > 0


def test_what_the_system_does_not_report_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without /proc there is no memory and no start time; all else is there."""

    def no_proc() -> None:
        raise psutil.NoSuchProcess(1)

    monkeypatch.setattr(psutil, "Process", no_proc)
    monkeypatch.setattr(process, "_process", process.find_process())
    gauges = dict(process.gauges())

    assert process.start_time() is None
    assert RESIDENT_MEMORY not in gauges
    assert gauges[THREADS] > 0


def test_cpu_time_only_rises() -> None:
    """Neither mode falls."""
    first, second = process.cpu_seconds(), process.cpu_seconds()

    assert all(second[mode] >= first[mode] for mode in first)


def test_the_memory_of_the_c_library_is_counted() -> None:
    """A block of ten megabytes is counted until it is freed."""

    def allocated() -> float:
        return dict(process.gauges()).get(MALLOC, -1)

    before = allocated()
    if before < 0:
        pytest.skip("the C library has no mallinfo2")
    block = ctypes.create_string_buffer(10_000_000)
    during = allocated()
    del block

    assert during - before >= 10_000_000
    assert during - allocated() >= 10_000_000
