"""
Compare the page of statsd_exporter with that of a bridge that gets the same lines.

    two URLs --> Watch: snapshots of both pages --> differences --> Report

A difference is explained by a row of docs/compatibility.md, or it is not; only one that
is not is a reason not to switch.  Start reading at watch.py.
"""

from __future__ import annotations

from statsd_bridge.compare.differences import Comparison
from statsd_bridge.compare.report import as_json, as_text
from statsd_bridge.compare.watch import compare

__all__ = ["Comparison", "as_json", "as_text", "compare"]
