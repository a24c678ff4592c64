"""
What the operating system and Python report about this process; only here is psutil.

Only what costs microseconds (`python -m benchmarks.telemetry` measures a sample).  What
a system does not report is left out: without /proc there is no memory, no open file
descriptors and no start time, without glibc no memory of the C library.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import threading
from collections.abc import Callable

import psutil

from crocbot.telemetry import process_metrics
from crocbot.telemetry.instruments import Counter, Instruments
from crocbot.telemetry.labels import CpuMode


def start_time() -> float | None:
    """Return when the process started, as Unix time."""
    return None if _process is None else _process.create_time()


class ProcessMetrics:
    """Records what the system reports, each time that `sample` is called."""

    def __init__(self, instruments: Instruments) -> None:
        # Looked up once: in each sample that is a sixth of its cost (measured with
        # `python -m benchmarks.telemetry`).
        gauge = instruments.gauge
        self._cpu_user = CpuTime(instruments.counter(process_metrics.CPU, CpuMode.USER))
        self._cpu_system = CpuTime(
            instruments.counter(process_metrics.CPU, CpuMode.SYSTEM)
        )
        self._resident_memory = gauge(process_metrics.RESIDENT_MEMORY)
        self._virtual_memory = gauge(process_metrics.VIRTUAL_MEMORY)
        self._open_fds = gauge(process_metrics.OPEN_FDS)
        self._max_fds = gauge(process_metrics.MAX_FDS)
        self._allocated_blocks = gauge(process_metrics.ALLOCATED_BLOCKS)
        self._threads = gauge(process_metrics.THREADS)
        self._malloc = gauge(process_metrics.MALLOC)

    def sample(self) -> None:
        """Set each gauge that the system provides a value for, and add CPU time."""
        times = os.times()
        self._cpu_user.record(times.user)
        self._cpu_system.record(times.system)
        if _process is not None:
            memory = _process.memory_info()
            self._resident_memory.set(memory.rss)
            self._virtual_memory.set(memory.vms)
            self._open_fds.set(_open_fds(_process))
        soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft_limit != resource.RLIM_INFINITY:
            self._max_fds.set(soft_limit)
        self._allocated_blocks.set(sys.getallocatedblocks())
        self._threads.set(threading.active_count())
        if _mallinfo2 is not None:
            self._malloc.set(_mallinfo2().in_use)


class CpuTime:
    """Counts CPU seconds, given their running total."""

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._recorded = 0.0

    def record(self, seconds: float) -> None:
        """Add the increase of the total since the last call."""
        self._counter.inc(max(seconds - self._recorded, 0.0))
        self._recorded = seconds


class _Mallinfo2(ctypes.Structure):
    """The result of mallinfo2(3): ten numbers."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )

    @property
    def in_use(self) -> int:
        """Return the bytes in use, in the arenas and in mappings of their own."""
        return int(self.uordblks + self.hblkhd)


def _find_mallinfo2() -> Callable[[], _Mallinfo2] | None:
    try:
        found = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return None
    found.argtypes, found.restype = (), _Mallinfo2
    return found


def _open_fds(process: psutil.Process) -> int:
    """Return the number of open file descriptors."""
    try:
        # Since Linux 6.2 the size of the folder is their number, for a third of what
        # listing it costs: `python -m benchmarks.telemetry`.
        return os.stat("/proc/self/fd").st_size or process.num_fds()  # noqa: PTH116
    except OSError:
        return process.num_fds()


def find_process() -> psutil.Process | None:
    """Return this process; None if the system does not report on it."""
    try:
        return psutil.Process()
    except (OSError, psutil.Error):
        return None


_mallinfo2 = _find_mallinfo2()
_process = find_process()
