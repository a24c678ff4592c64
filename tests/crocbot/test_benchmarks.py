"""The benchmark of telemetry still works; what it says is not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_short_run_prints_its_tables() -> None:
    """Every part runs once and fills its rows, or says why it cannot."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.telemetry", "--short"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    rows = {line.split(" | ")[0] for line in run.stdout.splitlines()}
    assert rows >= {
        "| `counter.inc()`",
        "| plain `incr`",
        "| instruments, flushes included",
        "| 300 tasks",
        "| bridge present",
        "| bridge stalled",
        "| bridge absent",
        "| host vanished",
        "| DNS silent",
    }
