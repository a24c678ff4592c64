"""
What the page and /api/v1/ show of a running bridge, as values for JSON.

    status.py       is all well?         traffic.py      the last 15 minutes
    search.py       series, in pages     rows.py         a series as a row
    cardinality.py  the largest names    growth.py       10 minutes ago

Series are many, so whatever looks at all of them works in steps (steps.py), between
which the sockets are read.  Nothing here changes the bridge.
"""

from __future__ import annotations

from statsd_bridge.inspection.cardinality import CardinalityQuery
from statsd_bridge.inspection.inspector import Inspector
from statsd_bridge.inspection.position import Position
from statsd_bridge.inspection.search import SeriesQuery
from statsd_bridge.inspection.status import Reload, ServiceState
from statsd_bridge.inspection.steps import Json, Steps

__all__ = [
    "CardinalityQuery",
    "Inspector",
    "Json",
    "Position",
    "Reload",
    "SeriesQuery",
    "ServiceState",
    "Steps",
]
