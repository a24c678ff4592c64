"""
Run the bridge, and write down how long its reactor does not look at its sockets.

    python -m benchmarks.pauses FILE --statsd.listen-udp=...

A line of the file: when a pause of more than MIN_PAUSE_SECONDS ended on the monotonic
clock, its seconds, and the CPU seconds of the reactor's thread in it.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from statsd_bridge import cli, optional

MIN_PAUSE_SECONDS = 0.002


class TimedPoller:
    """An epoll object that measures the time between two polls."""

    def __init__(self, poller: Any, file: Path) -> None:
        self._poller = poller
        self._file = file.open("w", buffering=1)
        self._ended = self._cpu = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)

    def poll(self, *arguments: Any) -> Any:
        """Poll, and write down the pause before it."""
        now, cpu = time.monotonic(), time.thread_time()
        pause = now - self._ended
        if self._ended and pause >= MIN_PAUSE_SECONDS:
            self._file.write(f"{now:.6f} {pause:.6f} {cpu - self._cpu:.6f}\n")
        found = self._poller.poll(*arguments)
        self._ended, self._cpu = time.monotonic(), time.thread_time()
        return found


def longest(file: Path, since: float) -> tuple[float, float]:
    """Return the longest pause since a time: seconds, and CPU seconds."""
    rows = [list(map(float, row.split())) for row in file.read_text().splitlines()]
    later = [row for row in rows if len(row) == 3 and row[0] >= since]
    wall = max([pause for _, pause, _ in later], default=0.0)
    return wall, max([cpu for _, _, cpu in later], default=0.0)


def main() -> int:
    """Run the bridge with a reactor that is measured."""
    with optional.left_out(*optional.OF_TLS):
        from twisted.internet import reactor
    measured: Any = reactor
    timed = TimedPoller(measured._poller, Path(sys.argv[1]))  # noqa: SLF001
    measured._poller = timed  # noqa: SLF001
    return cli.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
