"""
The exposition stage: series and statistics to a page that Prometheus reads.

Start at negotiation.py, which renders the page in the format that a request asks for.
"""

from __future__ import annotations

from statsd_bridge.exposition.negotiation import Format, choose, render
from statsd_bridge.exposition.self_metrics import (
    BridgeState,
    SelfMetrics,
    reserved_names,
)

__all__ = ["BridgeState", "Format", "SelfMetrics", "choose", "render", "reserved_names"]
