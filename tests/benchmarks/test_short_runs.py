"""The benchmarks run; their numbers are not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="it reads /proc and sends with sendmmsg"
)


def run(*arguments: str) -> str:
    """Run a benchmark; return its output."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


@LINUX
def test_the_bridge_and_another_checkout() -> None:
    """Every measure runs once and fills its rows, the other checkout has a column."""
    table = run("benchmarks", "--short", f"--against={ROOT}")

    head, _, *rows = [line for line in table.splitlines() if line.startswith("|")]
    assert "| ours | before | floor | plain baseline | ours / before |" in head
    for row in (
        "CPU a line: gateway, 10 a packet",
        "lost: gateway, 10 a packet",
        "loss begins",
        "created: a counter with 3 labels",
        "resident: a counter with 3 labels",
        "page: 1,000 counters",
        "lost while 100,000 counters are scraped",
        "delivered but not on the page (packets) | 0 | 0 |",
        "idle",
        "made: 200 gauges with 8 tags (us)",
        "known: 200 gauges with 8 tags (us)",
        "page: 200 gauges with 8 tags (s)",
        "page in protobuf: 200 gauges with 8 tags (s)",
        "start: CPU until the first scrape is answered (s)",
        "lost: page open, 10,000 series",
        "longest pause: page open, 10,000 series",
    ):
        assert any(row in line for line in rows), row


@LINUX
def test_shards() -> None:
    """One bridge and several behind a sharding one have a column each."""
    table = run("benchmarks", "--short", "--only=shards")

    head, _, *rows = [line for line in table.splitlines() if line.startswith("|")]
    assert "| ours | ours, 2 shards | ours, 4 shards |" in head
    for row in ("CPU a line, sharding bridge: services", "ceiling: services"):
        assert any(row in line for line in rows), row


@LINUX
def test_telemetry_and_another_checkout() -> None:
    """Every part fills its rows, or says why it cannot, and so does the other."""
    table = run("benchmarks.telemetry", "--short", f"--against={ROOT}", "--rounds=1")

    names = {line.split(" | ")[0] for line in table.splitlines()}
    assert names >= {
        "| `counter.inc()`",
        "| plain `incr`",
        "| instruments, flushes included",
        "| 300 tasks",
        "| bridge present",
        "| bridge stalled",
        "| bridge absent",
    }


def test_answers_that_grow() -> None:
    """Both kinds of server have a row, and only one of them has drafts."""
    table = run("benchmarks.gateway.drafts", "--short")

    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    assert [row[0] for row in rows[1:]] == ["| 2024: edits", "| today: drafts"]
    assert float(rows[1][1]) == 0 < float(rows[2][1])


@LINUX
def test_sidecars() -> None:
    """A server for each pod, and one for all of them, have memory, CPU and packets."""
    table = run("benchmarks.sidecars", "--count=2", "--seconds=1")

    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")]
    cells = {row[0].removeprefix("| "): row[1].strip("| ") for row in rows[2:]}
    for row in ("resident", "pages in common shared out", "CPU", "packets taken"):
        found = [cell for name, cell in cells.items() if row in name]
        assert len(found) >= 2
        assert all(float(cell) > 0 for cell in found), row
