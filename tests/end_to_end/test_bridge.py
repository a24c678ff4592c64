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


def test_sighup_reloads_the_quotas(start: Start, tmp_path: Path) -> None:
    """Existing series go on, new ones are refused under their name."""
    file = tmp_path / "quotas.yml"
    file.write_text("quotas: [{match: api_*, max_series: 2}]")
    bridge = start(f"--statsd.quota-config={file}", "--statsd.max-series-per-name=1")
    bridge.send(b"\n".join(b"api.hits:1|c|#id:%d" % number for number in range(5)))
    bridge.send(b"\n".join(b"other:1|c|#id:%d" % number for number in range(5)))
    refused = "statsd_bridge_series_refused_total{metric_name="
    page = bridge.scrape_until(f'{refused}"other",reason="quota"}} 4.0\n')
    assert f'{refused}"api_hits",reason="quota"}} 3.0\n' in page
    for text, outcome in (
        ("quotas: [{match: api_*, max_series: many}]", "failure"),
        ("quotas: [{match: api_*, max_series: 3}]", "success"),
    ):
        file.write_text(text)
        bridge.process.send_signal(signal.SIGHUP)
        bridge.scrape_until(f'config_reloads_total{{outcome="{outcome}"}} 1.0')
    bridge.send(b"\n".join(b"api.hits:1|c|#id:%d" % number for number in range(5)))
    page = bridge.scrape_until(f'{refused}"api_hits",reason="quota"}} 5.0\n')

    assert [f'api_hits{{id="{number}"}} 2\n' in page for number in range(3)] == [
        True,
        True,
        False,
    ]
    assert 'api_hits{id="2"} 1\n' in page
    bridge.log_until(f"{file}: quotas[0].max_series: 'many' is not a number")


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
