"""
The path in memory, and pages read by the official parser.

    outcome = play(["a:1|c\nb:2|g"], "mappings: ...", ["--no-statsd.parse-..."])
    outcome.series          {'a': 1.0, 'b': 2.0}, read by the official parser
    outcome.self_metrics    {'lines_total': 2, ...}, without statsd_exporter_
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pytest

from statsd_bridge.exposition import SelfMetrics, reserved_names
from statsd_bridge.line import Dialect
from statsd_bridge.model import Stats
from tests.statsd_bridge.in_memory import (
    BOTH_PATHS,
    FixedState,
    InMemoryPath,
    MakePipeline,
)
from tests.statsd_bridge.recorded import (
    read_page,
    recorded_self_metrics,
    series_name,
)

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
        reserved=reserved_names(),
    )
    # Recorded text is Latin-1: one character a byte.
    memory.feed(
        *(each.encode("latin-1") if isinstance(each, str) else each for each in packets)
    )
    page = memory.page()
    return Outcome(page, *read_page(page), _self_metrics(memory.stats))


def _self_metrics(stats: Stats) -> dict[str, float]:
    """Return the self-metrics that the recording has, without those at 0."""
    found = {
        series_name(sample.name, sample.labels): sample.value
        for family in SelfMetrics(FixedState(stats=stats)).collect()
        for sample in family.samples
    }
    return recorded_self_metrics(found)


@pytest.fixture(scope="session", params=BOTH_PATHS, ids=["plain", "fast"])
def make_pipeline(request: pytest.FixtureRequest) -> MakePipeline:
    """Make the pipeline that tests run on: the plain one, the fast one."""
    made: MakePipeline = request.param
    return made


@pytest.fixture(scope="session")
def play(make_pipeline: MakePipeline) -> Callable[..., Outcome]:
    """Feed packets to a new pipeline, one datagram each."""
    return partial(_play, make_pipeline)
