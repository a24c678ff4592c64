"""Listen for statsd: datagrams (UDP, Unix) and streams (TCP, Unix)."""

from __future__ import annotations

from statsd_bridge.listener.datagrams import DatagramReader
from statsd_bridge.listener.denials import Denials
from statsd_bridge.listener.inherited import InheritedSockets
from statsd_bridge.listener.limits import ConnectionLimits
from statsd_bridge.listener.streams import StreamFactory

__all__ = [
    "ConnectionLimits",
    "DatagramReader",
    "Denials",
    "InheritedSockets",
    "StreamFactory",
]
