"""Differences from statsd_exporter that no other file tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from statsd_bridge.compare import rows
from statsd_bridge.exposition import SelfMetrics
from statsd_bridge.model import HostPort
from statsd_bridge.settings import Settings
from tests.statsd_bridge.in_memory import FixedState

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
# What `compare` names, by the words of its row.
NAMED = {
    rows.BLOCKED_NAMES: "A gauge `foo` blocks `foo_count`",
    rows.LINES: "DogStatsD's `T`, `e:` and `card:` sections",
    rows.SETS: "Sets (`s`) are refused.",
    rows.LIMITS: "`--statsd.max-series` and `--statsd.max-memory` refuse",
    rows.TOO_LONG: "The longest metric name has 1,024 bytes",
    rows.NAN_COUNTER: "make a counter NaN",
    rows.QUOTA: "`--statsd.max-series-per-name`",
}


def test_rows_keep_their_numbers() -> None:
    """They are numbered from 1, and those that compare names say what it means."""
    found = re.findall(r"^\| (\d+) \| (.*)$", PAGE.read_text(), re.M)
    texts = {int(number): text for number, text in found}

    assert [number for number, _ in found] == [
        str(number) for number in range(1, len(found) + 1)
    ]
    assert [each for each in NAMED if NAMED[each] not in texts[each]] == []


def test_a_set_is_a_gauge_of_distinct_values(play: Callable[..., Any]) -> None:
    """Rules for gauges match sets, which are counted as sets."""
    rules = "mappings: [{match: u, name: users, match_metric_type: gauge}]"
    outcome = play(["u:1|s", "u:2|s", "u:1|s", "u:anna|s", "v:1|s"], rules)

    assert outcome.series == {"users": 3, "v": 1}
    assert outcome.types == {"users": "gauge", "v": "gauge"}
    assert outcome.self_metrics['events_total{type="set"}'] == 5


def test_defaults_are_safe() -> None:
    """By default the bridge listens on the loopback interface only."""
    assert Settings().listen_udp == HostPort("127.0.0.1", 9125)
    assert Settings().listen_tcp == HostPort("127.0.0.1", 9125)
    assert Settings().listen_web == HostPort("127.0.0.1", 9102)
    assert Settings().read_buffer == 4 * 1024 * 1024
    assert not Settings().enable_lifecycle


def test_metrics_of_missing_parts_are_constant() -> None:
    """Constant metrics stand for missing parts; metrics of Go are absent."""
    page = SelfMetrics(FixedState()).render_text().decode()

    assert "\nstatsd_exporter_event_queue_flushed_total 0.0\n" in page
    assert "\nstatsd_exporter_udp_packet_drops_total 0.0\n" in page
    assert "\ngo_" not in page
    assert "statsd_exporter_build_info" not in page


def test_drops_of_the_kernel_have_the_name_that_alerts_look_at() -> None:
    """Both names show them."""
    page = SelfMetrics(FixedState(kernel_drops=7)).render_text().decode()

    assert "\nstatsd_exporter_udp_packet_drops_total 7.0\n" in page
    assert "\nstatsd_bridge_udp_kernel_drops_total 7.0\n" in page


def test_a_disabled_cache_has_no_metrics() -> None:
    """Like in statsd_exporter, --statsd.cache-size=0 removes the three metrics."""
    page = SelfMetrics(FixedState()).render_text().decode()

    assert "statsd_metric_mapper_cache" not in page
