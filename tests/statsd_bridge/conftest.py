"""
The path in memory, and pages read by the official parser.

    outcome = play(["a:1|c\nb:2|g"], "mappings: ...", ["--no-statsd.parse-..."])
    outcome.series          {'a': 1.0, 'b': 2.0}, read by the official parser
    outcome.self_metrics    {'lines_total': 2, ...}, without statsd_exporter_
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pytest
from prometheus_client.parser import text_string_to_metric_families

from statsd_bridge import exposition
from statsd_bridge.line import Dialect
from statsd_bridge.model import Stats
from tests.statsd_bridge.in_memory import BOTH_PATHS, InMemoryPath, MakePipeline

FLAGS = {
    "--no-statsd.parse-dogstatsd-tags": "dogstatsd",
    "--no-statsd.parse-influxdb-tags": "influxdb",
    "--no-statsd.parse-librato-tags": "librato",
    "--no-statsd.parse-signalfx-tags": "signalfx",
}


@dataclass(frozen=True)
class Outcome:
    """The page, what it shows, and the counters."""

    page: str
    series: dict[str, float]
    types: dict[str, str]
    helps: dict[str, str]
    self_metrics: dict[str, float]


def _play(
    make_pipeline: MakePipeline,
    packets: Sequence[str | bytes],
    mapping_text: str = "",
    flags: Sequence[str] = (),
) -> Outcome:
    memory = InMemoryPath(
        mapping_text,
        make_pipeline=make_pipeline,
        dialect=Dialect(**{FLAGS[flag]: False for flag in flags}),
        reserved=exposition.reserved_names(),
    )
    # Recorded text is Latin-1: one character a byte.
    memory.feed(
        *(each.encode("latin-1") if isinstance(each, str) else each for each in packets)
    )
    page = memory.page()
    return Outcome(page, *_shown(page), _self_metrics(memory.stats))


def _shown(page: str) -> tuple[dict[str, float], dict[str, str], dict[str, str]]:
    """Return series, types and help texts of a page by the official parser."""
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
            pairs = sorted(labels.items())
            text = ",".join(f'{key}="{_escaped(value)}"' for key, value in pairs)
            name = f"{sample.name}{{{text}}}" if pairs else sample.name
            assert name not in series
            series[name] = sample.value
    return series, types, helps


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _self_metrics(stats: Stats) -> dict[str, float]:
    """Return the counters by their recorded names, without those at 0."""
    found: dict[str, float] = {
        "lines_total": stats.lines,
        "samples_total": stats.samples,
        "tags_total": stats.tags,
        "tag_errors_total": stats.tag_errors,
        "events_unmapped_total": stats.unmapped,
        "udp_packets_total": stats.packets["udp"],
    }
    labelled = [
        ("events_total", "type", stats.events),
        ("events_actions_total", "action", stats.actions),
        ("events_error_total", "reason", stats.event_errors),
        ("sample_errors_total", "reason", stats.sample_errors),
    ]
    for name, label, counts in labelled:
        for word, count in counts.items():
            found[f'{name}{{{label}="{word}"}}'] = count
    for (kind, metric), count in stats.conflicts.items():
        labels = f'metric_name="{metric}",type="{kind}"'
        found[f"events_conflict_total{{{labels}}}"] = count
    return {name: value for name, value in found.items() if value}


@pytest.fixture(scope="session", params=BOTH_PATHS, ids=["plain", "fast"])
def make_pipeline(request: pytest.FixtureRequest) -> MakePipeline:
    """Make the pipeline that tests run on: the plain one, the fast one."""
    made: MakePipeline = request.param
    return made


@pytest.fixture(scope="session")
def play(make_pipeline: MakePipeline) -> Callable[..., Outcome]:
    """Feed packets to a new pipeline, one datagram each."""
    return partial(_play, make_pipeline)
