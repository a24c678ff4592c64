"""
THE QUICK PATH: the same as pipeline.py for a batch at a time; read that one first.

    datagrams --> columns or groups --> lanes --> series
                     |                    |
                     '--------------------+-- what has no lane, or says more than
                                              a number --> plain path

A lane is all that a line says besides its value, looked up once: see series/lanes.py.
Numbers gather in lanes and reach their series in bulk: when there are enough, every
second, and before anybody looks (`settle`).  Until then the tally lacks them, too.
Large batches of few names, all simple and all with lanes, are grouped by name first,
which is quicker; all others are cut into columns, and whatever is odd is found there.

What a line means is only ever decided by the plain path: a lane is made of what it
said of a line, and only once the series is there.  So new series come into being in the
order of their lines, whatever their types; and a line that takes the plain path waits
until those before it are in their lanes, so that nothing overtakes in a gauge.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import repeat
from operator import length_hint
from typing import Any

from statsd_bridge import columns, datagram, grouping, line
from statsd_bridge.columns import Columns
from statsd_bridge.model import Action, Parsed, Sample, SampleType
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.recent import LONGEST
from statsd_bridge.series import SampleBuffer, SampleFormat

PIECE = 256 * 1024
"""Bytes that are cut at a time: some thousand lines, few enough for a CPU's cache."""

ENOUGH = 4_096
"""Numbers that are folded at once: few enough to be in the cache still."""

GROUPED = 8_192
"""Bytes, of some hundred lines, from which on it is worth a try to group them."""

TAILS = 1_000
"""Tails of which it is remembered what a 1 means."""

LONGEST_PAUSE = 15
"""Pieces until the next try, when tries fail: they cost 120 ns a line."""


