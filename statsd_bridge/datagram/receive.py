"""
A socket to a batch of datagrams, in the quickest way that the system has.

A datagram that is larger than any buffer of ours has lost its end: what it has of an
unfinished line is dropped, and the loss is told.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import NamedTuple

from statsd_bridge.datagram import mmsg
from statsd_bridge.datagram.mmsg import LARGEST

BATCH = mmsg.SLOTS
"""Datagrams in one batch."""


class Received(NamedTuple):
    """Datagrams in the order in which they came, and how many lost their end."""

    datagrams: list[bytes]
    cut: int = 0


Receive = Callable[[], Received]
"""
Takes what the kernel has, at most BATCH datagrams, and never waits; OSErrors pass.

Fewer than BATCH means that there were no more.
"""


def receiver(sock: socket.socket) -> Receive:
    """Choose the way to receive from a non-blocking socket."""
    return _many(sock) if mmsg.is_there() else _one_by_one(sock)


def _many(sock: socket.socket) -> Receive:
    slots = mmsg.Slots()

    def receive() -> Received:
        try:
            datagrams = slots.receive(sock.fileno())
        except (BlockingIOError, InterruptedError):
            return Received([])
        return Received(datagrams) if slots.longest <= LARGEST else _cut(datagrams)

    return receive


def _one_by_one(sock: socket.socket) -> Receive:
    """Receive where there is no recvmmsg: other systems, other C libraries."""

    def receive() -> Received:
        batch: list[bytes] = []
        recv = sock.recv
        try:
            while len(batch) < BATCH:
                # One byte more, to know a datagram that is too large.
                batch.append(recv(LARGEST + 1))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            # What has come is taken; an error that stays comes again.
            if not batch:
                raise
        return _cut(batch)

    return receive


def _cut(datagrams: list[bytes]) -> Received:
    """Leave out the line that lost its end, the last one of a cut datagram."""
    too_large = [len(each) > LARGEST for each in datagrams]
    whole = [
        each.rpartition(b"\n")[0] if is_cut else each
        for each, is_cut in zip(datagrams, too_large, strict=True)
    ]
    return Received(whole, sum(too_large))
