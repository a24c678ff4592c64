"""`statsd-bridge explain`, and the pages of a running bridge that explain."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.programs import BridgeProcess, Start

RULES = """
mappings:
- {match: app.req.*, name: app_requests_total, labels: {code: $1}}
- {match: app.secret, name: unused, action: drop}
"""


@pytest.fixture
def rules(tmp_path: Path) -> str:
    """Return the flag of a mapping file."""
    path = tmp_path / "rules.yml"
    path.write_text(RULES)
    return f"--statsd.mapping-config={path}"


@pytest.fixture
def bridge(start: Start, rules: str) -> BridgeProcess:
    """Start a bridge with the mapping file."""
    return start(rules)


def explained(bridge: BridgeProcess, line: bytes) -> Any:
    """Return what a bridge answers about a line."""
    return json.loads(bridge.get(f"/explain?line={urllib.parse.quote(line)}"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [sys.executable, "-m", "statsd_bridge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_explains_each_line(rules: str) -> None:
    """All lines are for one bridge; flags may precede or follow the subcommand."""
    after = run("explain", rules, "app.req.200:1|c", "app.secret:1|c", "app.secret:1|g")
    before = run(rules, "explain", "app.secret:1|c")

    assert (after.returncode, after.stderr) == (0, "")
    assert 'series    app_requests_total{code="200"}\n' in after.stdout
    assert after.stdout.count("line      ") == 3
    assert before.stdout.endswith("dropped   by the rule\n")


def test_an_invalid_mapping_file(tmp_path: Path) -> None:
    """The error is one line with file and key, the exit code 2."""
    path = tmp_path / "bad.yml"
    path.write_text("mappings: [{match: a, name: a.b}]")
    done = run("explain", f"--statsd.mapping-config={path}", "a:1|c")

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{path}: mappings[0].name: " in done.stderr


def test_the_page_changes_nothing(bridge: BridgeProcess) -> None:
    """A line is explained the same each time; it is not counted and not cached."""
    answers = [explained(bridge, b"app.req.200:1|c|#k:v") for _ in range(3)]
    page = bridge.get("/metrics")

    assert answers[0] == answers[1] == answers[2]
    assert answers[0]["samples"][0]["series"] == 'app_requests_total{code="200",k="v"}'
    assert "\napp_requests_total" not in page
    for name in (
        "statsd_exporter_lines_total",
        "statsd_exporter_samples_total",
        "statsd_bridge_series",
        "statsd_metric_mapper_cache_gets_total",
    ):
        assert f"\n{name} 0.0\n" in page


def test_unmapped(bridge: BridgeProcess) -> None:
    """The page has names without a rule and refused lines, the newest first."""
    started = int(time.time())
    bridge.send(
        *(b"some.name:1|c", b"some.name:2|c\nx:1", b"<b>\xff:1|c", b"some.name:1|c")
    )
    bridge.scrape_until("\nsome_name 4\n")

    shown = json.loads(bridge.get("/debug/unmapped"))
    entries = [*shown["unmapped_names"], *shown["refused_lines"]]
    times = [each.pop("last_seen") for each in entries]
    assert shown == {
        "unmapped_names": [{"name": "some.name", "type": "counter", "count": 3}],
        "refused_lines": [
            {"line": "<b>\\xff:1|c", "reason": "malformed_line", "count": 1},
            {"line": "x:1", "reason": "not_enough_parts_after_colon", "count": 1},
        ],
    }
    assert all(started <= each <= time.time() for each in times)


def test_a_file_of_expectations(rules: str, tmp_path: Path) -> None:
    """Exit code 0 if all hold, 1 and a line for each that does not, 2 for an error."""
    file = tmp_path / "f"
    argument = f"--expect={file}"
    good = '# A test.\n\napp.req.200:1|c => app_requests_total{code="200"} 1\n'
    bad = "app.secret:1|c => app_secret 1\n"
    file.write_text(good + "app.secret:1|c => dropped\nx => refused\n")
    holds = run("explain", rules, argument)
    file.write_text(good + bad)
    fails = run(rules, "explain", argument)
    as_object = run("explain", rules, argument, "--json")
    file.write_text(good + "app.secret:1|c -> dropped\n")
    invalid = run("explain", rules, argument)
    both = run("explain", rules, argument, "a:1|c")
    neither = run("explain", rules)
    twice = run("explain", rules, argument, argument)

    assert (holds.returncode, holds.stdout, holds.stderr) == (0, "", "")
    assert (fails.returncode, fails.stderr) == (1, "")
    assert fails.stdout == f"{file}:4: expected app_secret 1, came dropped\n"
    assert as_object.returncode == 1
    assert json.loads(as_object.stdout)["failures"][0]["came"] == ["dropped"]
    for done, words in (
        (invalid, f"{file}:4: 'app.secret:1|c -> dropped' has no expectation"),
        (both, "--expect: the file has the lines"),
        (twice, "--expect: given more than once"),
        (neither, "write statsd lines, or --expect FILE"),
    ):
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
