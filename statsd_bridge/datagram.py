"""
A socket to a batch of datagrams; datagrams to lines.

    recv, recv, recv ... until the kernel has no more  ->  [b"a:1|c\nb:2|c", b"c:3|c"]

A batch is bounded, so that a flood cannot keep everybody else waiting.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

LARGEST = 65_535
"""Bytes of the largest datagram that UDP can carry."""

BATCH = 1_000
"""Datagrams in one batch."""


def receive(sock: socket.socket, most: int = BATCH) -> list[bytes]:
    """Take what the kernel has for a non-blocking socket; its OSErrors pass."""
    batch: list[bytes] = []
    recv = sock.recv
    try:
        while len(batch) < most:
            batch.append(recv(LARGEST))
    except (BlockingIOError, InterruptedError):
        pass
    return batch


def lines(datagrams: Iterable[bytes]) -> list[bytes]:
    """
    Cut datagrams at their newlines.

    As in statsd_exporter k newlines make k + 1 lines: the empty one after the last
    newline is a line, too.  It is counted and says nothing.
    """
    # Joined by a newline, datagrams are cut in one go.
    return b"\n".join(datagrams).split(b"\n")
