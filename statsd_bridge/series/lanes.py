"""
Numbers on their way to series: batches of them, sorted by where they go.

    head        tail
    api.hits    c             -->  lane  [3.0, 1.0, 1.0]     -->  counter   + 5
    api.time    ms|@0.1       -->  lane  [12.5, 8.25]        -->  histogram, 10 of each

Everything of a line but its value decides on the series, so the way to it is looked up
once and kept: a lane.  A lane only gathers; `fold` hands all that it has gathered to
the series at once, which costs a fraction of one by one.  Who folds says when.

- A lane leads to a series that exists; it never makes one, and never outlives one.
- A gauge has one lane at most, so that nothing overtakes in it.
- Lanes are bounded in number and in bytes.  When there are too many the newcomers have
  none, and once in a while all are forgotten and those in use come back.
"""

from __future__ import annotations

from collections import Counter as Count
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import repeat
from operator import attrgetter

from statsd_bridge.model import SampleType
from statsd_bridge.series.base import CLOSED, SampleBuffer, SampleFormat, Series
from statsd_bridge.series.counter import Counter
from statsd_bridge.series.gauge import Gauge
from statsd_bridge.series.histogram import Histogram
from statsd_bridge.series.summary import Summary

MOST_WAYS = 1_000
"""Ways that are shared; senders choose rates."""

MOST = 100_000
"""Lanes; one with its key takes 250 bytes."""

MOST_UNMAPPED = 1_000
"""Names of one fold that no rule took, and that are told."""

LONGEST = 1_024
"""Bytes of head and tail of a lane."""

ROUNDS = 10
"""Newcomers for each lane before all are forgotten."""

_NONE: dict[bytes, SampleBuffer] = {}

_means = attrgetter(*SampleFormat.__slots__)


class SampleBuffers:
    """
    All of them.

    What was folded is told until somebody takes it out: lines in `folded`, observations
    of names that no rule took in `unmapped`, bugs of ours in `failures`.
    """

    def __init__(self) -> None:
        self.folded: Count[SampleFormat] = Count()
        self.unmapped: Count[tuple[str, SampleType]] = Count()
        self.failures: list[Exception] = []
        self._tables: dict[bytes | None, dict[bytes, SampleBuffer]] = {}
        self._ways: dict[tuple[object, ...], SampleFormat] = {}
        self._count = 0
        self._turned_away = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[SampleBuffer]:
        for table in self._tables.values():
            yield from table.values()

    def find(
        self, heads: Iterable[bytes | None], tails: Iterable[bytes | None]
    ) -> Iterator[SampleBuffer | None]:
        """Find the lane of each line when it is asked for; None if it has none."""
        tables = map(self._tables.get, tails, repeat(_NONE))
        return map(dict.get, tables, heads)  # type: ignore[arg-type]

    def get(self, head: bytes, tail: bytes) -> SampleBuffer | None:
        """Find one."""
        return self._tables.get(tail, _NONE).get(head)

    def has_room(self, head: bytes, tail: bytes) -> bool:
        """Tell whether there is room for a newcomer, and note it if there is none."""
        if len(head) + len(tail) > LONGEST:
            return False
        if self._count < MOST:
            return True
        self._turned_away += 1
        return False

    def add(
        self,
        head: bytes,
        tail: bytes,
        way: SampleFormat,
        series: Series | None,
        name: str,
    ) -> None:
        """Lead a head and a tail to a series."""
        other = series.lane if series is not None else None
        if other is CLOSED or (other is not None and isinstance(series, Gauge)):
            return
        lane = SampleBuffer(head, tail, self._shared(way), series, name)
        self._tables.setdefault(tail, {})[head] = lane
        self._count += 1
        if series is not None:
            series.lane = lane

    def to(self, series: Series) -> Iterator[SampleBuffer]:
        """List those that lead to a series."""
        lane = series.lane
        while lane is not None:
            yield lane
            lane = lane.other

    def close(self, series: Series, now: float) -> None:
        """Fold the lanes of a series; from now on it has none."""
        self.fold(self.to(series), now)
        self.forget(series)
        series.lane = CLOSED

    def forget(self, series: Series) -> None:
        """Drop all that lead to a series, empty as they must be."""
        for lane in self.to(series):
            if lane is CLOSED:
                continue
            table = self._tables[lane.tail]
            del table[lane.head]
            if not table:
                del self._tables[lane.tail]
            self._count -= 1
        series.lane = None

    def clear(self) -> None:
        """Drop all, empty as they must be."""
        for lane in self:
            if lane.series is not None:
                lane.series.lane = None
        self._tables.clear()
        self._ways.clear()
        self._count = self._turned_away = 0

    def fold(self, lanes: Iterable[SampleBuffer], now: float) -> None:
        """Hand what has gathered to the series."""
        folded = self.folded
        # Only the newest are of interest, and a tuple for each of many lanes would have
        # the garbage collector look at all of them.
        unmapped: deque[tuple[str, SampleType, int]] = deque(maxlen=MOST_UNMAPPED)
        for lane in lanes:
            if lane:
                way, lines = lane.way, len(lane)
                folded[way] = folded.get(way, 0) + lines
                if lane.name:
                    unmapped.append((lane.name, way.kind, lines * way.weight))
                try:
                    _add(lane, way, now)
                except Exception as error:
                    self.failures.append(error)
                lane.clear()
        for name, kind, events in unmapped:
            self.unmapped[name, kind] += events

    def change(self, lane: SampleBuffer, number: float, now: float) -> None:
        """Change a gauge by a difference, after what its lane has gathered."""
        self.fold([lane], now)
        self.folded[lane.way] += 1
        if lane.name:
            self.unmapped[lane.name, lane.way.kind] += lane.way.weight
        if isinstance(lane.series, Gauge):
            lane.series.add(lane.way.values([number])[0])
            if lane.series.ttl:
                lane.series.last = now

    def _shared(self, way: SampleFormat) -> SampleFormat:
        means = _means(way)
        if len(self._ways) >= MOST_WAYS:
            return self._ways.get(means, way)
        return self._ways.setdefault(means, way)

    @property
    def are_stale(self) -> bool:
        """Tell whether so many were turned away that it is time to clear."""
        return self._turned_away > ROUNDS * MOST


def _add(lane: SampleBuffer, way: SampleFormat, now: float) -> None:
    series = lane.series
    if series is None:
        return
    if series.ttl:
        series.last = now
    match series:
        case Counter():
            series.add(sum(way.values(lane)))
        case Gauge():
            series.set(way.values(lane[-1:])[0])
        case Histogram() if way.scale is None:
            series.observe_all(lane, way.unit, way.weight)
        case Histogram():
            series.observe_all(way.values(lane), 1.0, way.weight)
        case Summary():
            series.observe_all(way.values(lane), way.weight, now)
