"""
What the operating system and Python report about this process: the door to psutil.

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
from collections.abc import Callable, Iterator

import psutil

from crocbot.telemetry import catalogue
from crocbot.telemetry.catalogue import CpuMode
from crocbot.telemetry.metric import GaugeMetric


def cpu_seconds() -> dict[CpuMode, float]:
    """Return the CPU time since the process started."""
    times = os.times()
    return {CpuMode.USER: times.user, CpuMode.SYSTEM: times.system}


def start_time() -> float | None:
    """Return when the process started, as Unix time."""
    return None if _process is None else _process.create_time()


def gauges() -> Iterator[tuple[GaugeMetric, float]]:
    """Yield the present value of each gauge that the system provides."""
    if _process is not None:
        memory = _process.memory_info()
        yield catalogue.RESIDENT_MEMORY, memory.rss
        yield catalogue.VIRTUAL_MEMORY, memory.vms
        yield catalogue.OPEN_FDS, _process.num_fds()
    soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft_limit != resource.RLIM_INFINITY:
        yield catalogue.MAX_FDS, soft_limit
    yield catalogue.ALLOCATED_BLOCKS, sys.getallocatedblocks()
    yield catalogue.THREADS, threading.active_count()
    if _mallinfo2 is not None:
        yield catalogue.MALLOC, _mallinfo2().in_use


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


def find_process() -> psutil.Process | None:
    """Return this process; None if the system does not report on it."""
    try:
        return psutil.Process()
    except (OSError, psutil.Error):
        return None


_mallinfo2 = _find_mallinfo2()
_process = find_process()
