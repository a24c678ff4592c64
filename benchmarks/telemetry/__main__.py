"""
What the gateway's telemetry costs, as Markdown tables.  Read README.md first.

    python -m benchmarks.telemetry                    about three minutes
    python -m benchmarks.telemetry --short            small, for the tests
    python -m benchmarks.telemetry --against ../old   another checkout, in turn
"""

from __future__ import annotations

import argparse
from importlib.metadata import version
from pathlib import Path

from benchmarks import machine
from benchmarks.telemetry import against, calls, pauses


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry")
    parser.add_argument("--short", action="store_true", help="each part once, small")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help='another checkout, as "before"'
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="with --against; default: %(default)s"
    )
    args = parser.parse_args()
    if args.against:
        print(f"{machine.describe()}\n")
        print(against.compare(args.against, args.rounds, short=args.short))
        return
    _print_tables(short=args.short)


def _print_tables(*, short: bool) -> None:
    times = 2000 if short else calls.CALLS
    print(f"{machine.describe()}, statsd {version('statsd')}\n")
    print("| A call | median, ns | p99.9, ns |\n|---|---:|---:|")
    for name, (middle, high) in calls.calls(times):
        print(f"| {name} | {middle:,.0f} | {high:,.0f} |", flush=True)

    ours, plain, pipelined = calls.messages(times // 5)
    print("\n| Ten events of a message | CPU, us | |\n|---|---:|---:|")
    print(f"| instruments, flushes included | {ours:.1f} | 1 |")
    print(f"| plain client | {plain:.1f} | {plain / ours:.1f} times |")
    print(f"| a pipeline each | {pipelined:.1f} | {pipelined / ours:.1f} times |")

    print("\n| A sample of the runtime metrics, with | us |\n|---|---:|")
    for tasks, cost in calls.samples():
        print(f"| {tasks} tasks | {cost:.0f} |", flush=True)

    print("\n| Longest pause of the loop, ms | no metrics | ours | plain client |")
    print("|---|---:|---:|---:|")
    for row in pauses.rows(pauses.SHORT if short else pauses.Effort()):
        if isinstance(row.pauses, str):
            print(f"| {row.name} | {row.pauses} | | |")
            continue
        numbers = [
            f"{row.pauses[who]:,.1f}" if who in row.pauses else "-"
            for who in pauses.CLIENTS
        ]
        print(f"| {row.name} | {' | '.join(numbers)} |", flush=True)


if __name__ == "__main__":
    main()
