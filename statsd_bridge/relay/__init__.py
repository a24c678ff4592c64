"""Relay a copy of every line to other statsd servers."""

from __future__ import annotations

from statsd_bridge.relay.relay import Relay

__all__ = ["Relay"]
