"""The doors for statsd: datagrams (UDP, Unix) and streams (TCP, Unix)."""

from __future__ import annotations

from statsd_bridge.listener.datagrams import Datagrams
from statsd_bridge.listener.inherited import Inherited
from statsd_bridge.listener.ports import listen_tcp, listen_unix
from statsd_bridge.listener.room import Room, make_room
from statsd_bridge.listener.sockets import open_udp, open_unixgram
from statsd_bridge.listener.streams import Streams

__all__ = [
    "Datagrams",
    "Inherited",
    "Room",
    "Streams",
    "listen_tcp",
    "listen_unix",
    "make_room",
    "open_udp",
    "open_unixgram",
]
