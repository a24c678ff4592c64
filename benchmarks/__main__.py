"""
Compare the bridge with other servers and print one table.

    make bench                                    everything, about half an hour
    python -m benchmarks --only traffic           a part
    python -m benchmarks --short                  each part once and small: no numbers
    python -m benchmarks --against ../old         another checkout is "before"

Rounds are interleaved: each round runs every server once on a measure before the next
round begins, so that a disturbance of the machine affects all alike.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks import machine, measures, page_open, servers, shapes, shards
from benchmarks.measures import Bench, Measure
from benchmarks.report import Results, table
from benchmarks.servers import ServerSpec

SHORT_SECONDS = 0.2
SHORT_SCALE = 0.01

Entry = tuple[Measure, Sequence[str]]
"""A measure and the names of the servers that take part in it."""

TRANSLATORS = ("ours", "plain baseline", "statsd_exporter")
MILLION = ("ours", "statsd_exporter")
ALL = (*TRANSLATORS, "floor", "collectd")

PARTS: dict[str, list[Entry]] = {
    "traffic": [
        (measures.traffic(lines, rate), ALL)
        for lines, rate in ((1, 0), (1, 50_000), (1, 5_000), (10, 0), (10, 50_000))
    ],
    "loss": [
        (
            measures.loss(10, (40_000, 60_000, 80_000, 100_000, 120_000)),
            ("ours", "floor"),
        )
    ],
    "series": [
        (measures.counters, TRANSLATORS),
        (measures.histograms, TRANSLATORS),
        (measures.scrape_loss, TRANSLATORS),
    ],
    "shapes": [(shapes.measure_shape(each), TRANSLATORS) for each in shapes.SHAPES],
    "million": [(shapes.measure_shape(shapes.MILLION), MILLION)],
    "page": [(page_open.measure, ("ours",))],
    "start": [(shapes.start, TRANSLATORS)],
    "idle": [(measures.freshness, ("ours",)), (measures.idle, ALL)],
    "beyond": [
        (measures.traffic(10, rate, profile), TRANSLATORS)
        for profile, rate in (
            ("distinct", 1_000),
            ("repeated", 2_000),
            ("gauges", 10_000),
            ("tagged", 10_000),
            ("sampled", 2_000),
            ("summaries", 10_000),
        )
    ],
    "native": [
        (each, ("ours", "ours, native off", "statsd_exporter"))
        for each in (
            measures.traffic(10, 0),
            measures.traffic(10, 5_000),
            *(shapes.measure_shape(each) for each in shapes.HISTOGRAMS),
        )
    ],
    "shards": [
        (
            shards.traffic(profile, rate),
            ("ours", *(spec.name for spec in servers.SHARDS), "statsd_exporter"),
        )
        for profile, rate in (
            ("services", 8_000),
            ("repeated", 8_000),
            ("timer_names", 8_000),
            ("gateway", 15_000),
            ("distinct", 1_000),
        )
    ],
    "plain path": [(measures.traffic(10, 5_000), ("ours", "ours, plain path"))],
}

SHORT: list[Entry] = [
    (measures.traffic(10, 5_000), ("ours", "floor")),
    (measures.loss(10, (2_000,)), ("ours",)),
    (measures.counters, ("ours",)),
    (measures.scrape_loss, ("plain baseline",)),
    (measures.freshness, ("ours",)),
    (measures.idle, ("ours",)),
    (page_open.measure, ("ours",)),
    (shapes.measure_shape(shapes.SHAPES[-1]), ("ours",)),
    (shapes.start, ("plain baseline",)),
]
"""
Every measure once, each on as few servers as show that it works; with --only it is the
first measure of each part.
"""


def main() -> int:
    """Measure and print; return the exit code."""
    args = _parse()
    entries = [entry for name in args.only or PARTS for entry in PARTS[name]]
    if args.short:
        args.rounds = 1
        entries = [PARTS[name][0] for name in args.only] if args.only else SHORT
    specs = servers.available(args.against)
    cores = sorted(os.sched_getaffinity(0))
    results: Results = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as home:
        bench = Bench(
            home=Path(home),
            seconds=SHORT_SECONDS if args.short else args.seconds,
            server_cpu=cores[0] if len(cores) > 1 else None,
            sender_cpu=cores[-1],
            scale=SHORT_SCALE if args.short else 1.0,
        )
        for measure, names in entries:
            present = [spec for spec in specs if _takes_part(spec, names)]
            for number in range(args.rounds):
                _run_round(number + 1, bench, measure, present, results)
    print(f"{machine.describe()}\n")
    print(table(results, [spec.name for spec in specs]))
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="of traffic; default: %(default)s"
    )
    parser.add_argument("--only", choices=PARTS, action="append", help="one part")
    parser.add_argument("--short", action="store_true", help="small, for the tests")
    parser.add_argument(
        "--against",
        type=_checkout,
        action="append",
        default=[],
        metavar="DIR",
        help='another checkout that takes part as "before"; may be given twice',
    )
    return parser.parse_args()


def _checkout(text: str) -> Path:
    folder = Path(text).resolve()
    if not (folder / "statsd_bridge").is_dir():
        raise argparse.ArgumentTypeError(f"{text} has no folder statsd_bridge")
    return folder


def _takes_part(spec: ServerSpec, names: Sequence[str]) -> bool:
    """Return whether a server is named; "before" is wherever "ours" is."""
    program, _, variant = spec.name.partition(",")
    if program.startswith("before"):
        program = "ours"
    return (f"{program},{variant}" if variant else program) in names


def _run_round(
    number: int,
    bench: Bench,
    measure: Measure,
    specs: Sequence[ServerSpec],
    results: Results,
) -> None:
    for spec in specs:
        print(f"round {number}: {spec.name} ...", file=sys.stderr)
        for row, value in measure(bench, spec).items():
            results[row][spec.name].append(value)


if __name__ == "__main__":
    sys.exit(main())
