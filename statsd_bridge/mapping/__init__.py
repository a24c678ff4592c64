"""The mapping stage: a kind and a name in, a target out.  Start at table.py."""

from __future__ import annotations

from statsd_bridge.mapping.dump import dot
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.mapping.table import MappingTable, Match, empty, load, parse

__all__ = ["Match", "Rule", "MappingTable", "dot", "empty", "load", "parse"]
