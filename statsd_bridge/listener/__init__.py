"""The doors for statsd: datagrams (UDP, Unix) and streams (TCP, Unix)."""

from __future__ import annotations

from statsd_bridge.listener.datagrams import Datagrams
from statsd_bridge.listener.inherited import Inherited
from statsd_bridge.listener.sockets import make_way, open_udp, open_unixgram
from statsd_bridge.listener.streams import Streams

__all__ = ["Datagrams", "Inherited", "Streams", "make_way", "open_udp", "open_unixgram"]
