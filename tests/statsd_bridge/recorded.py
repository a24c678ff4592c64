"""Recorded cases of statsd_exporter 0.30.0, and pages read like the recording."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

FILE = Path(__file__).parent / "data" / "statsd_exporter-0.30.0.json"
_RECORDED = re.compile(
    r"(events_(actions_|error_|conflict_|unmapped_)?|lines_|samples_|sample_errors_"
    r"|tags_|tag_errors_|udp_packets_)total"
)
CASES: list[dict[str, Any]] = json.loads(FILE.read_text())


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


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