class FastPipeline(Pipeline):
    """The stages, composed for batches."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._lanes = self._store.lanes
        self._lanes_of = self.table
        self._arrived = self._store.now()
        self._waiting = 0
        self._pause = self._next_pause = 0
        self._one = lru_cache(maxsize=TAILS)(self._what_one_means)

    def feed(self, datagrams: Sequence[bytes], transport: str) -> None:
        """Take a batch of datagrams that came by a transport, `udp` for one."""
        if not datagrams:
            return
        self._stats.packets[transport] += len(datagrams)
        if self._relay is not None:
            self._relay.forward(datagram.lines(datagrams))
        empty = 0
        if datagrams[0].endswith(b"\n"):
            # Some clients end each datagram with a newline, which makes an empty line.
            # To find those among others takes 100 ns a line, here 5.
            trimmed = list(map(bytes.removesuffix, datagrams, repeat(b"\n")))
            empty = sum(map(len, datagrams)) - sum(map(len, trimmed))
            datagrams = trimmed
        self._take(b"\n".join(datagrams), transport, empty)

    def feed_lines(self, lines: Sequence[bytes], transport: str) -> None:
        """Take lines that came by a transport."""
        if not lines:
            return
        if self._relay is not None:
            self._relay.forward(lines)
        self._take(b"\n".join(lines), transport)

    def flush(self) -> None:
        """Hand all that waits to the series, and count it."""
        if self._waiting:
            self._lanes.fold(self._lanes, self._arrived)
            self._waiting = 0
        self._count_folded()

    def _take(self, data: bytes, transport: str, empty: int = 0) -> None:
        self._arrived = self._store.now()
        if self.table is not self._lanes_of or self._lanes.are_stale:
            self.flush()
            self._lanes.clear()
            self._lanes_of, self.fast_samples = self.table, 0
        self._count(empty, transport)
        for piece in _pieces(data):
            self._count(self._piece(piece), transport)

    def _count(self, lines: int, transport: str) -> None:
        self._stats.lines += lines
        self._stats.lines_by_transport[transport] += lines

    def _piece(self, data: bytes) -> int:
        """Take some lines; returns how many they are, empty ones too."""
        try:
            grouped = self._grouped(data)
            if grouped:
                return grouped
            rows = columns.cut(data)
            numbers, odd = columns.numbers(rows.values)
        except Exception as error:
            self._bugs.report(error)
            lines = data.split(b"\n")
            self._one_by_one(lines)
            return len(lines)
        heads: Sequence[bytes | None] = rows.heads
        if odd:
            # Lines without a head have no lane.
            without = set(odd)
            heads = [None if i in without else head for i, head in enumerate(heads)]
        self._gather(rows, self._lanes.find(heads, rows.tails), numbers)
        self._wait(len(numbers), filter(None, self._lanes.find(heads, rows.tails)))
        return len(numbers) + rows.empty

    def _grouped(self, data: bytes) -> int:
        """Take lines that come in groups, all with lanes; 0 and none taken if not."""
        if len(data) < GROUPED:
            return 0
        if self._pause:
            self._pause -= 1
            return 0
        groups = grouping.group(data) or []
        lanes = [self._lanes.get(head, tail) for head, tail, _ in groups]
        found = [lane for lane in lanes if lane is not None]
        if not groups or len(found) < len(groups):
            self._pause = self._next_pause
            self._next_pause = min(2 * self._next_pause + 1, LONGEST_PAUSE)
            return 0
        self._next_pause = 0
        for lane, (_, _, numbers) in zip(found, groups, strict=True):
            lane.extend(numbers)
        lines = sum(len(numbers) for _, _, numbers in groups)
        self._wait(lines, found)
        return lines

    def _wait(self, lines: int, touched: Iterable[SampleBuffer]) -> None:
        """Let the numbers of so many lines wait in the lanes that they touched."""
        if lines * 4 < len(self._lanes):
            # Fewer lines than lanes: fold those that they touched and look at no other.
            self._lanes.fold(touched, self._arrived)
            return
        self._waiting += lines
        if self._waiting > max(ENOUGH, len(self._lanes)):
            self._lanes.fold(self._lanes, self._arrived)
            self._waiting = 0

    def _gather(
        self, rows: Columns, lanes: Iterator[SampleBuffer | None], numbers: list[float]
    ) -> None:
        """Put each number in its lane; lines without one go the plain path, in turn."""
        left = iter(numbers)
        # Looking up and gathering is all in C, 75 ns a line, where a loop takes twice
        # as long.  A None is what stops it; then it goes on behind, and finds the lane
        # that has been made meanwhile.
        gathering = map(list.append, lanes, left)  # type: ignore[arg-type]
        while True:
            try:
                deque(gathering, maxlen=0)
                return
            except TypeError:
                index = len(numbers) - 1 - length_hint(left)
            try:
                self._odd(rows, index)
            except Exception as error:
                self._bugs.report(error)

    def _odd(self, rows: Columns, index: int) -> None:
        head, value, tail = rows.heads[index], rows.values[index], rows.tails[index]
        # It has one if only its value is odd.
        lane = self._lanes.get(head, tail) if tail else None
        if lane is not None and self._late(lane, value):
            return
        before = self._store.created_total
        parsed = self._line(rows.line(index))
        # A name that came once may never come again.
        if tail and lane is None and parsed and self._store.created_total == before:
            self._learn(head, value, tail, parsed)

    def _late(self, lane: SampleBuffer, value: bytes) -> bool:
        """Put one number in its lane; False if that is more than a lane can do."""
        number = columns.number(value)
        if number is None:
            return False
        kind = lane.way.kind
        if value[:1] not in b"+-" or kind is SampleType.OBSERVER:
            lane.append(number)
            self._waiting += 1
        elif kind is SampleType.GAUGE:
            self._lanes.change(lane, number, self._arrived)
        else:
            return False
        return True

    def _learn(self, head: bytes, value: bytes, tail: bytes, parsed: Parsed) -> None:
        """Make a lane of what the plain path said of a line, if it is that simple."""
        number = columns.number(value)
        if number is None or parsed.attempted != 1 or len(parsed.samples) != 1:
            return
        sample = parsed.samples[0]
        if sample.type is SampleType.SET or not self._lanes.has_room(head, tail):
            return
        one = self._one(tail)
        if one is None or not _is_multiple(sample, number, one):
            return
        match = self.table.look_up_uncached(sample.type, sample.name)
        way = SampleFormat(
            kind=sample.type,
            action=match.action,
            unit=1 / one,
            scale=match.options.scale,
            weight=sample.weight,
            is_tagged=bool(parsed.tagged),
            tag_errors=parsed.tag_errors,
            source=self._source(head),
        )
        if match.action is Action.DROP:
            self._lanes.add(head, tail, way, None, "")
            return
        series = self._store.find(match.spec(sample.labels))
        # With another scale, whose sign or size turns the order of values around, a
        # number alone does not tell whether it is refused.
        if series is not None and (way.scale is None or 0 < way.scale < math.inf):
            name = sample.name[:LONGEST] if match.action is Action.UNMAPPED else ""
            self._lanes.add(head, tail, way, series, name)

    def _what_one_means(self, tail: bytes) -> float | None:
        """Ask for the value of a 1; None if a tail makes anything else of it."""
        # No name has a say in that.
        samples = line.parse(b"x:1|%b" % tail, self._dialect).samples
        return samples[0].value if len(samples) == 1 else None

    def _source(self, head: bytes) -> str:
        # Without a dot the first segment is the whole line, and no source.
        first, dot, _ = head.partition(b".")
        return self._sources.get(first, "") if dot else ""

    def _count_folded(self) -> None:
        stats, lanes = self._stats, self._lanes
        for way, lines in lanes.folded.items():
            events = lines * way.weight
            self.fast_samples += lines
            stats.samples += lines
            stats.tags += lines * way.is_tagged
            stats.tag_errors += lines * way.tag_errors
            if way.source:
                stats.lines_by_source[way.source] += lines
            if way.action is Action.UNMAPPED:
                stats.unmapped += events
            else:
                stats.actions[way.action] += events
            if way.action is not Action.DROP:
                stats.events[way.kind] += events
        lanes.folded.clear()
        for seen, events in lanes.unmapped.items():
            self.unmapped_names.add(seen, events)
        lanes.unmapped.clear()
        for error in lanes.failures:
            self._bugs.report(error)
        lanes.failures.clear()


def _is_multiple(sample: Sample, number: float, one: float) -> bool:
    """Tell whether a value is to its number as one's value is to 1."""
    if not 0 < one < math.inf:
        return False
    value = number / (1 / one)
    if sample.type is SampleType.COUNTER:
        # A rate may leave a last digit's difference in a sum.
        return math.isclose(value, sample.value)
    # A bucket is a sharp border.
    return value == sample.value


def _pieces(data: bytes) -> Iterator[bytes]:
    """Cut a large batch between lines."""
    start = 0
    while len(data) - start > PIECE:
        end = data.rfind(b"\n", start, start + PIECE)
        if end < 0:
            # A line that is longer than a piece.
            end = data.find(b"\n", start)
            if end < 0:
                break
        yield data[start:end]
        start = end + 1
    yield data[start:] if start else data
