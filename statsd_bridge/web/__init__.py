"""
The HTTP server: metrics, explanations, health, lifecycle.

    /metrics    /explain    /debug/unmapped    /-/healthy    /-/ready    /
    /-/reload, /-/quit (when enabled)

It asks a Backend for what the pages show.  Start reading at server.py.
"""

from __future__ import annotations

from statsd_bridge.web.base import Backend, RenderedPage, TrialAnswer
from statsd_bridge.web.guard import Guard, load_config
from statsd_bridge.web.server import http_factory

__all__ = [
    "Backend",
    "Guard",
    "RenderedPage",
    "TrialAnswer",
    "http_factory",
    "load_config",
]
