"""The machine a benchmark runs on, and what a process uses of it."""

from __future__ import annotations

import os
import platform
import random
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

HOST = "127.0.0.1"
ROOT = Path(__file__).parents[1]
"""The checkout that is measured."""

PORTS = range(3_000, 9_000)
"""Below those of sockets that name none, which could take one before it is used."""

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


class Memory(NamedTuple):
    """
    The memory of a process, in bytes.

    Other processes have some of its pages, too, such as those of a library:
    `proportional` has the share of one process of these, `private` none.
    """

    resident: int
    proportional: int
    private: int


def memory(pid: int) -> Memory:
    """Return the memory of a process, by the kernel's sums for all its mappings."""
    rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {name: int(size) * 1024 for name, size, _ in map(str.split, rows)}
    private = sizes["Private_Clean:"] + sizes["Private_Dirty:"]
    return Memory(sizes["Rss:"], sizes["Pss:"], private)


def free_port(kind: socket.SocketKind) -> int:
    """Return a port of the loopback interface that is free now."""
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket(socket.AF_INET, kind) as probe, suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise RuntimeError(f"no port of {PORTS} is free")
