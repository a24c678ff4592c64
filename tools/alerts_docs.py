"""The alerts of the gateway itself as the table in docs/alerts.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from crocbot.alerts.table import ALERTS
from tools import markdown


def table() -> str:
    """Return the generated part of docs/alerts.md."""
    return markdown.table(("Alert", "Severity", "Fires when", "Runbook"), _rows())


def _rows() -> Iterator[Sequence[str]]:
    for name, alert in ALERTS.items():
        when = f"{alert.when}; lasts" if alert.lasts else alert.when
        yield (
            f"`{name}`",
            alert.severity,
            when,
            f"[{alert.runbook.removesuffix('.md')}](runbooks/{alert.runbook})",
        )
