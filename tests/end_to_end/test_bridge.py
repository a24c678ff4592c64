"""The bridge as a process: signals, and a page that promtool accepts."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.programs import TIMEOUT_SECONDS, Start

MAPPING = Path(__file__).parents[2] / "crocbot" / "mapping.yml"
GATEWAY = Path(__file__).parents[1] / "contract" / "data" / "gateway.json"


def test_promtool_accepts_the_page(start: Start) -> None:
    """It has all metrics of a gateway; statsd_exporter's names are exempt."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing: Debian's package prometheus has it")
    bridge = start(f"--statsd.mapping-config={MAPPING}")
    datagrams = json.loads(GATEWAY.read_text())
    bridge.send(*map(str.encode, datagrams))
    received = f"\nstatsd_exporter_udp_packets_total {len(datagrams)}.0\n"
    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=bridge.scrape_until(received),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )

    assert [
        line
        for line in (checked.stderr + checked.stdout).splitlines()
        if not line.startswith(("statsd_exporter_", "statsd_metric_mapper_"))
    ] == []


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_bridge(start: Start, signal_number: int) -> None:
    """With exit code 0."""
    assert start().stop(signal_number) == 0


def test_sighup_reloads_the_rules(start: Start, tmp_path: Path) -> None:
    """A good file comes into force; a bad one changes nothing."""
    rules = tmp_path / "rules.yml"
    rules.write_text("")
    bridge = start(f"--statsd.mapping-config={rules}")
    for match, outcome in (("a.*", "success"), ("a..b", "failure")):
        rules.write_text(f"mappings: [{{match: {match}, name: mapped}}]")
        bridge.process.send_signal(signal.SIGHUP)
        page = bridge.scrape_until(f'config_reloads_total{{outcome="{outcome}"}} 1.0')

        assert "statsd_exporter_loaded_mappings 1.0\n" in page
