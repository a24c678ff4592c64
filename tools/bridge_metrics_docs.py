"""The bridge's self-metrics as a table."""

from __future__ import annotations

from statsd_bridge.exposition.self_metrics import COUNTER, SELF_METRICS
from tools import markdown


def table() -> str:
    """Return the generated part of docs/bridge-metrics.md."""
    rows = [
        (
            f"`{each.name}`",
            "counter" if each.type is COUNTER else "gauge",
            ", ".join(f"`{label}`" for label in each.labels),
            each.help,
        )
        for each in SELF_METRICS
    ]
    return markdown.table(("Metric", "Type", "Labels", "Meaning"), rows)
