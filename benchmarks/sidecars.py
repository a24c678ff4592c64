"""
Measure many servers at once, each with the traffic of one pod, and one for all pods.

    python -m benchmarks.sidecars                  50 of each, six minutes a kind
    python -m benchmarks.sidecars --count 200      as many as a cluster has

A pod sends 10 lines a second, a packet each, and its server is scraped every 15
seconds.  `one for all` is a server to which the same pods send, each with a tag of its
own, so that it has the series of all.  All run at the same priority on all cores.
"""

from __future__ import annotations

import argparse
import itertools
import random
import socket
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine, servers, traffic
from benchmarks.machine import HOST
from benchmarks.report import Results, table
from benchmarks.servers import Server, ServerSpec

MEGABYTE = 1e6
SCRAPE_SECONDS = 15.0
TAKING_PART = ("ours", "before", "statsd_exporter")
POD_LINES = 1_000
"""The lines that a pod repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What the pods send, and how long it is measured."""

    pods: int
    rate: float
    """Lines a second of a pod."""
    seconds: float


def main() -> int:
    """Measure and print; return the exit code."""
    args = _parse()
    load = Load(pods=args.count, rate=args.rate, seconds=args.seconds)
    specs = [each for each in servers.available(args.against) if _takes_part(each)]
    results: Results = defaultdict(lambda: defaultdict(list))
    for spec in specs:
        for row, count in (("a pod each", load.pods), ("one for all", 1)):
            print(f"{spec.name}, {row} ...", file=sys.stderr)
            _measure(spec, row, count, load, results)
    print(f"{machine.describe()}\n")
    print(f"{load.pods} pods, {load.rate:g} lines/s each, for {load.seconds:g} s\n")
    print(table(results, [spec.name for spec in specs]))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sidecars")
    add = parser.add_argument
    add("--count", type=int, default=50, help="pods; default: %(default)s")
    add("--rate", type=float, default=10.0, help="lines/s of each; default: 10")
    add("--seconds", type=float, default=60.0, help="default: %(default)s")
    add("--against", type=Path, action="append", default=[], metavar="DIR")
    return parser.parse_args()


def _takes_part(spec: ServerSpec) -> bool:
    return spec.name.removesuffix(" 2") in TAKING_PART


def _measure(
    spec: ServerSpec, row: str, count: int, load: Load, results: Results
) -> None:
    """Fill the rows of `count` servers that share the pods; a value for each server."""
    with _running(spec, count) as group, _pods(group, load), _scrapes(group):
        # Each has had all kinds of lines, and a scrape with them.
        time.sleep(load.seconds / 2)
        before = [each.cpu_seconds() for each in group]
        began = time.monotonic()
        time.sleep(load.seconds)
        passed = time.monotonic() - began
        used = [
            each.cpu_seconds() - was for each, was in zip(group, before, strict=True)
        ]
        memory = [machine.memory(each.process.pid) for each in group]
        taken = [each.packets() or 0 for each in group]

    def add(what: str, unit: str, values: Sequence[float]) -> None:
        results[f"{row}: {what}", unit][spec.name] += values

    add("resident", "MB", [each.resident / MEGABYTE for each in memory])
    add(
        "resident, pages in common shared out",
        "MB",
        [each.proportional / MEGABYTE for each in memory],
    )
    add("of that its own", "MB", [each.private / MEGABYTE for each in memory])
    add("CPU", "% of a core", [100 * each / passed for each in used])
    if count > 1:
        add("all servers", "MB", [sum(each.proportional for each in memory) / MEGABYTE])
        add("CPU of all servers", "% of a core", [100 * sum(used) / passed])
    add("packets taken", "packets", [sum(taken)])


@contextmanager
def _running(spec: ServerSpec, count: int) -> Iterator[list[Server]]:
    """Run servers with the gateway's mapping file, on any core."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        group = []
        for number in range(count):
            folder = home / str(number)
            folder.mkdir()
            group.append(
                stack.enter_context(servers.running(spec, folder, traffic.RULES))
            )
        yield group


@contextmanager
def _pods(group: Sequence[Server], load: Load) -> Iterator[None]:
    """Send the lines of all pods, evenly, each pod to its server."""
    ended = threading.Event()
    rng = random.Random(1)
    lines = list(itertools.islice(traffic.gateway(rng), POD_LINES))
    tags = [b"|#pod:%d" % pod if len(group) == 1 else b"" for pod in range(load.pods)]

    def send() -> None:
        began, total = time.monotonic(), load.rate * load.pods
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in itertools.count():
                pause = began + number / total - time.monotonic()
                if ended.wait(max(0.0, pause)):
                    return
                turn, pod = divmod(number, load.pods)
                line = lines[(turn + pod) % POD_LINES].encode() + tags[pod]
                sender.sendto(line, (HOST, group[pod % len(group)].udp))

    with _thread(send, ended):
        yield


@contextmanager
def _scrapes(group: Sequence[Server]) -> Iterator[None]:
    """Scrape each server every 15 seconds, one after the other."""
    ended = threading.Event()

    def scrape() -> None:
        for each in itertools.cycle(group):
            if ended.wait(SCRAPE_SECONDS / len(group)):
                return
            each.get()

    with _thread(scrape, ended):
        yield


@contextmanager
def _thread(work: Callable[[], None], ended: threading.Event) -> Iterator[None]:
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


if __name__ == "__main__":
    sys.exit(main())
