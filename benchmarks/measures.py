"""
The measures: each takes a server and returns numbers by row of the table.

CPU is what the server's process used with all its threads.  A packet that the kernel
dropped costs the server nothing and is not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ROOT
from benchmarks.servers import Server, ServerSpec, running
from benchmarks.traffic import REPEATED_NAMES, RULES

Row = tuple[str, str]
"""What is measured, and its unit."""

Numbers = dict[Row, float]

US_PER_SECOND = 1e6
COUNTERS = 100_000
HISTOGRAMS = 10_000
PAGES_PER_MEASURE = 5
FRESHNESS_PACKETS = 2_000

IDLE_SECONDS = 0.15
IDLE_SHARE = 0.01
"""A server is idle that uses less than this share of a core for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Where servers and senders run and for how long."""

    home: Path
    seconds: float
    server_cpu: int | None
    """The core of the server; None: there is only one core."""
    sender_cpu: int
    scale: float = 1.0
    """How many series to make, as a share of the full number."""

    @contextmanager
    def server(self, spec: ServerSpec, rules: str = RULES) -> Iterator[Server]:
        """Run a server with a mapping file."""
        with running(spec, self.home, rules, self.server_cpu) as server:
            yield server

    @contextmanager
    def sender(self, server: Server, **flags: object) -> Iterator[Sender]:
        """Run a sender that is ready and waits for `start`."""
        command = [sys.executable, "-m", "benchmarks.sender", f"--port={server.udp}"]
        command += [f"--{name}={value}" for name, value in flags.items()]
        with subprocess.Popen(
            [*command, f"--cpu={self.sender_cpu}"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            sender = Sender(process)
            sender.read("ready")
            yield sender


Measure = Callable[[Bench, ServerSpec], Numbers]


@dataclass(slots=True)
class Sender:
    """The process that sends."""

    process: subprocess.Popen[str]

    def read(self, word: str = "") -> str:
        """Return its next line, which must contain a word."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if word not in line or not line:
            raise RuntimeError(f"the sender ended: {line!r}")
        return line

    def start(self) -> None:
        """Let it send."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def wait(self) -> tuple[int, float]:
        """Wait until it has sent everything; return the packets and the seconds."""
        result = json.loads(self.read())
        return result["packets"], result["seconds"]

    def send(self) -> tuple[int, float]:
        """Start it and wait for its end; return the packets and the seconds."""
        self.start()
        return self.wait()


def wait_until_idle(server: Server) -> None:
    """Wait until a server has processed what it received."""
    before = float("-inf")
    while (now := server.cpu_seconds()) - before > IDLE_SHARE * IDLE_SECONDS:
        before = now
        time.sleep(IDLE_SECONDS)


def traffic(lines: int, rate: int, profile: str = "gateway") -> Measure:
    """
    Measure CPU and loss under steady traffic.

    `lines` is the lines in a packet, `rate` the packets a second; 0 sends as fast as
    the sender can.  `profile` names the lines, see traffic.py.
    """
    speed = f"{rate:,} packets/s" if rate else "highest rate"
    what = f"{profile}, {lines} a packet, {speed}"

    def measure(bench: Bench, spec: ServerSpec) -> Numbers:
        flags = {"profile": profile, "lines": lines, "rate": rate}
        with (
            bench.server(spec) as server,
            bench.sender(server, seconds=bench.seconds, **flags) as sender,
        ):
            if profile == "repeated":
                # A new name costs more, which the profile "distinct" measures.
                _send_all_names(bench, server, profile, REPEATED_NAMES // lines)
            cpu, drops = server.cpu_seconds(), server.drops()
            sent, seconds = sender.send()
            wait_until_idle(server)
            lost = server.drops() - drops
            used = server.cpu_seconds() - cpu
        unit = "line" if lines > 1 else "packet"
        received = max(1, sent - lost) * lines
        return {
            (f"CPU a {unit}: {what}", "us"): used / received * US_PER_SECOND,
            (f"lost: {what}", "%"): 100 * lost / sent,
            (f"sent: {what}", "1000/s"): sent / seconds / 1000,
        }

    return measure


def _send_all_names(bench: Bench, server: Server, profile: str, count: int) -> None:
    """Send `count` packets twice, which is every name of the profile."""
    for _ in range(2):
        flags = {"profile": profile, "rate": 500, "count": count, "seconds": 60}
        with bench.sender(server, **flags) as sender:
            sender.send()
    wait_until_idle(server)


def loss(lines: int, rates: tuple[int, ...]) -> Measure:
    """Find the lowest of some rates at which packets are lost."""
    row = (f"loss begins, {lines} a packet (0: not up to {rates[-1]:,})", "packets/s")

    def measure(bench: Bench, spec: ServerSpec) -> Numbers:
        for rate in rates:
            numbers = traffic(lines, rate)(bench, spec)
            if any(value > 0 for (what, _), value in numbers.items() if "lost" in what):
                return {row: rate}
        return {row: 0}

    return measure


def counters(bench: Bench, spec: ServerSpec) -> Numbers:
    """Measure 100,000 counters of 3 labels."""
    return _series(bench, spec, "counters", COUNTERS, "counter with 3 labels")


def histograms(bench: Bench, spec: ServerSpec) -> Numbers:
    """Measure 10,000 histograms of 14 buckets."""
    return _series(bench, spec, "histograms", HISTOGRAMS, "histogram")


def _series(
    bench: Bench, spec: ServerSpec, profile: str, full_count: int, what: str
) -> Numbers:
    """Measure making series, their memory, and a page of them."""
    count = int(full_count * bench.scale)
    pages = f"{count:,} {profile}"
    with bench.server(spec) as server, _fill(bench, server, profile, count) as sender:
        server.get()
        cpu, drops = server.cpu_seconds(), server.drops()
        resident = server.resident_bytes()
        sender.send()
        wait_until_idle(server)
        if server.drops() - drops:
            raise RuntimeError(f"{spec.name} lost packets at 2,000 a second")
        used, grown = server.cpu_seconds() - cpu, server.resident_bytes() - resident
        numbers: Numbers = {
            (f"created: a {what}", "us"): used / count * US_PER_SECOND,
            (f"resident: a {what}", "bytes"): grown / count,
        }
        plain = _page_cpu_seconds(server, gzip=False)
        compressed = _page_cpu_seconds(server, gzip=True)
        numbers[f"page: {pages}", "s"] = plain
        numbers[f"page: {pages}, more with gzip", "s"] = compressed - plain
        grown = server.resident_bytes() - resident
        numbers[f"resident after pages: a {what}", "bytes"] = grown / count
    return numbers


@contextmanager
def _fill(bench: Bench, server: Server, profile: str, series: int) -> Iterator[Sender]:
    """Run a sender that names each series once, ten in a packet."""
    packets = series // 10
    flags = {"lines": 10, "rate": 2_000, "seconds": 600, "pool": packets}
    with bench.sender(server, profile=profile, count=packets, **flags) as sender:
        yield sender


def _page_cpu_seconds(server: Server, *, gzip: bool) -> float:
    """Measure the CPU time of a page, without that of the first one."""
    server.get(gzip=gzip)
    wait_until_idle(server)
    cpu = server.cpu_seconds()
    for _ in range(PAGES_PER_MEASURE):
        server.get(gzip=gzip)
    wait_until_idle(server)
    return (server.cpu_seconds() - cpu) / PAGES_PER_MEASURE


def scrape_loss(bench: Bench, spec: ServerSpec) -> Numbers:
    """Scrape 100,000 counters under 50,000 packets a second; measure the loss."""
    count = int(COUNTERS * bench.scale)
    with (
        bench.server(spec) as server,
        _fill(bench, server, "counters", count) as filler,
        bench.sender(server, lines=1, rate=50_000, seconds=bench.seconds) as sender,
    ):
        filler.send()
        server.get()
        wait_until_idle(server)
        drops = server.drops()
        sender.start()
        time.sleep(bench.seconds / 4)
        server.get()
        sent, _ = sender.wait()
        lost = 100 * (server.drops() - drops) / sent
    row = "lost while 100,000 counters are scraped at 50,000 packets/s"
    return {(row, "%"): lost}


def freshness(bench: Bench, spec: ServerSpec) -> Numbers:
    """Scrape right after a burst; count packets delivered but missing on the page."""
    missing = 0
    for rate in (0, 5_000):
        flags = {"lines": 1, "rate": rate, "seconds": 60, "count": FRESHNESS_PACKETS}
        with bench.server(spec) as server, bench.sender(server, **flags) as sender:
            sender.send()
            shown = server.packets() or 0
            missing += FRESHNESS_PACKETS - server.drops() - shown
    return {("delivered but not on the page", "packets"): missing}


def idle(bench: Bench, spec: ServerSpec) -> Numbers:
    """Measure the CPU of a server without traffic."""
    with bench.server(spec) as server:
        wait_until_idle(server)
        time.sleep(1.0)
        cpu, began = server.cpu_seconds(), time.monotonic()
        time.sleep(10 * bench.scale)
        used = (server.cpu_seconds() - cpu) / (time.monotonic() - began)
    return {("idle", "% of a core"): 100 * used}
