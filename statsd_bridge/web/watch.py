"""Notice each change of some files, without reading them at every request."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import NamedTuple

from statsd_bridge.model import Clock

SETTLING_SECONDS = 2.0
"""
A file that changed this recently may change again and keep its times and its size: the
clocks of file systems have steps, of 4 ms on Linux's own and of up to 2 s on others.
"""


class _Stamp(NamedTuple):
    """What changes with a file, as far as its status shows; 0 for no file."""

    device: int = 0
    inode: int = 0
    size: int = 0
    modified_ns: int = 0
    changed_ns: int = 0


class WatchedFiles:
    """
    Files, and what they were when they were added; `clock` is that of the system.

    Their stamps are compared; while a change is recent, their contents, too.
    """

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        self._stamps: dict[Path, _Stamp] = {}
        self._digests: dict[Path, bytes] = {}
        """Of the contents, while another change may not be visible in the stamps."""

    def clear(self) -> None:
        """Watch no files."""
        self._stamps.clear()
        self._digests.clear()

    def add(self, path: Path) -> None:
        """Watch a file from now on; call it before the file is read."""
        stamp = self._stamps[path] = _stamp(path)
        if self._is_recent(stamp):
            self._digests[path] = _digest(path)

    def have_changed(self) -> bool:
        """Return whether a file is not what it was when it was added."""
        if any(_stamp(path) != stamp for path, stamp in self._stamps.items()):
            return True
        for path, digest in list(self._digests.items()):
            is_recent = self._is_recent(self._stamps[path])
            if _digest(path) != digest:
                return True
            if not is_recent:
                del self._digests[path]
        return False

    def _is_recent(self, stamp: _Stamp) -> bool:
        return self._clock() < stamp.changed_ns / 1e9 + SETTLING_SECONDS


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except (OSError, ValueError):
        return _Stamp()
    return _Stamp(
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except (OSError, ValueError):
        return b""
