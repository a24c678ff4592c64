"""
What the operating system tells about this process: numbers, or None.

Only what costs microseconds.  What a system does not tell is None, never a guess:
without /proc there is no memory, no open file descriptors and no start time.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

PROC = Path("/proc")


def cpu_seconds() -> tuple[float, float]:
    """Return processor time since the process started, in user mode and the kernel."""
    times = os.times()
    return times.user, times.system


def virtual_memory(proc: Path = PROC) -> int | None:
    """Return reserved address space in bytes."""
    return _statm(proc, 0)


def resident_memory(proc: Path = PROC) -> int | None:
    """Return memory in RAM, in bytes."""
    return _statm(proc, 1)


def open_fds(proc: Path = PROC) -> int | None:
    """Return how many file descriptors are open."""
    folder = proc / "self/fd"
    try:
        # Since Linux 6.2 the size of the folder is the answer.
        return folder.stat().st_size or len(os.listdir(folder)) - 1
    except OSError:
        return None


def max_fds() -> int | None:
    """Return how many file descriptors may be open; None also for no limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def start_time(proc: Path = PROC) -> float | None:
    """Return when the process started, as Unix time."""
    try:
        booted = next(
            int(line.split()[1])
            for line in (proc / "stat").read_text().splitlines()
            if line.startswith("btime ")
        )
        # 4711 (a name (of sorts)) S 1 ...
        #                         ^ everything before may hold blanks and brackets
        fields = (proc / "self/stat").read_text().rpartition(")")[2].split()
        return booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _statm(proc: Path, field: int) -> int | None:
    """Read one of the page counts of /proc/self/statm."""
    try:
        pages = int((proc / "self/statm").read_text().split()[field])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
