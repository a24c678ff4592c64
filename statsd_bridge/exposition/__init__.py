"""Series and tally to a page that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from statsd_bridge.exposition import openmetrics, page
from statsd_bridge.exposition.formats import Format, choose
from statsd_bridge.exposition.own import Own, Vitals, own_names
from statsd_bridge.exposition.page import Failed
from statsd_bridge.model import Family

__all__ = ["Format", "Own", "Vitals", "choose", "own_names", "render"]


def render(
    form: Format, families: Sequence[Family], now: float, failed: Failed, own: Own
) -> Iterator[bytes]:
    """
    Make a whole page in slices, the bridge's own metrics last.

    An empty slice is only a turn for others.  `failed` is told of a series that a bug
    of ours keeps from being printed.
    """
    if form is Format.OPENMETRICS:
        yield from openmetrics.render(families, now, failed, own_names())
    else:
        yield from page.render(families, now, failed)
    yield own.render(form)
