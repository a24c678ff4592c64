"""The benchmark still works; what it says is not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(
    sys.platform != "linux", reason="it reads /proc and sends with sendmmsg"
)
def test_a_short_run_prints_a_table() -> None:
    """Every measure runs once, on few series and packets, and fills its rows."""
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--short"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    rows = [line for line in run.stdout.splitlines() if line.startswith("| ")]
    for row in (
        "CPU a line: gateway, 10 a packet",
        "lost: gateway, 10 a packet",
        "loss begins",
        "created: a counter with 3 labels",
        "resident: a counter with 3 labels",
        "page: 1,000 counters",
        "lost while 100,000 counters are scraped",
        "delivered but not on the page (packets) | 0 |",
        "idle",
    ):
        assert any(row in line for line in rows), row
