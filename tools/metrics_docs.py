"""
The catalogue of the gateway's metrics as a mapping file and as a table.

The mapping file must load in statsd_exporter, too, which allows only certain keys,
wants label names of two letters or more, and loses a rule that follows a longer one
with the same beginning; therefore shorter rules come first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from crocbot.telemetry.catalogue import CATALOGUE, Metric, Type

_HEADER = """\
# How the gateway's statsd names become Prometheus metrics.
# Generated from crocbot/telemetry/catalogue/ by `make docs`: change that, not this
# file.  It loads in statsd_bridge and, unchanged, in statsd_exporter 0.30.0 and later.
"""

_RECEIVED_AS = {
    Type.COUNTER: "counter",
    Type.GAUGE: "gauge",
    Type.HISTOGRAM: "observer",
}


def mapping(catalogue: Iterable[Metric] = CATALOGUE) -> str:
    """Return the content of the mapping file."""
    ordered = sorted(catalogue, key=lambda m: (m.match.count("."), m.match))
    lines = [line for metric in ordered for line in _rule(metric)]
    return _HEADER + "mappings:\n" + "\n".join(lines) + "\n"


def _rule(metric: Metric) -> Iterator[str]:
    # A JSON string is a YAML string; no other quoting is needed.
    yield f"- match: {json.dumps(metric.match)}"
    yield f"  match_metric_type: {_RECEIVED_AS[metric.type]}"
    yield f"  name: {metric.name}"
    yield f"  help: {json.dumps(metric.help)}"
    if metric.labels:
        yield "  labels:"
        yield from (f"    {name}: {json.dumps(value)}" for name, value in metric.labels)
    if metric.ttl:
        yield f"  ttl: {metric.ttl}"
    if metric.type is Type.HISTOGRAM:
        yield "  observer_type: histogram"
        yield "  histogram_options:"
        yield f"    buckets: [{', '.join(f'{bound:g}' for bound in metric.buckets)}]"


def table(catalogue: Sequence[Metric] = CATALOGUE) -> str:
    """Return the generated part of docs/metrics.md."""
    rows = [
        "| Metric | Type | Labels | Meaning | Example | Sent as | Told by |",
        "|---|---|---|---|---|---|---|",
        *map(_row, catalogue),
    ]
    total = sum(metric.series for metric in catalogue)
    bound = f"One gateway makes at most {total} series, each bucket counted as one."
    return "\n".join([*rows, "", bound])


def _row(metric: Metric) -> str:
    words = {segment.name: segment.words for segment in metric.segments}
    labels = [
        f"`{name}`: {', '.join(words.get(name) or ['one a process'])}"
        for name, _ in metric.labels
    ]
    cells = (
        f"`{metric.name}`",
        f"{metric.type}, {metric.unit}" if metric.unit else metric.type,
        "<br>".join(labels),
        metric.help,
        f"`{metric.query}`",
        f"`{metric.pattern}`",
        metric.source,
    )
    # A bar would end the cell, also inside of backticks.
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
