"""Series and tally to a page that Prometheus reads."""

from __future__ import annotations

from statsd_bridge.exposition.own import Own, own_names
from statsd_bridge.exposition.page import CONTENT_TYPE, render

__all__ = ["CONTENT_TYPE", "Own", "own_names", "render"]
