"""A real Prometheus scrapes in protobuf: native histograms, and created timestamps."""

from __future__ import annotations

import json
import random
import re
import statistics
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.programs import BridgeProcess, Start
from tests.end_to_end.web.prometheus import Server, prometheus, require

ROOT = Path(__file__).parents[3]
STACK = ROOT / "compose" / "prometheus" / "prometheus.yml"
RULES = ROOT / "compose" / "prometheus" / "rules" / "crocbot.yml"
MAPPING = ROOT / "crocbot" / "mapping.yml"
NATIVE = "--enable-feature=native-histograms"
CREATED = "--enable-feature=created-timestamp-zero-ingestion"
FACTOR = 1.1


def config(bridge: BridgeProcess, **scrape: Any) -> dict[str, Any]:
    """Return a configuration that scrapes a bridge every second."""
    targets = [{"targets": [f"127.0.0.1:{bridge.http}"]}]
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "bridge", "static_configs": targets} | scrape],
    }


@pytest.fixture
def bridge(start: Start) -> BridgeProcess:
    """Start a bridge with the rules of the gateway."""
    return start(f"--statsd.mapping-config={MAPPING}")


def test_quantiles_are_within_the_factor(start: Start, tmp_path: Path) -> None:
    """Three of them, of values over five powers of ten, from 400 buckets at most."""
    rules = tmp_path / "rules.yml"
    rules.write_text("defaults: {observer_type: histogram}")
    bridge = start(f"--statsd.mapping-config={rules}")
    rng = random.Random(7)
    values = [rng.lognormvariate(0, 2) for _ in range(20_000)]
    for first in range(0, len(values), 500):
        packet = ":".join(map(str, values[first : first + 500]))
        bridge.send(f"spread:{packet}|h".encode())
    bridge.scrape_until(f"\nspread_count {len(values)}\n")
    exact = statistics.quantiles(values, n=100)

    with prometheus(tmp_path, json.dumps(config(bridge)), NATIVE) as server:
        for percent in (50, 90, 99):
            query = f"histogram_quantile({percent / 100}, spread)"
            found = server.eventually(partial(server.value, query))

            assert exact[percent - 1] / FACTOR <= found <= exact[percent - 1] * FACTOR
        count = server.eventually(partial(server.value, "histogram_count(spread)"))
        assert count == len(values)


def test_the_first_increment_is_visible(bridge: BridgeProcess, tmp_path: Path) -> None:
    """A counter that begins with 1, and then stays, has increased by about 1."""
    require(2, 50, "a created timestamp")

    with prometheus(tmp_path, json.dumps(config(bridge)), NATIVE, CREATED) as server:
        server.targets()
        bridge.send(b"first.error:1|c")

        increase = server.eventually(lambda: server.value("increase(first_error[1m])"))

        assert increase >= 1


def test_the_latency_alert_fires_while_native_buckets_are_scraped(
    bridge: BridgeProcess, tmp_path: Path
) -> None:
    """With the scrape options and the rules of the compose file."""
    require(2, 45, "scrape_classic_histograms")
    rules = tmp_path / "rules.yml"
    rules.write_text(re.sub(r"for: \d+m", "for: 1s", RULES.read_text()))
    stack = yaml.safe_load(STACK.read_text())["scrape_configs"][0]
    del stack["job_name"], stack["static_configs"]
    merged = config(bridge, **stack) | {"rule_files": [str(rules)]}

    with prometheus(tmp_path, json.dumps(merged), NATIVE) as server:
        alert = server.eventually(lambda: slow(bridge, server))
        query = "histogram_count(crocbot_telegram_latency_seconds)"
        assert server.eventually(partial(server.value, query))

    assert alert["state"] == "firing"


def slow(bridge: BridgeProcess, server: Server) -> dict[str, Any] | None:
    """Send a slow reply; return the alert once it fires."""
    bridge.send(b"crocbot.telegram.latency.text:90000|ms")
    for alert in server.ask("alerts")["alerts"]:
        name = alert["labels"]["alertname"]
        if name == "CrocbotSlow" and alert["state"] == "firing":
            return dict(alert)
    return None
