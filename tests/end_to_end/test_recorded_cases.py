"""
Recorded cases of statsd_exporter 0.30.0, sent to a fresh process over UDP.

`tests/statsd_bridge/test_conformance.py` runs all of them in memory; here a few of each
kind show that flags, sockets and the metrics of the bridge itself change nothing.
"""

from __future__ import annotations

import gzip
import time
import urllib.request
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.end_to_end.programs import TIMEOUT_SECONDS, Start
from tests.ports import HOST
from tests.statsd_bridge.client_model import CONTENT_TYPE, decode, type_of
from tests.statsd_bridge.recorded import (
    CASES,
    NATIVE_CASES,
    assert_same_messages,
    is_same,
    read_page,
    recorded_self_metrics,
)

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
SELF_PREFIXES = ("statsd_", "process_", "python_", "promhttp_")

Value = TypeVar("Value", float, str)


@pytest.mark.parametrize("name", SHOWN)
def test_a_process_shows_what_statsd_exporter_showed(
    name: str, start: Start, tmp_path: Path
) -> None:
    """Series, types, help texts and the metrics of the bridge are the recorded ones."""
    case = next(each for each in CASES if each["name"] == name)
    want = case["want"]
    mapping = tmp_path / "mapping.yml"
    mapping.write_text(case["mapping"] or "")
    bridge = start(f"--statsd.mapping-config={mapping}", *case["flags"])
    packets = [packet.encode("latin-1") for packet in case["packets"]]
    bridge.send(*packets)
    page = read_page(
        bridge.scrape_until(
            f"\nstatsd_exporter_udp_packets_total {float(len(packets))}\n"
        )
    )

    series = without_self_metrics(page.series)
    assert sorted(series) == sorted(want["series"])
    assert [k for k, v in series.items() if not is_same(v, want["series"][k], k)] == []
    assert recorded_self_metrics(page.series) == want["self"]
    assert without_self_metrics(page.types) == want["types"]
    assert without_self_metrics(page.helps) == want["helps"]


@pytest.mark.parametrize("case", NATIVE_CASES[:10], ids=lambda case: case["name"])
def test_a_process_answers_in_protobuf_like_statsd_exporter(
    case: dict[str, Any], start: Start, tmp_path: Path
) -> None:
    """Types, values, classic and native buckets, quantiles, times of creation."""
    mapping = tmp_path / "mapping.yml"
    mapping.write_text(case["mapping"] or "")
    bridge = start(f"--statsd.mapping-config={mapping}")
    packets = [packet.encode("latin-1") for packet in case["packets"]]
    begun = time.time()
    bridge.send(*packets)
    received = f"\nstatsd_exporter_udp_packets_total {float(len(packets))}\n"
    bridge.scrape_until(received)
    request = urllib.request.Request(
        f"http://{HOST}:{bridge.http}/metrics",
        headers={"Accept": CONTENT_TYPE, "Accept-Encoding": "gzip"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:
        assert response.headers["Content-Type"] == CONTENT_TYPE
        families = decode(gzip.decompress(response.read()))
    sent = [each for each in families if each.name.startswith("n_")]
    assert_same_messages(sent, case["want"]["families"])
    for family in sent:
        for metric in family.metric:
            _, message = metric.ListFields()[-1]
            if type_of(family) != "gauge":
                created = message.created_timestamp.ToNanoseconds() / 1e9
                assert begun <= created <= time.time()


def without_self_metrics(values: dict[str, Value]) -> dict[str, Value]:
    """Return the values of names that senders chose."""
    return {k: v for k, v in values.items() if not k.startswith(SELF_PREFIXES)}
