"""
The catalogue to the two files that are made of it.

    python -m crocbot.telemetry.documents           writes them
    python -m crocbot.telemetry.documents --check   exits 1 when one is stale

`crocbot/mapping.yml` is the contract with whoever receives the lines.  It must load in
statsd_exporter as well, which allows only certain keys, wants label names of two
letters or more, and loses a rule that follows a longer one with the same beginning: so
shorter rules come first.  In `docs/metrics.md` only what is between the two marks is
generated.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from crocbot import generated
from crocbot.telemetry.catalogue import CATALOGUE, Metric, Type

MAPPING = Path(__file__).parents[1] / "mapping.yml"
TABLE = Path(__file__).parents[2] / "docs" / "metrics.md"

MODULE = "crocbot.telemetry.documents"

_HEADER = """\
# How the gateway's statsd names become Prometheus metrics.
# Generated from crocbot/telemetry/catalogue/ by
# `python -m crocbot.telemetry.documents`: change that, not this file.
# It loads in statsd_bridge and, unchanged, in statsd_exporter 0.30.0 and later.
"""

_RECEIVED_AS = {
    Type.COUNTER: "counter",
    Type.GAUGE: "gauge",
    Type.HISTOGRAM: "observer",
}


def mapping(catalogue: Iterable[Metric] = CATALOGUE) -> str:
    """Write the mapping file."""
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


def table(catalogue: tuple[Metric, ...] = CATALOGUE) -> str:
    """Write the generated part of docs/metrics.md."""
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


def wanted() -> dict[Path, str]:
    """Give what each file is to hold; ValueError if the table has no place."""
    return {MAPPING: mapping(), TABLE: generated.framed(TABLE, MODULE, table())}


def main(arguments: list[str] | None = None) -> int:
    """Write both files, or with --check say which one is stale."""
    return generated.main(MODULE, wanted, arguments)


if __name__ == "__main__":
    sys.exit(main())
