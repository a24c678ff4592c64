"""The machine a benchmark runs on, and what a process uses of it."""

from __future__ import annotations

import os
import platform
import socket
import time
from pathlib import Path

import psutil

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[1]
"""The checkout that is measured."""

_ALL_THREADS = 2
"""Linux: the kind of such a clock (CPUCLOCK_SCHED of linux/posix-timers.h)."""


def describe() -> str:
    """Return one line with the processor, the kernel and the Python version."""
    return (
        f"{processor()}, {os.cpu_count()} cores, Linux {platform.release()},"
        f" Python {platform.python_version()}; load {os.getloadavg()[0]:.1f}"
    )


def processor() -> str:
    """Return the name of the processor, "unknown" if the kernel has none."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return next(models, "unknown").strip()


def cpu_seconds(pid: int) -> float:
    """
    Return the CPU time of a process in seconds, ended threads included.

    By its clock of clock_getcpuclockid(3): /proc counts in hundredths of a second.
    """
    return time.clock_gettime(~pid << 3 | _ALL_THREADS)


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    return int(psutil.Process(pid).memory_info().rss)


def free_port(kind: socket.SocketKind) -> int:
    """Return a port of the loopback interface that is free now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
