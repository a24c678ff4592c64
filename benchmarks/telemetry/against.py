"""Tables of two checkouts, from runs in turn."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.machine import ROOT

Rows = list[tuple[str, float]]
"""What is measured, and the number."""


def compare(other: Path, rounds: int, *, short: bool) -> str:
    """
    Run the benchmark of this checkout and another in turn; return one table.

    Rows are matched by their position, since their names may differ.
    """
    runs: list[tuple[Rows, Rows]] = []
    for number in range(rounds):
        print(f"round {number + 1} ...", file=sys.stderr)
        runs.append((_run(ROOT, short=short), _run(other, short=short)))
    lines = ["| | ours | before | ours / before |", "|---|---:|---:|---:|"]
    for index, (name, _) in enumerate(runs[0][0]):
        new = median(ours[index][1] for ours, _ in runs)
        old = median(before[index][1] for _, before in runs)
        ratio = f"{new / old:.2f}" if old else ""
        lines.append(f"| {name} | {new:,.1f} | {old:,.1f} | {ratio} |")
    return "\n".join(lines)


def _run(folder: Path, *, short: bool) -> Rows:
    flags = ["--short"] if short else []
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.telemetry", *flags],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return first_numbers(done.stdout)


def first_numbers(tables: str) -> Rows:
    """
    Return the numbers that are ours in the tables that the benchmark prints, by row.

    That is the first column, or the second where the first is the loop alone.
    """
    numbers = []
    column = 0
    for line in tables.splitlines():
        name, *cells = (cell.strip() for cell in line.strip("| ").split("|"))
        if "ours" in cells:
            column = cells.index("ours")
        elif len(cells) > column and re.fullmatch(r"[\d,.]+", cells[column]):
            numbers.append((name, float(cells[column].replace(",", ""))))
    return numbers
