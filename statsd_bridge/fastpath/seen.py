"""
Lines that were seen, for a trial of another mapping: from what the fast path keeps.

Each buffer and each known line has the name and the suffix of its lines.  With more
than MAX_SEEN_LINES they are taken at even distances, without a look at the others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from statsd_bridge.fastpath.buffers import SampleBuffers
from statsd_bridge.fastpath.known import KnownLines

MAX_SEEN_LINES = 10_000
"""Lines that are returned; to collect them takes 5 ms, 15 of a million."""

Item = TypeVar("Item")


def seen_lines(buffers: SampleBuffers) -> list[bytes]:
    """Return lines with the value 1, each with another name or other tags."""
    half = MAX_SEEN_LINES // 2
    known = buffers.known
    known_lines = sum(map(len, known.tables.values())) + len(known.tagged)
    of_buffers = min(len(buffers), max(half, MAX_SEEN_LINES - known_lines))
    of_known = MAX_SEEN_LINES - of_buffers
    lines = islice(_buffered(buffers, _distance(len(buffers), of_buffers)), of_buffers)
    known_ones = islice(_known(known, _distance(known_lines, of_known)), of_known)
    return [*lines, *known_ones]


def _buffered(buffers: SampleBuffers, distance: int) -> Iterator[bytes]:
    for table in buffers.tables.values():
        for buffer in _spread(table.values(), distance):
            yield b"%b:1|%b" % (buffer.name, buffer.suffix)


def _known(known: KnownLines, distance: int) -> Iterator[bytes]:
    for suffix, table in known.tables.items():
        text = suffix or b""
        for name in _spread(table, distance):
            yield b"%b:1|%b" % (name, text)
    for key in _spread(known.tagged, distance):
        # A plain name has no bar.
        name, _, suffix = key.partition(b"|")
        yield b"%b:1|%b" % (name, suffix)


def _spread(items: Collection[Item], distance: int) -> Iterable[Item]:
    """Return every n-th item, at least one."""
    return islice(items, 0, None, distance)


def _distance(count: int, most: int) -> int:
    return max(1, -(-count // max(1, most)))
