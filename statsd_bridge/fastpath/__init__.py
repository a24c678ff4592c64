"""
The fast path: a Pipeline for batches, in front of the plain one, which it holds.

    datagrams --> group or split --> buffers --> series
                     |                  |
                     '------------------+-- lines without a buffer, or whose value
                                            is no plain number --> plain Pipeline

Only the plain pipeline decides what a line means: a buffer is made from what it found
for a line whose series exists.  Series are created in the order of their lines.  A line
for the plain path is processed after the numbers of all lines before it were appended,
so a gauge's values keep their order.

Numbers wait in buffers and are recorded in bulk: when there are many, every second, and
before the series and counters are read (`flush`).  Large batches with few names are
grouped by name, which is quicker; all others are split into columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import repeat, takewhile
from operator import is_not
from typing import Protocol

from statsd_bridge import datagram
from statsd_bridge.fastpath.buffers import SampleBuffer, SampleBuffers
from statsd_bridge.fastpath.each import LineRecorder
from statsd_bridge.fastpath.resolve import LineResolver
from statsd_bridge.fastpath.seen import SeenLines
from statsd_bridge.fastpath.split import (
    Columns,
    group_lines,
    parse_values,
    split_lines,
)
from statsd_bridge.log import BugReporter
from statsd_bridge.mapping import MappingTable
from statsd_bridge.model import Action, Stats
from statsd_bridge.pipeline import Pipeline

MAX_PIECE_BYTES = 256 * 1024
"""
Bytes of a piece, the part of a batch that is split at once: thousands of lines, few
enough for a CPU's cache.
"""

FLUSH_THRESHOLD = 4_096
"""Buffered numbers that trigger a flush; few enough to stay in the CPU's cache."""

MIN_GROUPED_BYTES = 8_192
"""Bytes, hundreds of lines, from which on grouping is tried."""

MAX_SKIPPED_PIECES = 15
"""Pieces until grouping is tried again if it failed: a try costs 120 ns a line."""

BufferedGroup = tuple[SampleBuffer, Sequence[float]]

_is_buffer = partial(is_not, None)


