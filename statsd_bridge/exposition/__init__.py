"""Series and tally to a page that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from statsd_bridge.exposition import openmetrics, page
from statsd_bridge.exposition.formats import Format, choose
from statsd_bridge.exposition.page import Failed
from statsd_bridge.exposition.self_metrics import SelfMetrics, Vitals, reserved_names
from statsd_bridge.model import Family

__all__ = ["Format", "SelfMetrics", "Vitals", "choose", "reserved_names", "render"]


def render(
    form: Format,
    families: Sequence[Family],
    now: float,
    failed: Failed,
    own: SelfMetrics,
) -> Iterator[bytes]:
    """
    Make a whole page in slices, the bridge's own metrics last.

    An empty slice is only a turn for others.  `failed` is told of a series that a bug
    of ours keeps from being printed.
    """
    if form is Format.OPENMETRICS:
        yield from openmetrics.render(families, now, failed, reserved_names())
    else:
        yield from page.render(families, now, failed)
    yield own.render(form)
