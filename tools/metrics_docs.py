"""
The catalogue of the gateway's metrics as a mapping file and as a table.

The mapping file must load in statsd_exporter, too, which allows only certain keys,
wants label names of two letters or more, and loses a rule that follows a longer one
with the same beginning; therefore shorter rules come first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from math import prod

from crocbot.telemetry.catalogue import CATALOGUE
from crocbot.telemetry.instruments import ChosenAtStart, HistogramMetric, Metric
from tools import markdown

_HEADER = """\
# How the gateway's statsd names become Prometheus metrics.
# Generated from crocbot/telemetry/catalogue.py by `make docs`: change that, not this
# file.  It loads in statsd_bridge and, unchanged, in statsd_exporter 0.30.0 and later.
"""

_RECEIVED_AS = {"counter": "counter", "gauge": "gauge", "histogram": "observer"}


def mapping(catalogue: Iterable[Metric] = CATALOGUE) -> str:
    """Return the content of the mapping file."""
    ordered = sorted(catalogue, key=lambda m: (match(m).count("."), match(m)))
    lines = [line for metric in ordered for line in _rule(metric)]
    return _HEADER + "mappings:\n" + "\n".join(lines) + "\n"


def match(metric: Metric) -> str:
    """Return the glob of a metric's rule."""
    return metric.statsd + ".*" * len(metric.segments)


def templates(metric: Metric) -> dict[str, str]:
    """Return the template of each label: `$1`, or `$2.$3.$4` for several segments."""
    found, place = {}, 0
    for label, values in metric.labels.items():
        count = values.segments if isinstance(values, ChosenAtStart) else 1
        found[label] = ".".join(f"${place + n}" for n in range(1, count + 1))
        place += count
    return found


def series(metric: Metric) -> int:
    """Return how many series one gateway can make of a metric, buckets included."""
    samples = len(metric.buckets) + 3 if isinstance(metric, HistogramMetric) else 1
    return samples * prod(_number(values) for values in metric.labels.values())


def _values(values: Iterable[str] | ChosenAtStart) -> str:
    if not isinstance(values, ChosenAtStart):
        return ", ".join(values)
    return "one a process" if values.values == 1 else f"{values.values} a process"


def _number(values: Iterable[str] | ChosenAtStart) -> int:
    return values.values if isinstance(values, ChosenAtStart) else len(tuple(values))


def _rule(metric: Metric) -> Iterator[str]:
    # A JSON string is a YAML string; no other quoting is needed.
    yield f"- match: {json.dumps(match(metric))}"
    yield f"  match_metric_type: {_RECEIVED_AS[metric.type]}"
    yield f"  name: {metric.name}"
    yield f"  help: {json.dumps(metric.help)}"
    if metric.labels:
        yield "  labels:"
        for label, template in templates(metric).items():
            yield f"    {label}: {json.dumps(template)}"
    if metric.ttl:
        yield f"  ttl: {metric.ttl}"
    if isinstance(metric, HistogramMetric):
        yield "  observer_type: histogram"
        yield "  histogram_options:"
        yield f"    buckets: [{', '.join(f'{bound:g}' for bound in metric.buckets)}]"


def table(catalogue: Sequence[Metric] = CATALOGUE) -> str:
    """Return the generated part of docs/metrics.md."""
    head = ("Metric", "Type", "Labels", "Meaning", "Example", "Sent as")
    rows = markdown.table(head, map(_row, catalogue))
    total = sum(map(series, catalogue))
    bound = f"One gateway makes at most {total} series, each bucket counted as one."
    return f"{rows}\n\n{bound}"


def _row(metric: Metric) -> Sequence[str]:
    labels = [
        f"`{label}`: " + _values(values) for label, values in metric.labels.items()
    ]
    return (
        f"`{metric.name}`",
        metric.type,
        "<br>".join(labels),
        metric.help,
        f"`{metric.query}`",
        f"`{metric.statsd}{''.join(f'.<{label}>' for label in metric.labels)}`",
    )
