"""
The mapping stage: sample type and name in, action and series out.  Start at table.py.
"""

from __future__ import annotations

from statsd_bridge.mapping.glob import is_glob
from statsd_bridge.mapping.graphviz import to_dot
from statsd_bridge.mapping.overlap import near_misses
from statsd_bridge.mapping.rule import Match
from statsd_bridge.mapping.table import MappingTable, load, parse

__all__ = [
    "MappingTable",
    "Match",
    "is_glob",
    "load",
    "near_misses",
    "parse",
    "to_dot",
]
