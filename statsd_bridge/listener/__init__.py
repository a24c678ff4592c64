"""The doors for statsd: datagrams (UDP, Unix) and streams (TCP, Unix)."""

from __future__ import annotations

from statsd_bridge.listener.datagrams import Datagrams
from statsd_bridge.listener.inherited import Inherited
from statsd_bridge.listener.limits import ConnectionLimits, connection_limits
from statsd_bridge.listener.ports import listen_tcp, listen_unix
from statsd_bridge.listener.sockets import open_udp, open_unixgram
from statsd_bridge.listener.streams import Streams

__all__ = [
    "Datagrams",
    "Inherited",
    "ConnectionLimits",
    "Streams",
    "listen_tcp",
    "listen_unix",
    "connection_limits",
    "open_udp",
    "open_unixgram",
]
