"""
One measure each: a server in, numbers out, by the name of their row.

CPU is what the server's process used, with all its threads; a packet that the kernel
dropped costs the server nothing and is not counted.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers import BUFFER, Kind, Server, running
from benchmarks.traffic import MANY

Row = tuple[str, str]
"""What is measured, and its unit."""

Numbers = dict[Row, float]

MICRO = 1e6
SERIES = 100_000
DISTRIBUTIONS = 10_000


@dataclass(frozen=True, slots=True)
class Bench:
    """Where and how long.  A core each for server and sender, if there are two."""

    home: Path
    seconds: float
    server_cpu: int | None
    sender_cpu: int
    scale: float = 1.0
    """How many series, as a share of the full number."""

    @contextmanager
    def server(self, kind: Kind) -> Iterator[Server]:
        """Run a server."""
        with running(kind, self.home, self.server_cpu) as server:
            yield server

    @contextmanager
    def sender(self, server: Server, **flags: object) -> Iterator[Sending]:
        """Make a sender ready."""
        command = [sys.executable, "-m", "benchmarks.sender", f"--port={server.udp}"]
        command += [f"--{name}={value}" for name, value in flags.items()]
        with subprocess.Popen(
            [*command, f"--cpu={self.sender_cpu}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            sending = Sending(process)
            sending.wait("ready")
            yield sending


@dataclass(slots=True)
class Sending:
    """A sender that waits for its start."""

    process: subprocess.Popen[str]

    def wait(self, word: str = "") -> str:
        """Read its next line."""
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

    def finish(self) -> tuple[int, float]:
        """Wait until all is sent; gives packets and seconds."""
        told = json.loads(self.wait())
        return told["packets"], told["seconds"]


def quiet(server: Server) -> None:
    """Wait until a server has worked off what it got."""
    before = -1.0
    while (now := server.cpu()) != before:
        before = now
        time.sleep(0.15)


def traffic(
    bench: Bench, kind: Kind, lines: int, rate: int, of: str = "gateway"
) -> Numbers:
    """Measure CPU and loss under steady traffic."""
    where = (
        f"{of}, {lines} a packet, {f'{rate:,} packets/s' if rate else 'highest rate'}"
    )
    flags = {"kind": of, "lines": lines, "rate": rate, "seconds": bench.seconds}
    with bench.server(kind) as server, bench.sender(server, **flags) as sending:
        if of == "many":
            # A name that is new costs more, which is a measure of its own.
            _say_twice(bench, server, of, MANY // lines)
        cpu, drops = server.cpu(), server.drops()
        sending.start()
        sent, seconds = sending.finish()
        quiet(server)
        lost = server.drops() - drops
        used = server.cpu() - cpu
    per = "line" if lines > 1 else "packet"
    taken = max(1, sent - lost) * (lines if lines > 1 else 1)
    return {
        (f"CPU a {per}: {where}", "us"): used / taken * MICRO,
        (f"lost: {where}", "%"): 100 * lost / sent,
        (f"sent: {where}", "1000/s"): sent / seconds / 1000,
    }


def _say_twice(bench: Bench, server: Server, of: str, count: int) -> None:
    """Send as many packets as name every name of a kind once, and again."""
    for _ in range(2):
        flags = {"kind": of, "rate": 500, "count": count, "seconds": 60}
        with bench.sender(server, **flags) as sending:
            sending.start()
            sending.finish()
    quiet(server)


def loss(bench: Bench, kind: Kind, lines: int, rates: tuple[int, ...]) -> Numbers:
    """Find the rate at which packets begin to be lost."""
    for rate in rates:
        numbers = traffic(bench, kind, lines, rate)
        if any(value > 0 for (name, _), value in numbers.items() if "lost" in name):
            break
    else:
        rate = 0
    row = (f"loss begins, {lines} a packet (0: not up to {rates[-1]:,})", "packets/s")
    return {row: rate}


def series(bench: Bench, kind: Kind, of: str, count: int) -> Numbers:
    """Measure series from nothing, what they weigh, and what a page of them costs."""
    count = int(count * bench.scale)
    what = {"counters": "counter with 3 labels", "histograms": "histogram"}[of]
    pages = f"{count:,} {of}"
    flags = {
        "kind": of,
        "lines": 10,
        "rate": 2_000,
        "seconds": 600,
        "pool": count // 10,
    }
    with (
        bench.server(kind) as server,
        bench.sender(server, count=count // 10, **flags) as sending,
    ):
        server.get()
        cpu, resident, drops = server.cpu(), server.resident(), server.drops()
        sending.start()
        sending.finish()
        quiet(server)
        if server.drops() - drops:
            raise RuntimeError(f"{kind.name} lost packets at 2,000 a second")
        numbers: Numbers = {
            (f"created: a {what}", "us"): (server.cpu() - cpu) / count * MICRO,
            (f"resident: a {what}", "bytes"): (server.resident() - resident) / count,
        }
        plain = page_cpu(server, gzip=False)
        numbers[f"page: {pages}", "s"] = plain
        numbers[f"page: {pages}, more with gzip", "s"] = (
            page_cpu(server, gzip=True) - plain
        )
        numbers[f"resident after pages: a {what}", "bytes"] = (
            server.resident() - resident
        ) / count
    return numbers


PAGES = 5


def page_cpu(server: Server, *, gzip: bool) -> float:
    """Measure the CPU of a page; the first one, which makes things ready, apart."""
    server.get(gzip=gzip)
    quiet(server)
    cpu = server.cpu()
    for _ in range(PAGES):
        server.get(gzip=gzip)
    quiet(server)
    return (server.cpu() - cpu) / PAGES


def scraped(bench: Bench, kind: Kind) -> Numbers:
    """Scrape 100,000 counters under 50,000 packets a second; count what is lost."""
    count = int(SERIES * bench.scale)
    fill = {"kind": "counters", "lines": 10, "rate": 2_000, "seconds": 600}
    with (
        bench.server(kind) as server,
        bench.sender(server, count=count // 10, pool=count // 10, **fill) as filling,
        bench.sender(server, lines=1, rate=50_000, seconds=bench.seconds) as sending,
    ):
        filling.start()
        filling.finish()
        server.get()
        quiet(server)
        drops = server.drops()
        sending.start()
        time.sleep(bench.seconds / 4)
        server.get()
        sent, _ = sending.finish()
        return {
            ("lost while 100,000 counters are scraped at 50,000 packets/s", "%"): (
                100 * (server.drops() - drops) / sent
            )
        }


def freshness(bench: Bench, kind: Kind) -> Numbers:
    """Scrape right after a burst; count packets that the kernel had and a page not."""
    burst, missing = 2_000, 0
    for rate in (0, 5_000):
        flags = {"lines": 1, "rate": rate, "seconds": 60, "count": burst}
        with bench.server(kind) as server, bench.sender(server, **flags) as sending:
            sending.start()
            sending.finish()
            shown = server.packets() or 0
            missing += burst - server.drops() - shown
    return {("delivered but not on the page", "packets"): missing}


def idle(bench: Bench, kind: Kind) -> Numbers:
    """Measure a server that has nothing to do."""
    with bench.server(kind) as server:
        quiet(server)
        time.sleep(1.0)
        cpu, began = server.cpu(), time.monotonic()
        time.sleep(10 * bench.scale)
        used = (server.cpu() - cpu) / (time.monotonic() - began)
    return {("idle", "% of a core"): 100 * used}


__all__ = ["BUFFER", "Bench", "Numbers", "Row"]
