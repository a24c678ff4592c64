"""
Lines that were seen, for a trial of another mapping: from what the fast path keeps.

Each buffer and each known line has the name and the suffix of its lines.  Of more than
MAX_SEEN_LINES the newest and the oldest of each table are taken, without a look at the
others: to pass over a million takes 70 ms.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar, final

from statsd_bridge.fastpath.buffers import SampleBuffers
from statsd_bridge.fastpath.known import KnownLines
from statsd_bridge.memory import Account

MAX_SEEN_LINES = 10_000
"""Lines that are returned; to collect them takes 5 ms."""

MAX_FORMER_BYTES = 512 * 1024
"""What lines take that are kept when buffers are dropped: some 5,000."""

FORMER_LINE_BYTES = 41
"""A line besides its text, and its place in the list."""

Key = TypeVar("Key")


@final
class SeenLines:
    """
    Lines of the buffers, and some of those before all buffers were dropped.

    A reload drops them, and the next trial must not know less than the last one.
    """

    def __init__(self, buffers: SampleBuffers, account: Account) -> None:
        self._buffers = buffers
        self._account = account
        self._former: list[bytes] = []
        self._charged = 0

    def all(self) -> list[bytes]:
        """Return lines with the value 1, the former ones last."""
        return [*seen_lines(self._buffers), *self._former]

    def keep(self) -> None:
        """Keep lines: the buffers are about to be dropped."""
        lines, self._former = self.all(), []
        self._account.release(self._charged)
        self._charged = 0
        for line in dict.fromkeys(lines):
            size = FORMER_LINE_BYTES + len(line)
            if self._charged + size > MAX_FORMER_BYTES:
                break
            if not self._account.reserve(size):
                break
            self._charged += size
            self._former.append(line)


def seen_lines(buffers: SampleBuffers) -> list[bytes]:
    """Return lines with the value 1, each with another name or other tags."""
    found = list(_buffered_lines(buffers, MAX_SEEN_LINES // 2))
    found += _known_lines(buffers.known, MAX_SEEN_LINES - len(found))
    return found


def _buffered_lines(buffers: SampleBuffers, most: int) -> Iterator[bytes]:
    tables = buffers.tables
    share = _share(most, len(tables))
    for suffix in islice(_ends(tables, most), most):
        for name in _ends(tables[suffix], share):
            yield b"%b:1|%b" % (name, suffix or b"")


def _known_lines(known: KnownLines, most: int) -> Iterator[bytes]:
    tables = known.tables
    share = _share(most, len(tables) + 1)
    for suffix in _ends(tables, most):
        for name in _ends(tables[suffix], share):
            yield b"%b:1|%b" % (name, suffix or b"")
    for key in _ends(known.tagged, share):
        # A plain name has no bar.
        name, _, suffix = key.partition(b"|")
        yield b"%b:1|%b" % (name, suffix)


def _share(most: int, tables: int) -> int:
    return max(1, most // max(1, tables))


def _ends(items: dict[Key, Any], most: int) -> Iterator[Key]:
    """Yield keys, the newest first: all, or those from both ends."""
    if len(items) <= most:
        yield from reversed(items)
        return
    yield from islice(reversed(items), most - most // 2)
    yield from islice(items, most // 2)
