"""Series and tally to a page that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from statsd_bridge.bugs import BugReporter
from statsd_bridge.exposition import openmetrics, page
from statsd_bridge.exposition.formats import Format, choose
from statsd_bridge.exposition.self_metrics import SelfMetrics, Vitals, reserved_names
from statsd_bridge.series import MetricFamily

__all__ = ["Format", "SelfMetrics", "Vitals", "choose", "reserved_names", "render"]


def render(
    form: Format,
    families: Sequence[MetricFamily],
    now: float,
    bugs: BugReporter,
    own: SelfMetrics,
) -> Iterator[bytes]:
    """
    Make a whole page in slices, the bridge's own metrics last.

    An empty slice is only a turn for others.  A series whose values raise is
    reported to `bugs` and skipped.
    """
    if form is Format.OPENMETRICS:
        yield from openmetrics.render(families, now, bugs, reserved_names())
    else:
        yield from page.render(families, now, bugs)
    yield own.render(form)
