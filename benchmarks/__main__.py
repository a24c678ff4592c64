"""
Compare the bridge with others and print one table.

    make bench                                    everything, about half an hour
    python -m benchmarks --only traffic           a part
    python -m benchmarks --short                  each part once and small: no numbers

Rounds are interleaved: each round runs every server once on a measure before the next
round begins, so that what disturbs the machine disturbs all alike.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import measures, servers
from benchmarks.measures import DISTRIBUTIONS, SERIES, Bench, Numbers, Row
from benchmarks.servers import Kind

Measure = Callable[[Bench, Kind], Numbers]
Results = dict[Row, dict[str, list[float]]]

SHORT_SECONDS = 0.2
SHORT_SCALE = 0.01

EVERYBODY = ("ours", "floor", "plain baseline", "statsd_exporter", "collectd")
TRANSLATORS = ("ours", "plain baseline", "statsd_exporter")


def parts() -> dict[str, list[tuple[Measure, Sequence[str]]]]:
    """List what is measured, and who takes part."""

    def traffic(lines: int, rate: int, of: str = "gateway") -> Measure:
        return lambda bench, kind: measures.traffic(bench, kind, lines, rate, of)

    return {
        "traffic": [
            (traffic(lines, rate), EVERYBODY)
            for lines, rate in ((1, 0), (1, 50_000), (1, 5_000), (10, 0), (10, 50_000))
        ],
        "loss": [
            (
                lambda bench, kind: measures.loss(
                    bench, kind, 10, (40_000, 60_000, 80_000, 100_000, 120_000)
                ),
                ("ours", "floor"),
            )
        ],
        "series": [
            (lambda b, k: measures.series(b, k, "counters", SERIES), TRANSLATORS),
            (
                lambda b, k: measures.series(b, k, "histograms", DISTRIBUTIONS),
                TRANSLATORS,
            ),
            (measures.scraped, TRANSLATORS),
        ],
        "rest": [(measures.freshness, ("ours",)), (measures.idle, EVERYBODY)],
        "beyond": [
            (traffic(10, rate, of), ("ours", "plain baseline", "statsd_exporter"))
            for of, rate in (
                ("distinct", 1_000),
                ("many", 2_000),
                ("gauges", 10_000),
                ("tagged", 10_000),
                ("sampled", 2_000),
                ("summaries", 10_000),
            )
        ],
        "plain path": [(traffic(10, 5_000), ("ours", "ours, plain path"))],
    }


def short() -> list[tuple[Measure, Sequence[str]]]:
    """List every measure once, each on as few servers as show that it works."""
    return [
        (lambda b, k: measures.traffic(b, k, 10, 5_000), ("ours", "floor")),
        (lambda b, k: measures.loss(b, k, 10, (2_000,)), ("ours",)),
        (lambda b, k: measures.series(b, k, "counters", SERIES), ("ours",)),
        (measures.scraped, ("plain baseline",)),
        (measures.freshness, ("ours",)),
        (measures.idle, ("ours",)),
    ]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", choices=parts(), action="append")
    parser.add_argument("--short", action="store_true")
    asked = parser.parse_args()
    chosen = [each for name in asked.only or parts() for each in parts()[name]]
    rounds = asked.rounds
    if asked.short:
        chosen, rounds = short(), 1
    kinds = {kind.name: kind for kind in servers.available()}
    cores = sorted(os.sched_getaffinity(0))
    results: Results = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as home:
        bench = Bench(
            home=Path(home),
            seconds=SHORT_SECONDS if asked.short else asked.seconds,
            server_cpu=cores[0] if len(cores) > 1 else None,
            sender_cpu=cores[-1],
            scale=SHORT_SCALE if asked.short else 1.0,
        )
        for measure, takers in chosen:
            present = [kinds[name] for name in takers if name in kinds]
            run(bench, measure, present, rounds, results)
    print(machine())
    print(table(results))
    return 0


def run(
    bench: Bench, measure: Measure, kinds: list[Kind], rounds: int, results: Results
) -> None:
    """Run a measure on each server, round by round."""
    for number in range(rounds):
        for kind in kinds:
            print(f"round {number + 1}: {kind.name} ...", file=sys.stderr)
            for row, value in measure(bench, kind).items():
                results[row][kind.name].append(value)


def machine() -> str:
    """Say where the numbers come from."""
    model = next(
        (
            line.partition(": ")[2]
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "?",
    )
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}; load {os.getloadavg()[0]:.1f}\n"
    )


def table(results: Results) -> str:
    """Write a Markdown table: medians, and ours as a multiple of the others."""
    names = [
        kind.name
        for kind in servers.available()
        if any(kind.name in values for values in results.values())
    ]
    others = [name for name in names if name != "ours"]
    head = ["", *names, *(f"ours / {name}" for name in others)]
    rows = [head, ["---"] * len(head)]
    for (what, unit), values in results.items():
        median = {name: statistics.median(of) for name, of in values.items()}
        cells = [_number(median.get(name)) for name in names]
        ratios = [
            f"{median['ours'] / median[name]:.2f}"
            if "ours" in median and median.get(name)
            else ""
            for name in others
        ]
        rows.append([f"{what} ({unit})", *cells, *ratios])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