class FastPipeline:
    """
    The path in batches.  Owned by the reactor's thread.

    It takes the place of the plain pipeline that it is given, whose series and counters
    are up to date after `flush` only.
    """

    def __init__(self, plain: Pipeline) -> None:
        self._plain = plain
        self.stats, self.bugs = plain.stats, plain.bugs
        self._store = plain.store
        self._buffers = SampleBuffers(
            unmapped_names=plain.unmapped_names,
            account=self._store.memory.buffers,
            bugs=plain.bugs,
        )
        self._seen = SeenLines(self._buffers, self._store.memory.buffers)
        self._store.listener = self._buffers
        self._resolver = LineResolver(plain, self._store.memory.buffers)
        self._recorder = LineRecorder(plain, self._buffers, self._resolver)
        self._now = self._store.now()
        self._buffered_numbers = 0
        self._pieces_to_skip = self._next_skip = 0

    def replace_table(self, table: MappingTable) -> None:
        """Apply another mapping from the next line on."""
        self._drop_buffers()
        self._plain.replace_table(table)
        self._resolver.clear()

    def feed(self, datagrams: Sequence[bytes], transport: str) -> None:
        """Process datagrams; `transport` is "udp" or "unixgram"."""
        if not datagrams:
            return
        self.stats.packets[transport] += len(datagrams)
        if self._plain.relay is not None:
            self._plain.relay.forward(datagram.split_datagrams(datagrams))
        empty = 0
        if datagrams[0].endswith(b"\n"):
            # Some clients end each datagram with a newline, which makes an empty line.
            # To find these among other lines takes 100 ns a line, here 5.
            trimmed = list(map(bytes.removesuffix, datagrams, repeat(b"\n")))
            empty = sum(map(len, datagrams)) - sum(map(len, trimmed))
            datagrams = trimmed
        self._plain.count_lines(empty, transport)
        self._feed(b"\n".join(datagrams), transport)

    def feed_lines(self, lines: Sequence[bytes], transport: str) -> None:
        """Process lines; `transport` is also "tcp" or "unixstream"."""
        if not lines:
            return
        if self._plain.relay is not None:
            self._plain.relay.forward(lines)
        self._feed(b"\n".join(lines), transport)

    def flush(self) -> None:
        """Record all buffered numbers and count them."""
        if self._buffered_numbers:
            self._buffers.flush(self._buffers, self._now)
            self._buffered_numbers = 0
        self._recorder.note_unmapped()
        self._count_flushed()

    def seen_lines(self) -> list[bytes]:
        """Return lines that were seen, besides those of the plain pipeline."""
        return self._seen.all()

    def _feed(self, data: bytes, transport: str) -> None:
        self._now = self._store.now()
        if self._buffers.are_stale:
            self._drop_buffers()
        for piece in _pieces(data):
            self._feed_piece(piece, transport)

    def _drop_buffers(self) -> None:
        self.flush()
        self._seen.keep()
        self._buffers.clear()

    def _feed_piece(self, data: bytes, transport: str) -> None:
        """Process some lines."""
        try:
            groups = self._group(data)
            if not groups:
                columns = split_lines(data)
                numbers, unusual = parse_values(columns.values)
        except Exception as error:
            self.bugs.report(error)
            self._plain.feed_relayed_lines(data.split(b"\n"), transport)
            return
        # An exception from here on is the caller's: lines must not count twice.
        if groups:
            self._append_groups(groups, transport)
            return
        self._plain.count_lines(len(numbers) + columns.empty, transport)
        names: Sequence[bytes | None] = columns.names
        if unusual:
            # None is in no table: a line with an unusual value is processed by itself.
            indexes = set(unusual)
            names = [None if i in indexes else name for i, name in enumerate(names)]
        appended = self._append_all(columns, names, numbers)
        if appended:
            self._buffered_numbers += appended
            touched = self._buffers.find_all(columns.names, columns.suffixes)
            self._flush_if_full(appended, filter(None, touched))

    def _group(self, data: bytes) -> list[BufferedGroup]:
        """Group lines and find the buffers; return nothing if one has none."""
        if len(data) < MIN_GROUPED_BYTES:
            return []
        if self._pieces_to_skip:
            self._pieces_to_skip -= 1
            return []
        groups = group_lines(data) or []
        found = []
        for name, suffix, numbers in groups:
            buffer = self._buffers.find(name, suffix)
            if buffer is None:
                break
            found.append((buffer, numbers))
        if not groups or len(found) < len(groups):
            self._pieces_to_skip = self._next_skip
            self._next_skip = min(2 * self._next_skip + 1, MAX_SKIPPED_PIECES)
            return []
        self._next_skip = 0
        return found

    def _append_groups(self, groups: list[BufferedGroup], transport: str) -> None:
        lines = sum(len(numbers) for _, numbers in groups)
        self._plain.count_lines(lines, transport)
        self._buffered_numbers += lines
        for buffer, numbers in groups:
            buffer.extend(numbers)
        self._flush_if_full(lines, [buffer for buffer, _ in groups])

    def _append_all(
        self, columns: Columns, names: Sequence[bytes | None], numbers: list[float]
    ) -> int:
        """
        Append each number to its buffer, or record it, in order.

        Return how many wait in buffers.
        """
        buffers = self._buffers.find_all(names, columns.suffixes)
        # takewhile stops at a line without a buffer: it and the rest are processed one
        # by one.  In C this takes 90 ns a line, a Python loop 110 or more
        # (python -m benchmarks, gateway).
        found = takewhile(_is_buffer, buffers)
        appended = len(list(map(list.append, found, numbers)))  # type: ignore[arg-type]
        if appended < len(numbers):
            appended += self._recorder.record(
                columns, names, numbers, appended, self._now
            )
        return appended

    def _flush_if_full(self, lines: int, touched: Iterable[SampleBuffer]) -> None:
        """Flush the buffers that some lines touched, or all if many numbers wait."""
        if lines * 4 < len(self._buffers):
            # Fewer lines than buffers: look at those only.
            self._buffers.flush(touched, self._now)
            self._buffered_numbers -= lines
            return
        if self._buffered_numbers > max(FLUSH_THRESHOLD, len(self._buffers)):
            self._buffers.flush(self._buffers, self._now)
            self._buffered_numbers = 0

    def _count_flushed(self) -> None:
        stats = self.stats
        recorder, resolver = self._recorder, self._resolver
        self._plain.count_saved_look_ups(resolver.saved_look_ups - recorder.resolved)
        recorder.resolved = resolver.saved_look_ups = 0
        hits = self._plain.table.hits
        for format, lines in self._buffers.flushed.items():
            events = lines * format.weight
            self._plain.count_saved_look_ups(lines)
            stats.samples += lines
            stats.tags += lines * format.is_tagged
            stats.tag_errors += lines * format.tag_errors
            if format.source:
                stats.lines_by_source[format.source] += lines
            if format.action is Action.UNMAPPED:
                stats.unmapped += events
            else:
                stats.actions[format.action] += events
                hits[format.rule] += events
            if format.action is not Action.DROP:
                stats.events[format.type] += events
        self._buffers.flushed.clear()


class AnyPipeline(Protocol):
    """What listeners feed and scrapes flush: the plain pipeline, or one before it."""

    stats: Stats
    bugs: BugReporter

    def replace_table(self, table: MappingTable) -> None:
        """Apply another mapping from the next line on."""

    def feed(self, datagrams: Sequence[bytes], transport: str) -> None:
        """Process datagrams; `transport` is "udp" or "unixgram"."""

    def feed_lines(self, lines: Sequence[bytes], transport: str) -> None:
        """Process lines; `transport` is also "tcp" or "unixstream"."""

    def flush(self) -> None:
        """Record all buffered numbers."""

    def seen_lines(self) -> list[bytes]:
        """Return lines that were seen, besides those of the plain pipeline."""


def _pieces(data: bytes) -> Iterator[bytes]:
    """Cut a large batch between lines."""
    start = 0
    while len(data) - start > MAX_PIECE_BYTES:
        end = data.rfind(b"\n", start, start + MAX_PIECE_BYTES)
        if end < 0:
            # A line that is longer than a piece.
            end = data.find(b"\n", start)
            if end < 0:
                break
        yield data[start:end]
        start = end + 1
    yield data[start:] if start else data
