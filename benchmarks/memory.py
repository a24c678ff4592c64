"""
Compare the bridge's estimate of its memory with its resident memory.

    python -m benchmarks.memory                 all kinds, about a minute
    python -m benchmarks.memory --only names    one kind

Each kind of input is fed to a new process; the resident memory is its growth.  The
error is how much the estimate is above it.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from benchmarks.machine import ROOT

LINES_PER_BATCH = 1_000
BYTES_PER_PAGE = 4_096

TTL = "defaults: {ttl: 1h}"
HISTOGRAMS = "defaults: {observer_type: histogram}"
CAPTURES = "mappings: [{match: c.*.*, name: c, labels: {a: $1, b: $2}}]"


class Kind(NamedTuple):
    """An input: its lines by number, how many there are, and a mapping file."""

    line: Callable[[int], bytes]
    lines: int
    rules: str = ""


KINDS = {
    "counters": Kind(lambda n: b"a:1|c|#route:r%d,zone:eu,method:get" % n, 100_000),
    "counters with ttl": Kind(lambda n: b"a:1|c|#route:r%d" % n, 100_000, TTL),
    "gauges": Kind(lambda n: b"a:%d|g|#route:r%d" % (n, n), 100_000),
    "names": Kind(lambda n: b"app.name%d:1|c" % n, 50_000),
    "label names": Kind(lambda n: b"a:1|c|#key%d:v" % n, 50_000),
    "long values": Kind(lambda n: b"a:1|c|#k:%d" % n + b"v" * 3_000, 10_000),
    "many labels": Kind(
        lambda n: b"a:1|c|#" + b",".join(b"k%d:%d" % (i, n) for i in range(200)), 5_000
    ),
    "histograms": Kind(
        lambda n: b"t:%d|h|#k:%d" % (n // 20_000, n % 20_000), 400_000, HISTOGRAMS
    ),
    "summaries": Kind(lambda n: b"t:%d|ms|#k:%d" % (n, n), 50_000),
    "busy summaries": Kind(
        lambda n: b"t:%d|ms|#k:%d" % (n * 7919 % 9973, n % 50), 400_000
    ),
    "sampled summaries": Kind(
        lambda n: b"t:%d|ms|@0.1|#k:%d" % (n * 7919 % 9973, n % 500), 100_000
    ),
    "busy histograms": Kind(
        lambda n: b"t:%d|h|@0.001|#k:%d" % (n // 20_000, n % 20_000),
        400_000,
        HISTOGRAMS,
    ),
    "native histograms": Kind(
        lambda n: (
            b"t:%.6f|h|@0.001|#k:%d" % (2 ** (n // 10_000 / 8 - 9.99), n % 10_000)
        ),
        600_000,
        HISTOGRAMS,
    ),
    "sets": Kind(lambda n: b"s:x|s|#k:%d" % n, 50_000),
    "members": Kind(lambda n: b"s%d:member%d|s" % (n % 20, n), 200_000),
    "buffers": Kind(lambda n: b"a%d:1|c|#k:%d" % (n % 100, n % 20_000), 60_000),
    "matches": Kind(lambda n: b"c.x%d.y%d:1|c" % (n, n % 10), 50_000, CAPTURES),
}


class Sizes(NamedTuple):
    """Bytes that a process estimated, and by which it grew."""

    estimate: int
    resident: int


def measure(name: str, share: float = 1.0) -> Sizes:
    """Feed a share of the lines of a kind to a new process."""
    command = [sys.executable, "-m", "benchmarks.memory"]
    command += ["--child", name, "--share", str(share)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return Sizes(*json.loads(done.stdout))


def _batches(kind: Kind, share: float) -> Iterator[bytes]:
    count = int(kind.lines * share)
    for start in range(0, count, LINES_PER_BATCH):
        end = min(start + LINES_PER_BATCH, count)
        yield b"\n".join(map(kind.line, range(start, end)))


def _feed(name: str, share: float) -> Sizes:
    """Feed the lines of a kind to this process."""
    from statsd_bridge import mapping
    from statsd_bridge.fastpath import FastPipeline
    from statsd_bridge.log import BugReporter
    from statsd_bridge.model import Stats
    from statsd_bridge.pipeline import Pipeline
    from statsd_bridge.series import SeriesStore

    # As in the service.
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    kind, stats, store = KINDS[name], Stats(), SeriesStore(clock=time.monotonic)
    table = mapping.parse(kind.rules, name, cache_size=100_000)
    pipeline = FastPipeline(
        Pipeline(table=table, store=store, stats=stats, bugs=BugReporter(stats))
    )
    pipeline.feed_lines([b"first:1|c", b"first:1|g"], "tcp")
    resident, estimate = _resident(), store.memory.used
    for batch in _batches(kind, share):
        pipeline.feed([batch], "udp")
    pipeline.flush()
    # The sorted names and labels of a page are kept.
    for family in store.families():
        family.label_texts()
    return Sizes(store.memory.used - estimate, _resident() - resident)


def _resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * BYTES_PER_PAGE


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=KINDS, action="append")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--child", choices=KINDS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(_feed(arguments.child, arguments.share)))
        return
    print("| input | estimate (KiB) | resident (KiB) | error |")
    print("|---|---:|---:|---:|")
    for name in arguments.only or KINDS:
        estimate, resident = measure(name, arguments.share)
        error = f"{estimate / resident - 1:+.0%}"
        print(f"| {name} | {estimate // 1024:,} | {resident // 1024:,} | {error} |")


if __name__ == "__main__":
    main()
