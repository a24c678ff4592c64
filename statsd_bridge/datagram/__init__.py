"""
A socket to batches of datagrams; datagrams, or the bytes of a stream, to lines.

    recvmmsg, or recv, recv, recv ...  ->  [b"a:1|c\\nb:2|c", b"c:3|c"]  ->  lines

A batch is bounded, so that a flood cannot keep everybody else waiting.
"""

from __future__ import annotations

from statsd_bridge.datagram.lines import LONGEST_LINE, Stream, lines
from statsd_bridge.datagram.mmsg import LARGEST
from statsd_bridge.datagram.receive import BATCH, Receive, Received, receiver

__all__ = [
    "BATCH",
    "LARGEST",
    "LONGEST_LINE",
    "Receive",
    "Received",
    "Stream",
    "lines",
    "receiver",
]
