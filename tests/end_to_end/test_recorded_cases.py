"""
Recorded cases of statsd_exporter 0.30.0, sent to a fresh process over UDP.

`tests/statsd_bridge/test_conformance.py` runs all of them in memory; here a few of each
kind show that flags, sockets and the metrics of the bridge itself change nothing.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.programs import Start

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


def read(page: str) -> tuple[dict[str, float], list[str]]:
    """Return the samples of a page, and its HELP and TYPE lines."""
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
    """Return a label value with its escapes."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def is_same(actual: float, recorded: str, name: str) -> bool:
    """Return whether two numbers agree; of quantiles, which are estimates, the NaN."""
    wanted = float(recorded)
    if "quantile=" in name:
        return math.isnan(actual) == math.isnan(wanted)
    return math.isclose(actual, wanted, rel_tol=1e-9)


@pytest.mark.parametrize("name", SHOWN)
def test_a_process_shows_what_statsd_exporter_showed(
    name: str, start: Start, tmp_path: Path
) -> None:
    """Series, types, help texts and the metrics of the bridge are the recorded ones."""
    case = CASES[name]
    want = case["want"]
    mapping = tmp_path / "mapping.yml"
    mapping.write_text(case["mapping"] or "")
    bridge = start(f"--statsd.mapping-config={mapping}", *case["flags"])
    packets = [packet.encode("latin-1") for packet in case["packets"]]
    bridge.send(*packets)
    page = bridge.scrape_until(
        f"\nstatsd_exporter_udp_packets_total {float(len(packets))}\n"
    )
    samples, declared = read(page)

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
