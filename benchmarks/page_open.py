"""
The page is open on a million series: packets lost, and the longest pause.

The page's requests are made again and again, the next one when the last is answered,
which is more often than a browser makes them.
"""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from benchmarks import pauses
from benchmarks.machine import HOST
from benchmarks.measures import Bench, Numbers, wait_until_idle
from benchmarks.servers import TIMEOUT_SECONDS, Command, Server, ServerSpec

SERIES = 1_000_000
RATE = 50_000
"""Packets a second, of one line each."""

OPEN_SECONDS = 20.0

PATHS = (
    "status",
    "traffic",
    "series",
    "series?search=wide+b99+c7",
    "series?search=nothing-has-this",
    "cardinality",
    "rules",
    "unmapped",
)

FILL = {"lines": 10, "rate": 2_000, "seconds": 600}


def measure(bench: Bench, spec: ServerSpec) -> Numbers:
    """Measure without the page and with it: packets lost, pauses, slowest answer."""
    count = int(SERIES * bench.scale)
    file = bench.home / "pauses"
    timed = replace(spec, command=_timed(spec.command, file))
    numbers: Numbers = {}
    with bench.server(timed) as server:
        _fill(bench, server, count)
        for what, paths in (("closed", ()), ("open", PATHS)):
            row = f"page {what}, {count:,} series, {RATE:,} packets/s"
            numbers |= _measure_traffic(bench, server, file, row, paths)
    return numbers


def _timed(command: Command, file: Path) -> Command:
    """Return a command that measures the pauses of the bridge."""

    def timed(home: Path, udp: int, tcp: int) -> list[str]:
        python, _, _, *flags = command(home, udp, tcp)
        return [python, "-m", "benchmarks.pauses", str(file), *flags]

    return timed


def _fill(bench: Bench, server: Server, count: int) -> None:
    flags = {"profile": "million", "count": count // 10, "pool": count // 10, **FILL}
    with bench.sender(server, **flags) as sender:
        sender.send()
    wait_until_idle(server)


def _measure_traffic(
    bench: Bench, server: Server, file: Path, row: str, paths: Sequence[str]
) -> Numbers:
    seconds = OPEN_SECONDS * max(bench.scale, 0.05)
    flags = {"profile": "million", "lines": 1, "rate": RATE, "seconds": seconds}
    with bench.sender(server, pool=server_pool(bench), **flags) as sender:
        drops, began = server.drops(), time.monotonic()
        cpu = server.cpu_seconds()
        page = OpenPage(server, paths)
        sender.start()
        sender.wait()
        share = (server.cpu_seconds() - cpu) / (time.monotonic() - began)
        slowest = page.close()
    wall, pause_cpu = pauses.longest(file, began)
    return {
        (f"lost: {row}", "packets"): server.drops() - drops,
        (f"longest pause: {row}", "ms"): 1000 * wall,
        (f"longest pause, CPU: {row}", "ms"): 1000 * pause_cpu,
        (f"CPU: {row}", "% of a core"): 100 * share,
    } | {(f"slowest {path}: {row}", "s"): took for path, took in slowest.items()}


def server_pool(bench: Bench) -> int:
    """Return how many packets name each series once."""
    return int(SERIES * bench.scale)


class OpenPage:
    """Makes the requests of the page in turn, until it is closed."""

    def __init__(self, server: Server, paths: Sequence[str]) -> None:
        self._url = f"http://{HOST}:{server.tcp}/api/v1/"
        self._paths = paths
        self._slowest: dict[str, float] = {}
        self._is_closed = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> dict[str, float]:
        """Return the seconds of the slowest answer of each path."""
        self._is_closed.set()
        self._thread.join()
        return self._slowest

    def _run(self) -> None:
        while self._paths and not self._is_closed.is_set():
            for path in self._paths:
                began = time.perf_counter()
                # An older checkout has no such page.
                with suppress(urllib.error.HTTPError):
                    _get(self._url + path)
                took = time.perf_counter() - began
                self._slowest[path] = max(took, self._slowest.get(path, 0.0))


def _get(url: str) -> None:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        response.read()
