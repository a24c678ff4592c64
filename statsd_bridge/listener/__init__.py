"""Listen for statsd: datagrams (UDP, Unix) and streams (TCP, Unix)."""

from __future__ import annotations

from statsd_bridge.listener.datagrams import Datagrams
from statsd_bridge.listener.inherited import InheritedSockets
from statsd_bridge.listener.limits import ConnectionLimits
from statsd_bridge.listener.streams import Streams

__all__ = ["ConnectionLimits", "Datagrams", "InheritedSockets", "Streams"]
