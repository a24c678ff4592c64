"""The rows of the catalogue: statsd names, and the style of Prometheus."""

from __future__ import annotations

import re

import pytest

from crocbot.telemetry.catalogue import CATALOGUE
from crocbot.telemetry.instruments import CounterMetric, HistogramMetric, Metric
from crocbot.telemetry.process_metrics import BUILD_INFO

TWO_LABELS = CounterMetric(
    name="crocbot_two_total",
    statsd="crocbot.two",
    labels={"left": ("a", "b"), "right": ("x", "y", "z")},
    help="Help.",
    query="crocbot_two_total",
)


def test_labels_become_segments_of_the_statsd_name() -> None:
    """Each combination of label values has a name."""
    names = [TWO_LABELS.statsd_name(*each) for each in TWO_LABELS.label_values()]

    assert len(set(names)) == 2 * 3
    assert names[-1] == "crocbot.two.b.z"


@pytest.mark.parametrize(
    ("metric", "values"),
    [
        *((TWO_LABELS, each) for each in [(), ("a",), ("a", "x", "x"), ("c", "x")]),
        *((TWO_LABELS, each) for each in [("a", "X"), ("a", "")]),
        *((BUILD_INFO, ("0", "1", each)) for each in ["1.2", "a b", "a:b", "a|b", ""]),
        *((BUILD_INFO, ("0", "1", each)) for each in ["a\nb", "é", "x" * 65]),
    ],
)
def test_other_label_values_are_refused(
    metric: Metric, values: tuple[str, ...]
) -> None:
    """A value that the row does not list, or that is no segment, is a ValueError."""
    with pytest.raises(ValueError, match=metric.name):
        metric.statsd_name(*values)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda m: m.name)
def test_a_row_follows_the_conventions_of_prometheus(metric: Metric) -> None:
    """Counters end in _total and nothing else does; bucket bounds rise."""
    assert re.fullmatch(r"crocbot(_[a-z0-9]+)+", metric.name)
    assert metric.name.endswith("_total") == (metric.type == "counter")
    if isinstance(metric, HistogramMetric):
        assert metric.name.endswith("_seconds")
        assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.help.endswith(".")
    assert metric.name in metric.query


def test_each_name_is_used_once() -> None:
    """No two rows share a name, in Prometheus or in statsd."""
    assert len({metric.name for metric in CATALOGUE}) == len(CATALOGUE)
    assert len({metric.statsd for metric in CATALOGUE}) == len(CATALOGUE)
