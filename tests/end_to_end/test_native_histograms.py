"""Native buckets on the page of a process: the flag, and pages during a flood."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.programs import BridgeProcess, Start
from tests.end_to_end.test_formats import fetch
from tests.statsd_bridge.client_model import CONTENT_TYPE, buckets, decode

RULES = """
defaults: {observer_type: histogram}
mappings:
- match: few.*
  name: few
  labels: {which: $1}
  histogram_options: {native_histogram_max_buckets: 5}
"""


def histograms(bridge: BridgeProcess) -> Iterator[Any]:
    """Yield all histograms of a page in protobuf."""
    for family in decode(fetch(bridge, CONTENT_TYPE)[1]):
        for metric in family.metric:
            if metric.HasField("histogram"):
                yield metric.histogram


@pytest.mark.parametrize(
    ("flags", "has_buckets"),
    [
        ((), True),
        (("--statsd.native-histograms=auto",), True),
        (("--statsd.native-histograms=on",), True),
        (("--statsd.native-histograms=off",), False),
    ],
)
def test_the_flag_decides_whether_there_are_native_buckets(
    flags: tuple[str, ...], has_buckets: bool, start: Start, tmp_path: Path
) -> None:
    """Without native buckets, a histogram has none of their fields."""
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    bridge = start(f"--statsd.mapping-config={rules}", *flags)
    bridge.send(b"t:1:2|h", b"once:1|h")
    bridge.scrape_until("\nonce_count 1\n")

    for shown in histograms(bridge):
        fields = {descriptor.name for descriptor, _ in shown.ListFields()}
        assert ("schema" in fields) == has_buckets
        assert ("zero_threshold" in fields) == has_buckets
        assert ("positive_span" in fields) == has_buckets
        assert ("positive_delta" in fields) == has_buckets
        assert shown.sample_count == sum(buckets_of(shown).values()) or not has_buckets


def test_no_page_lacks_a_value_in_its_native_buckets(
    start: Start, tmp_path: Path
) -> None:
    """Prometheus rejects a histogram whose count is not that of its buckets."""
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    bridge = start(f"--statsd.mapping-config={rules}", "--statsd.max-memory=300000")
    rng = random.Random(1)
    checked = 0
    for _ in range(20):
        bridge.send(*[packet(rng) for _ in range(200)])
        for shown in histograms(bridge):
            if shown.HasField("schema"):
                checked += 1
                missing = shown.sample_count - sum(buckets_of(shown).values())
                assert missing == 0 or (math.isnan(shown.sample_sum) and missing > 0)

    assert checked > 100
    page = bridge.scrape_until("statsd_bridge_native_histograms_coarsened_total")
    assert "\nstatsd_bridge_native_histograms_coarsened_total 0.0\n" not in page


def buckets_of(histogram: Any) -> dict[str, int]:
    """Return the counts of all native buckets."""
    counts = {"0": histogram.zero_count}
    for sign in ("positive", "negative"):
        spans = getattr(histogram, f"{sign}_span")
        for index, count in buckets(spans, getattr(histogram, f"{sign}_delta")).items():
            counts[f"{sign} {index}"] = count
    return counts


def packet(rng: random.Random) -> bytes:
    """Return lines with values of any size, some of them special."""
    lines = []
    for _ in range(5):
        name = rng.choice(["few.a", "few.b", f"many{rng.randrange(60)}"])
        special = rng.choice(["0", "nan", "inf", "-inf", "-1", "1e308", "5e-324"])
        value = rng.choice([f"{10 ** rng.uniform(-9, 9):.6g}"] * 9 + [special])
        rate = rng.choice(["", "", "|@0.1"])
        lines.append(f"{name}:{value}|{rng.choice(['ms', 'h'])}{rate}")
    return "\n".join(lines).encode()
