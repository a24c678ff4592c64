"""
What the operating system tells about this process: numbers, or None.

Only what costs microseconds.  What a system does not tell is None, never a guess:
without /proc there is no memory, no open file descriptors and no start time.
"""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from pathlib import Path

PROC = Path("/proc")


def cpu_seconds() -> tuple[float, float]:
    """Return processor time since the process started, in user mode and the kernel."""
    times = os.times()
    return times.user, times.system


def memory(proc: Path = PROC) -> tuple[int, int] | tuple[None, None]:
    """Return reserved address space and what of it is in RAM, in bytes."""
    try:
        # A third of what pathlib and a text file would cost.
        file = os.open(proc / "self/statm", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # 8217 2870 1536 ... pages: all, in RAM, shared
            virtual, resident = os.read(file, 128).split()[:2]
        finally:
            os.close(file)
        return int(virtual) * _PAGE, int(resident) * _PAGE
    except (OSError, ValueError):
        return None, None


def allocated_by_malloc() -> int | None:
    """Return what the C library handed out, in bytes; only glibc tells."""
    return None if _mallinfo2 is None else _mallinfo2().in_use


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


class _Mallinfo2(ctypes.Structure):
    """What mallinfo2(3) returns: ten numbers."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    )

    @property
    def in_use(self) -> int:
        """Bytes in use, in the arenas and in mappings of their own."""
        return int(self.uordblks + self.hblkhd)


def _find_mallinfo2() -> Callable[[], _Mallinfo2] | None:
    try:
        found = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return None
    found.argtypes, found.restype = (), _Mallinfo2
    return found


_PAGE = os.sysconf("SC_PAGE_SIZE")
_mallinfo2 = _find_mallinfo2()
