"""
The HTTP door: the page, and what an operator or an orchestrator asks.

    /metrics    /explain    /debug/unmapped    /-/healthy    /-/ready    /
    /-/reload, /-/quit (when enabled)

It is handed functions and decides nothing.  Start at server.py.
"""

from __future__ import annotations

from statsd_bridge.web.guard import Guard
from statsd_bridge.web.pages import Functions, Page
from statsd_bridge.web.server import door

__all__ = ["Functions", "Guard", "Page", "door"]
