"""
Shapes of series: many in one family, or a family each, of each type.

A shape is made once, sent again in the same order, and scraped:

    made       CPU of the server for each new series, at 1,500 packets a second
    resident   growth of its memory for each series
    known      CPU for each line of further passes, at 5,000 packets a second
    page       seconds of a scrape without gzip, the median of five: as text, and in
               protobuf if the server has it
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from benchmarks.measures import (
    US_PER_SECOND,
    Bench,
    Measure,
    Numbers,
    wait_until_idle,
)
from benchmarks.servers import ACCEPT_PROTOBUF, Server, ServerSpec
from benchmarks.traffic import HISTOGRAM_RULES, RULES

LINES = 10
"""Lines in a packet."""

MADE_RATE = 1_500
KNOWN_RATE = 5_000
"""Packets a second."""

KNOWN_LINES = 300_000
"""At least as many lines follow."""

PAGES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """`count` series, each named by one line of `profile`."""

    name: str
    profile: str
    count: int
    rules: str = RULES


SHAPES = (
    Shape(name="counters, one family, 3 labels", profile="counters", count=100_000),
    Shape(name="counters, a family each", profile="counter_names", count=20_000),
    Shape(
        name="histograms, a family each",
        profile="timer_names",
        count=10_000,
        rules=HISTOGRAM_RULES,
    ),
    Shape(name="histograms, one family", profile="histograms", count=10_000),
    Shape(name="summaries, a family each", profile="timer_names", count=5_000),
    Shape(name="gauges with 8 tags", profile="tagged_gauges", count=20_000),
)
HISTOGRAMS = [each for each in SHAPES if each.name.startswith("histograms")]
MILLION = Shape(
    name="counters, one family, 3 labels", profile="million", count=1_000_000
)


def measure_shape(shape: Shape) -> Measure:
    """Return the measure of a shape."""

    def measure(bench: Bench, spec: ServerSpec) -> Numbers:
        count = int(shape.count * bench.scale)
        what = f"{count:,} {shape.name}"
        passes = 1 + int(KNOWN_LINES * bench.scale) // count
        with bench.server(spec, shape.rules) as server:
            server.get()
            resident = server.resident_bytes()
            traffic = Traffic(bench=bench, server=server, shape=shape, count=count)
            made = traffic.send(rate=MADE_RATE)
            grown = server.resident_bytes() - resident
            known = traffic.send(rate=KNOWN_RATE, passes=passes)
            pages = {"page": _page_seconds(server)}
            if server.has_format(ACCEPT_PROTOBUF):
                pages["page in protobuf"] = _page_seconds(server, ACCEPT_PROTOBUF)
        return {
            (f"made: {what}", "us"): made.cpu_seconds / made.lines * US_PER_SECOND,
            (f"known: {what}", "us"): known.cpu_seconds / known.lines * US_PER_SECOND,
            **{(f"{name}: {what}", "s"): page for name, page in pages.items()},
            (f"resident: {what}", "bytes"): grown / made.lines,
            (f"lost: {what}", "packets"): made.lost + known.lost,
        }

    return measure


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The lines that a server received, the packets it lost, and what it used."""

    cpu_seconds: float
    lines: int
    lost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """The first `count` lines of a shape, for a server."""

    bench: Bench
    server: Server
    shape: Shape
    count: int

    def send(self, *, rate: int, passes: int = 1) -> Received:
        """Send all lines, `passes` times in the same order."""
        packets = self.count // LINES
        server, profile, count = self.server, self.shape.profile, packets * passes
        flags = {"lines": LINES, "rate": rate, "seconds": 600, "pool": packets}
        with self.bench.sender(server, profile=profile, count=count, **flags) as sender:
            cpu, drops = server.cpu_seconds(), server.drops()
            sent, _ = sender.send()
            wait_until_idle(server)
        lost = server.drops() - drops
        return Received(
            cpu_seconds=server.cpu_seconds() - cpu,
            lines=(sent - lost) * LINES,
            lost=lost,
        )


def _page_seconds(server: Server, accept: str = "") -> float:
    server.get(accept=accept)
    seconds = []
    for _ in range(PAGES):
        wait_until_idle(server)
        began = time.perf_counter()
        server.get(accept=accept)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def start(bench: Bench, spec: ServerSpec) -> Numbers:
    """Measure a start: CPU until the first scrape is answered, and memory at rest."""
    with bench.server(spec) as server:
        cpu = server.cpu_seconds()
        wait_until_idle(server)
        resident = server.resident_bytes()
    return {
        ("start: CPU until the first scrape is answered", "s"): cpu,
        ("start: resident at rest", "MB"): resident / 1e6,
    }
