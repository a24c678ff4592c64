"""Native buckets of histograms against recorded answers of statsd_exporter 0.30.0."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from statsd_bridge.series import Histogram, NativeHistogram
from tests.statsd_bridge.in_memory import InMemoryPath, MakePipeline

FILE = Path(__file__).parent / "data" / "statsd_exporter-0.30.0-native.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text())


def histograms(memory: InMemoryPath) -> Iterator[tuple[str, str, Histogram]]:
    """Yield name, label text and series of all histograms."""
    memory.pipeline.flush()
    for family in memory.store.families():
        for label_text in family.label_texts():
            series = family.series[label_text]
            if isinstance(series, Histogram):
                yield family.name, label_text, series


def shown(native: NativeHistogram) -> dict[str, Any]:
    """Return native buckets as the recording has them."""
    return {
        "schema": native.schema,
        "zero_threshold": native.zero_threshold,
        "zero_count": native.zero_count,
        "negative": {str(i): count for i, count in native.negative_buckets()},
        "positive": {str(i): count for i, count in native.positive_buckets()},
    }


def all_shown(memory: InMemoryPath) -> dict[tuple[str, str], Any]:
    """Return the native buckets of all histograms by name and labels."""
    return {
        (name, label_text): series.native and shown(series.native)
        for name, label_text, series in histograms(memory)
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_recorded_answers(case: dict[str, Any], make_pipeline: MakePipeline) -> None:
    """The native buckets are those of statsd_exporter 0.30.0, both ways of feeding."""
    wanted = {
        (name, labels): metric.get("native")
        for name, family in case["want"]["families"].items()
        if family["type"] == "histogram"
        for labels, metric in family["metrics"].items()
    }
    packets = [packet.encode("latin-1") for packet in case["packets"]]
    for batches in ([[each] for each in packets], [packets]):
        memory = InMemoryPath(case["mapping"] or "", make_pipeline=make_pipeline)
        for batch in batches:
            memory.feed(*batch)
        found = {
            (name, text.replace('"', "")): buckets
            for (name, text), buckets in all_shown(memory).items()
        }
        assert found == wanted
