"""The exposition stage: series and statistics to a page that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from statsd_bridge.bugs import BugReporter
from statsd_bridge.exposition import openmetrics, text
from statsd_bridge.exposition.negotiation import Format, choose
from statsd_bridge.exposition.self_metrics import (
    BridgeState,
    SelfMetrics,
    reserved_names,
)
from statsd_bridge.series import MetricFamily

__all__ = [
    "BridgeState",
    "Format",
    "SelfMetrics",
    "choose",
    "render",
    "reserved_names",
]


def render(
    page_format: Format,
    families: Sequence[MetricFamily],
    now: float,
    *,
    bugs: BugReporter,
    self_metrics: SelfMetrics,
) -> Iterator[bytes]:
    """
    Yield a whole page in slices, the bridge's metrics of itself last.

    An empty slice only gives others a turn.  A series whose values raise is reported to
    `bugs` and skipped.
    """
    if page_format is Format.OPENMETRICS:
        reserved = reserved_names()
        yield from openmetrics.render(families, now, bugs, reserved=reserved)
    else:
        yield from text.render(families, now, bugs)
    yield self_metrics.render(page_format)
