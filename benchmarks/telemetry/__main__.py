"""
Everything about the gateway's telemetry, as Markdown tables.  Read README.md first.

    python -m benchmarks.telemetry            about three minutes
    python -m benchmarks.telemetry --short    does it still work?  No numbers.
"""

from __future__ import annotations

import argparse
import os
import platform
from importlib.metadata import version
from pathlib import Path

from benchmarks.telemetry import calls, pauses


def processor() -> str:
    """Name the machine's processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    models = (line.partition(":")[2] for line in lines if line.startswith("model name"))
    return next(models, "unknown").strip()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.telemetry")
    parser.add_argument("--short", action="store_true", help="each part once, small")
    short = parser.parse_args().short
    times = 2000 if short else calls.CALLS
    print(
        f"{processor()}, {os.cpu_count()} processors, Linux {platform.release()},"
        f" Python {platform.python_version()}, statsd {version('statsd')}\n"
    )
    print("| A call | median, ns | p99.9, ns |\n|---|---:|---:|")
    for name, (middle, high) in calls.calls(times):
        print(f"| {name} | {middle:,.0f} | {high:,.0f} |", flush=True)

    ours, plain, pipelined = calls.messages(times // 5)
    print("\n| Ten events of a message | CPU, us | |\n|---|---:|---:|")
    print(f"| handles, flushes included | {ours:.1f} | 1 |")
    print(f"| plain client | {plain:.1f} | {plain / ours:.1f} times |")
    print(f"| a pipeline each | {pipelined:.1f} | {pipelined / ours:.1f} times |")

    print("\n| A sample of the runtime, with | us |\n|---|---:|")
    for tasks, cost in calls.samples():
        print(f"| {tasks} tasks | {cost:.0f} |", flush=True)

    print("\n| The loop's worst pause, ms | nothing told | ours | plain client |")
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
