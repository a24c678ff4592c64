"""Recorded cases of statsd_exporter 0.30.0, and pages read like the recording."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.statsd_bridge.client_model import buckets, labels_of, type_of

FILE = Path(__file__).parent / "data" / "statsd_exporter-0.30.0.json"
_RECORDED = re.compile(
    r"(events_(actions_|error_|conflict_|unmapped_)?|lines_|samples_|sample_errors_"
    r"|tags_|tag_errors_|udp_packets_)total"
)
CASES: list[dict[str, Any]] = json.loads(FILE.read_text())
NATIVE_CASES: list[dict[str, Any]] = json.loads(
    FILE.with_name("statsd_exporter-0.30.0-native.json").read_text()
)
"""Pages in protobuf: metrics by family and by their labels."""


class Page(NamedTuple):
    """What a page shows: numbers by series, types and help texts by name."""

    series: dict[str, float]
    types: dict[str, str]
    helps: dict[str, str]


def read_page(page: str) -> Page:
    """Read a page with the official parser; names of series are as recorded."""
    series: dict[str, float] = {}
    types: dict[str, str] = {}
    helps: dict[str, str] = {}
    declared = [line.split(" ", 3) for line in page.splitlines() if line[0] == "#"]
    for _, word, name, rest in declared:
        (types if word == "TYPE" else helps)[name] = rest
    # The parser adds `_total` to a counter without it; statsd_exporter does not.
    untyped = re.sub(r"(?m)^(# TYPE \S+) counter$", r"\1 untyped", page)
    for family in text_string_to_metric_families(untyped):
        for sample in family.samples:
            labels = sample.labels
            if types.get(sample.name.removesuffix("_bucket")) == "histogram":
                # The recording has them as numbers, too.
                labels = {**labels, "le": str(float(labels["le"]))}
            name = series_name(sample.name, labels)
            assert name not in series
            series[name] = sample.value
    return Page(series, types, helps)


def series_name(name: str, labels: dict[str, str]) -> str:
    """Return name and labels as a page has them, sorted."""
    text = ",".join(f'{key}="{_escaped(labels[key])}"' for key in sorted(labels))
    return f"{name}{{{text}}}" if text else name


def recorded_self_metrics(series: dict[str, float]) -> dict[str, float]:
    """Return those of a page that the recording has, by its names, without zeros."""
    names = {name.removeprefix("statsd_exporter_"): name for name in series}
    return {
        short: series[name]
        for short, name in names.items()
        if series[name] and _RECORDED.match(short)
    }


def is_same(actual: float, recorded: str, name: str) -> bool:
    """Compare as numbers; quantiles are estimates, sums may add in another order."""
    wanted = float(recorded)
    if "quantile=" in name:
        return math.isnan(actual) == math.isnan(wanted)
    return (math.isnan(actual) and math.isnan(wanted)) or math.isclose(
        actual, wanted, rel_tol=1e-9
    )


def assert_same_messages(families: list[Any], recorded: dict[str, Any]) -> None:
    """Compare messages in protobuf; sums may add in another order."""
    shown: dict[str, Any] = {}
    for family in families:
        found = shown.setdefault(family.name, {"type": type_of(family), "metrics": {}})
        for metric in family.metric:
            labels = ",".join(f"{k}={v}" for k, v in labels_of(metric).items())
            assert labels not in found["metrics"]
            found["metrics"][labels] = _as_recorded(type_of(family), metric)
    # Approximate numbers compare with nothing but numbers.
    wanted = json.loads(json.dumps(recorded))
    for family in wanted.values():
        for metric in family["metrics"].values():
            if "sum" in metric:
                metric["sum"] = pytest.approx(
                    float(metric["sum"]), rel=1e-9, nan_ok=True
                )
    assert shown == wanted


def _as_recorded(type_name: str, metric: Any) -> dict[str, Any]:
    """Return a metric in the form of the recording."""
    message = getattr(metric, type_name)
    if type_name == "gauge":
        return {"value": message.value}
    created = {"created": message.HasField("created_timestamp")}
    if type_name == "counter":
        return {"value": message.value, **created}
    sums = {"count": message.sample_count, "sum": message.sample_sum, **created}
    if type_name == "summary":
        return {**sums, "quantiles": [each.quantile for each in message.quantile]}
    classic = {repr(b.upper_bound): b.cumulative_count for b in message.bucket}
    shown = {**sums, "classic": classic}
    if message.HasField("schema"):
        shown["native"] = {
            "schema": message.schema,
            "zero_threshold": message.zero_threshold,
            "zero_count": message.zero_count,
            "negative": _sides(message.negative_span, message.negative_delta),
            "positive": _sides(message.positive_span, message.positive_delta),
        }
    return shown


def _sides(spans: Any, deltas: Any) -> dict[str, int]:
    return {str(index): count for index, count in buckets(spans, deltas).items()}


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
