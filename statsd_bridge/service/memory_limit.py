"""
How much memory this process may use: its cgroup, its resource limits, the machine.

Both versions of cgroups are read.  A container sees its own cgroup as the root, a unit
of systemd its path below it, and a limit of any cgroup above counts as well.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

CGROUP_SHARE = 2
"""One part in this many of a limit is for what is remembered."""

MACHINE_SHARE = 4
"""The same without a limit."""

LIMIT_FILES = {
    "cgroup": ("memory.limit_in_bytes",),
    "cgroup2": ("memory.max", "memory.high"),
}
"""Files with a limit, by type of the file system."""

ROOT = PurePosixPath("/")


def default_memory_limit() -> int:
    """Return the bytes of --statsd.max-memory if the flag is not given."""
    memory = machine_memory()
    root = Path("/")
    limit = min([*cgroup_limits(root), *resource_limits(root)], default=memory)
    if limit < memory:
        return limit // CGROUP_SHARE
    return memory // MACHINE_SHARE


def machine_memory() -> int:
    """Return the bytes of memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def resource_limits(root: Path) -> Iterator[int]:
    """
    Yield what is left of the limits of this process (`ulimit -v`, `ulimit -d`).

    Unlike the limit of a cgroup, they count libraries and reserved memory that is not
    in use.
    """
    pages = [int(word) for word in " ".join(_lines(root / "proc/self/statm")).split()]
    # The size of the address space is the first number, that of the data the sixth.
    for kind, place in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            used = pages[place] * resource.getpagesize() if place < len(pages) else 0
            yield max(0, soft - used)


def cgroup_limits(root: Path) -> Iterator[int]:
    """Yield the limits of the cgroups of this process, whose files are at `root`."""
    paths = _cgroup_paths(root)
    for line in _lines(root / "proc/self/mountinfo"):
        # 35 31 0:32 /root /mount/point options - type source options
        before, _, after = line.partition(" - ")
        fields, options = before.split(), after.split()
        if len(fields) < 5 or len(options) < 3:
            continue
        kind = options[0]
        if kind == "cgroup" and "memory" not in options[2].split(","):
            continue
        if kind in LIMIT_FILES and kind in paths:
            mount = root / _unescape(fields[4]).lstrip("/")
            below = _relative(paths[kind], PurePosixPath(_unescape(fields[3])))
            for folder in (below, *below.parents):
                for name in LIMIT_FILES[kind]:
                    yield from _limit(mount / str(folder).lstrip("/") / name)


def _cgroup_paths(root: Path) -> dict[str, PurePosixPath]:
    """Return this process's path in the hierarchies that can limit memory."""
    paths: dict[str, PurePosixPath] = {}
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            paths["cgroup2"] = PurePosixPath(path)
        elif "memory" in controllers.split(","):
            paths["cgroup"] = PurePosixPath(path)
    return paths


def _relative(path: PurePosixPath, mounted: PurePosixPath) -> PurePosixPath:
    """Return a path below the folder that is mounted; "/" if it is not below it."""
    try:
        return ROOT / path.relative_to(mounted)
    except ValueError:
        return ROOT


def _limit(file: Path) -> Iterator[int]:
    for line in _lines(file):
        if line.isdigit():
            yield int(line)


def _lines(file: Path) -> list[str]:
    """Return the lines of a file; none if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _unescape(path: str) -> str:
    """Replace the escapes of a path in mountinfo."""
    return path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
