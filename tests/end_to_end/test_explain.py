"""Explaining, from outside: the command, and a running bridge asked over HTTP."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RULES = """
mappings:
- {match: app.req.*, name: app_requests_total, labels: {code: $1}}
- {match: app.secret, name: unused, action: drop}
"""
COMMAND = [sys.executable, "-m", "statsd_bridge"]
SECONDS = 30.0


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """A mapping file."""
    path = tmp_path / "rules.yml"
    path.write_text(RULES)
    return path


@pytest.fixture
def ports(rules: Path) -> Iterator[tuple[int, int]]:
    """A running bridge: its ports of UDP and HTTP."""
    flags = [
        f"--statsd.mapping-config={rules}",
        "--statsd.listen-udp=127.0.0.1:0",
        "--statsd.listen-tcp=",
        "--web.listen-address=127.0.0.1:0",
    ]
    process = subprocess.Popen([*COMMAND, *flags], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"udp=\S+:(\d+) .*http=\S+:(\d+)", line):
            yield int(found[1]), int(found[2])
            break
    process.kill()
    process.communicate()


def get(port: int, path: str) -> str:
    """Ask over HTTP."""
    url = f"http://127.0.0.1:{port}{path}"
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:
        return str(answer.read().decode())


def explained(port: int, line: bytes) -> Any:
    """Ask what would become of a line."""
    return json.loads(get(port, f"/explain?line={urllib.parse.quote(line)}"))


def send(port: int, *packets: bytes) -> None:
    """Send datagrams."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for packet in packets:
            sock.sendto(packet, ("127.0.0.1", port))


def until(port: int, words: str) -> str:
    """Scrape until a line is there."""
    deadline = time.monotonic() + SECONDS
    while words not in (page := get(port, "/metrics")):
        assert time.monotonic() < deadline, page
    return page


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, "explain", *arguments], capture_output=True, text=True, check=False
    )


def test_the_command_tells_each_line(rules: Path) -> None:
    """Several lines come to one bridge; a flag counts before or after the word."""
    flag = f"--statsd.mapping-config={rules}"
    done = run(flag, "app.req.200:1|c", "app.secret:1|c", "app.secret:1|g")
    before = subprocess.run(
        [*COMMAND, flag, "explain", "app.secret:1|c"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert 'series    app_requests_total{code="200"}\n' in done.stdout
    assert done.stdout.count("line      ") == 3
    assert before.stdout.endswith("dropped   by the rule\n")


def test_the_command_gives_json(rules: Path) -> None:
    """One object for each line, also for bytes that are no text."""
    done = run(f"--statsd.mapping-config={rules}", "--json", "a:1|c", "a:x|c")
    first, second = map(json.loads, done.stdout.splitlines())

    assert first["samples"][0]["series"] == "a"
    assert second["faults"] == [{"reason": "malformed_value", "text": "x|c"}]


def test_a_file_that_is_refused_is_one_line(tmp_path: Path) -> None:
    """It names the file and the key; the exit code is 2."""
    path = tmp_path / "bad.yml"
    path.write_text("mappings: [{match: a, name: a.b}]")
    done = run(f"--statsd.mapping-config={path}", "a:1|c")

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{path}: mappings[0].name: " in done.stderr


def test_to_ask_is_no_traffic(ports: tuple[int, int]) -> None:
    """The line is explained, again and again, and nothing is counted or remembered."""
    _, http = ports
    answers = [explained(http, b"app.req.200:1|c|#k:v") for _ in range(3)]
    page = get(http, "/metrics")

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


def test_a_conflict_with_what_is_there_is_told(ports: tuple[int, int]) -> None:
    """The running bridge knows which names are taken."""
    udp, http = ports
    send(udp, b"app.req.200:1|c")
    until(http, "\napp_requests_total")
    (sample,) = explained(http, b"app.req.500:1|g")["samples"]

    assert sample["refused"] == "conflict"


def test_what_was_not_understood_is_listed(ports: tuple[int, int]) -> None:
    """Names without a rule and refused lines, the newest first, escaped and counted."""
    udp, http = ports
    send(udp, b"some.name:1|c", b"some.name:2|c\nx:1", b"<b>\xff:1|c", b"some.name:1|c")
    until(http, "\nsome_name 4\n")
    told = json.loads(get(http, "/debug/unmapped"))

    assert told == {
        "unmapped_names": [{"name": "some.name", "type": "counter", "count": 3}],
        "refused_lines": [
            {"line": "<b>\\xff:1|c", "reason": "malformed_line", "count": 1},
            {"line": "x:1", "reason": "not_enough_parts_after_colon", "count": 1},
        ],
    }
