"""
A socket to batches of datagrams; datagrams, or the bytes of a stream, to lines.

    recvmmsg, or recv, recv, recv ...  ->  [b"a:1|c\\nb:2|c", b"c:3|c"]  ->  lines
"""

from __future__ import annotations

from statsd_bridge.datagram.allowed import new_allowed_receiver
from statsd_bridge.datagram.frames import StreamSplitter
from statsd_bridge.datagram.lines import LineSplitter, split_datagrams
from statsd_bridge.datagram.receive import MAX_BATCH, Received, Receiver, new_receiver

__all__ = [
    "MAX_BATCH",
    "LineSplitter",
    "Received",
    "Receiver",
    "StreamSplitter",
    "new_allowed_receiver",
    "new_receiver",
    "split_datagrams",
]
