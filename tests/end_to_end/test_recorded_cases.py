"""
Recorded cases of statsd_exporter 0.30.0, sent to a fresh process over UDP.

`tests/statsd_bridge/test_conformance.py` runs all of them in memory; here a few of each
kind show that flags, sockets and the page with our own metrics do not change a thing.
"""

from __future__ import annotations

import json
import math
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

DATA = Path(__file__).parents[1] / "statsd_bridge/data/statsd_exporter-0.30.0.json"
CASES = {case["name"]: case for case in json.loads(DATA.read_text())}
SHOWN = (
    "line/counters",
    "line/bad_lines",
    "line/utf8",
    "line/conflict_types",
    "line/no_dogstatsd",
    "line/no_librato",
    "map/glob_labels",
    "map/metric_type",
    "map/summary",
    "map/legacy",
    "map/empty_name",
)
OWN = ("statsd_", "process_", "python_", "promhttp_")
COMPARED = re.compile(
    r"(events_(actions_|error_|conflict_|unmapped_)?|lines_|samples_|sample_errors_"
    r"|tags_|tag_errors_|udp_packets_)total"
)
SECONDS = 30.0

Start = Callable[[dict[str, Any]], tuple[int, int]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a bridge for a case; gives the ports of UDP and HTTP."""
    running: list[subprocess.Popen[str]] = []

    def starting(case: dict[str, Any]) -> tuple[int, int]:
        mapping = tmp_path / "mapping.yml"
        mapping.write_text(case["mapping"] or "")
        command = [
            *(sys.executable, "-m", "statsd_bridge"),
            "--statsd.listen-udp=127.0.0.1:0",
            "--statsd.listen-tcp=",
            "--web.listen-address=127.0.0.1:0",
            *([f"--statsd.mapping-config={mapping}"] if case["mapping"] else []),
            *case["flags"],
        ]
        running.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        assert running[-1].stderr is not None
        for line in running[-1].stderr:
            if found := re.search(r"udp=\S+:(\d+) .*http=\S+:(\d+)", line):
                return int(found[1]), int(found[2])
        raise AssertionError(f"the bridge ended: {running[-1].wait()}")

    yield starting
    for process in running:
        process.kill()
        process.communicate()


def send(port: int, packets: list[str]) -> None:
    """Send each packet as a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for packet in packets:
            sock.sendto(packet.encode("latin-1"), ("127.0.0.1", port))


def scrape(port: int, packets: int) -> tuple[dict[str, float], list[str]]:
    """Scrape until all packets have come; gives the samples and the HELPs and TYPEs."""
    deadline = time.monotonic() + SECONDS
    wanted = f"\nstatsd_exporter_udp_packets_total {float(packets)}\n"
    page = ""
    while wanted not in page:
        assert time.monotonic() < deadline, page
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            page = answer.read().decode()
    declared = [line for line in page.splitlines() if line[0] == "#"]
    # The parser adds `_total` to a counter without it.
    untyped = re.sub(r"(?m)^(# TYPE \S+) counter$", r"\1 untyped", page)
    samples = {}
    for family in text_string_to_metric_families(untyped):
        for sample in family.samples:
            labels = sample.labels
            if family.type == "histogram" and "le" in labels:
                labels = {**labels, "le": str(float(labels["le"]))}
            pairs = ",".join(
                f'{key}="{escaped(value)}"' for key, value in sorted(labels.items())
            )
            samples[f"{sample.name}{{{pairs}}}" if pairs else sample.name] = (
                sample.value
            )
    return samples, declared


def escaped(value: str) -> str:
    """Escape a label's value."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def is_same(actual: float, recorded: str, name: str) -> bool:
    """Compare as numbers; a quantile is an estimate."""
    wanted = float(recorded)
    if "quantile=" in name:
        return math.isnan(actual) == math.isnan(wanted)
    return math.isclose(actual, wanted, rel_tol=1e-9)


@pytest.mark.parametrize("name", SHOWN)
def test_a_process_shows_what_statsd_exporter_showed(name: str, start: Start) -> None:
    """Series, types, helps and own counters are the recorded ones."""
    case = CASES[name]
    want = case["want"]
    udp, http = start(case)
    send(udp, case["packets"])
    samples, declared = scrape(http, len(case["packets"]))

    series = {k: v for k, v in samples.items() if not k.startswith(OWN)}
    own = {
        key.removeprefix("statsd_exporter_"): value
        for key, value in samples.items()
        if value and COMPARED.match(key.removeprefix("statsd_exporter_"))
    }
    heads = [line for line in declared if not line.split(" ")[2].startswith(OWN)]
    assert sorted(series) == sorted(want["series"])
    assert [k for k, v in series.items() if not is_same(v, want["series"][k], k)] == []
    assert own == want["self"]
    assert sorted(heads) == sorted(
        [f"# TYPE {key} {value}" for key, value in want["types"].items()]
        + [f"# HELP {key} {value}" for key, value in want["helps"].items()]
    )
