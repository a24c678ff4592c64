"""
How long a bridge takes to write all series to a file, and to read them again.

    python -m benchmarks.restart            CPU time, two minutes
    python -m benchmarks.restart --share 0.01

One process writes the file of --storage.file and reads it into a new store.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from statsd_bridge import mapping
from statsd_bridge.fastpath import FastPipeline
from statsd_bridge.log import BugReporter
from statsd_bridge.model import Stats
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.series import SeriesStore
from statsd_bridge.storage import SeriesFile, SeriesReader, chunks_of_series

LINES_PER_BATCH = 1_000
HISTOGRAMS = "defaults: {observer_type: histogram}"


class Kind(NamedTuple):
    """An input: its lines by number, how many there are, and a mapping file."""

    line: Callable[[int], bytes]
    lines: int
    rules: str = ""


def _labelled(n: int) -> bytes:
    return b"a:1|c|#route:r%d,zone:eu,method:get" % n


def _named(n: int) -> bytes:
    return b"app.name%d:1|c" % n


def _timed(n: int) -> bytes:
    return b"t:%d|ms|#k:%d" % (n * 7919 % 9973, n % 10_000)


KINDS = {
    "100,000 counters of one name, 3 labels": Kind(_labelled, 100_000),
    "100,000 counters, a name each": Kind(_named, 100_000),
    "10,000 histograms with native buckets, 10 values each": Kind(
        _timed, 100_000, HISTOGRAMS
    ),
    "10,000 summaries, 10 values each": Kind(_timed, 100_000),
    "1,000,000 counters of one name, 3 labels": Kind(_labelled, 1_000_000),
    "1,000,000 counters, a name each": Kind(_named, 1_000_000),
}


class Figures(NamedTuple):
    """What a restart took; times are CPU seconds."""

    series: int
    bytes: int
    write_seconds: float
    read_seconds: float


def measure(kind: Kind, share: float, path: Path) -> Figures:
    """Feed a share of the lines of a kind, write all series, and read them."""
    store = SeriesStore(clock=time.monotonic)
    _feed(kind, share, store)
    file = SeriesFile(str(path))
    # As in the service.
    gc.disable()
    started_at = time.process_time()
    written = file.write(chunks_of_series(store, store.now()), "benchmark")
    written_at = time.process_time()
    taken, after = file.take(), SeriesStore(clock=time.monotonic)
    assert taken is not None
    reader = SeriesReader(after, written_at=store.now(), now=store.now())
    for chunk in taken.chunks():
        reader.read(chunk)
    file.discard()
    read_at = time.process_time()
    gc.enable()
    assert len(after) == len(store) == written.series
    return Figures(
        len(after), written.bytes, written_at - started_at, read_at - written_at
    )


def _feed(kind: Kind, share: float, store: SeriesStore) -> None:
    stats, count = Stats(), int(kind.lines * share)
    table = mapping.parse(kind.rules, "rules.yml")
    pipeline = FastPipeline(
        Pipeline(table=table, store=store, stats=stats, bugs=BugReporter(stats))
    )
    for start in range(0, count, LINES_PER_BATCH):
        numbers = range(start, min(start + LINES_PER_BATCH, count))
        pipeline.feed_lines(list(map(kind.line, numbers)), "tcp")
    pipeline.flush()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0)
    share = parser.parse_args().share
    print("| series | file | to write | to read |")
    print("|---|---:|---:|---:|")
    for name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            figures = measure(kind, share, Path(folder) / "series")
        size = figures.bytes / 1e6
        seconds = f"{figures.write_seconds:.1f} s | {figures.read_seconds:.1f} s"
        print(f"| {name} | {size:.1f} MB | {seconds} |")


if __name__ == "__main__":
    main()
