"""
Summaries: quantiles of the observations within a sliding window.

The window of `max_age` seconds is divided into `age_buckets` parts, at most MAX_PARTS,
with a sketch each.  An observation goes to the newest sketch only; quantiles are those
of all sketches, and their errors add up to the same share.  The oldest sketch is
dropped whole.

    |  sketch  |  sketch  |  sketch  |  sketch  | now, filling |
    '---------------------- max_age ---------------------------'

Sum and count are those of all observations, without a window.

A sketch grows with its values.  Without room in the memory budget it keeps its size,
and the quantiles become less exact, which the account counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from statsd_bridge.memory import Account
from statsd_bridge.model import MetricOptions, Sample
from statsd_bridge.series.base import GrowingSeries
from statsd_bridge.series.shown import OUTDATED, ShownSeries
from statsd_bridge.series.sketch import (
    ENTRY_BYTES,
    MAX_PENDING,
    SKETCH_BYTES,
    VALUE_BYTES,
    Sketch,
    quantiles,
)

# With an error of 0 a sketch would keep every value.
MIN_ERROR = 0.0005

MAX_PARTS = 20
"""Parts of a window: a page costs a search in each, whatever `age_buckets` is."""

QUANTILE_LINES = 4
"""A quantile of few values takes the time of this many lines of counters."""

SEARCH_LINES = 10
"""The search for a rank in one sketch takes the time of this many lines."""

VALUES_PER_LINE = 20
"""Values that are sorted in the time of a line."""


class Summary(ShownSeries, GrowingSeries):
    """
    A summary; `number` is that of the newest part, which ends at `part_end`.

    `window_values` are each quantile and the least value in the window, as long as the
    sketches are the same: most summaries have no sample between two pages.
    """

    __slots__ = (
        "account",
        "count",
        "error",
        "number",
        "part_end",
        "sketches",
        "sum",
        "window_values",
    )

    def __init__(self, options: MetricOptions, now: float, account: Account) -> None:
        super().__init__(options)
        self.account = account
        self.sum = 0.0
        self.count = 0
        errors = [each.error for each in options.quantiles]
        # Half, since the span of an entry is twice the error.
        self.error = max(MIN_ERROR, min(errors, default=1.0)) / 2
        self.number = 0
        self.part_end = now + self._part_seconds
        # Only parts with values, oldest first.  The size of a summary includes one.
        self.sketches: list[Sketch] = []
        self.window_values: tuple[float, ...] | None = None
        self.shown = None

    @property
    def _parts(self) -> int:
        return min(self.options.age_buckets, MAX_PARTS)

    @property
    def _part_seconds(self) -> float:
        return self.options.max_age / self._parts

    def add(self, value: float, weight: int, now: float) -> None:
        """Add an observation; NaN has no rank and only counts in sum and count."""
        self.sum += value * weight
        self.count += weight
        if value == value:
            sketch = self._newest_sketch(now, weight)
            sketch.add(value, weight)
            if sketch.is_full():
                self._grow(sketch)

    def record_all(
        self, numbers: Sequence[float], divisor: float, weight: int, now: float
    ) -> None:
        """Add many observations, `weight` times each."""
        values = [number / divisor for number in numbers]
        self.sum += sum(values) * weight
        self.count += len(values) * weight
        sketch = self._newest_sketch(now, weight)
        sketch.add_all(values, weight)
        if sketch.is_full():
            self._grow(sketch)

    def values(self, now: float) -> tuple[float, ...]:
        """Return each quantile, NaN if the window is empty, then sum and count."""
        return (*self._window_values(now)[:-1], self.sum, self.count)

    def observations(self, now: float) -> int:
        """Return the count of observations; outdate quantiles whose window turned."""
        if now >= self.part_end:
            self.expire(now)
        return self.count

    def _count(self) -> int:
        return self.count

    def may_be_negative(self, now: float) -> bool:
        """Return whether the sum is negative or NaN, or a value in the window is."""
        return not self.sum >= 0 or self._window_values(now)[-1] < 0

    def _window_values(self, now: float) -> tuple[float, ...]:
        """Return each quantile and the least value; NaN and inf without any."""
        if now >= self.part_end:
            self.expire(now)
        values = self.window_values
        if values is None:
            shares = [each.quantile for each in self.options.quantiles]
            least = min([each.least() for each in self.sketches], default=inf)
            values = (*quantiles(self.sketches, shares), least)
            self.window_values = values
        return values

    def has_room_for(self, _sample: Sample) -> bool:
        """Return True: without memory the quantiles become less exact."""
        return True

    def page_lines(self, now: float) -> int:
        """Return the lines of counters that take as long on a page."""
        if now < self.part_end and self.window_values is not None:
            shown = self.shown
            if shown is not None and shown.count == self.count:
                return 2
            return 3 + len(self.window_values)
        waiting = sum(len(each.pending) for each in self.sketches)
        searched = sum(each.entry_capacity > 0 for each in self.sketches)
        lines = QUANTILE_LINES + SEARCH_LINES * searched
        return 3 + lines * len(self.options.quantiles) + waiting // VALUES_PER_LINE

    def expire(self, now: float) -> int:
        """Remove the sketches older than the window; return their number."""
        if now < self.part_end:
            return 0
        seconds = self._part_seconds
        passed = int((now - self.part_end) / seconds) + 1
        self.number += passed
        self.part_end += passed * seconds
        oldest = self.number - self._parts + 1
        dropped = sum(each.number < oldest for each in self.sketches)
        self._drop(dropped)
        return dropped

    def release(self) -> None:
        """Drop all sketches, when the series is removed."""
        self._drop(len(self.sketches))

    def restore(
        self, sum: float, count: int, part_end: float, sketches: Sequence[Sketch]
    ) -> None:
        """
        Take the observations of an earlier run; there must be none yet.

        The sketches are oldest first, and the newest part has the number 0.  Without
        memory for all of them the window becomes shorter.
        """
        self.sum, self.count, self.part_end = sum, count, part_end
        size = SKETCH_BYTES
        for sketch in reversed(sketches):
            if not self.account.reserve(sketch.size - size):
                self.account.denied += 1
                break
            size = 0
            sketch.error = self.error
            self.sketches.insert(0, sketch)

    def _newest_sketch(self, now: float, weight: int) -> Sketch:
        """Return the sketch for observations of this time and weight."""
        self.expire(now)
        self.window_values = None
        if self.sketches and self.sketches[-1].number == self.number:
            sketch = self.sketches[-1]
        else:
            sketch = self._new_sketch()
        if weight != 1 and sketch.weights is None:
            self._use_weights(sketch)
        return sketch

    def _new_sketch(self) -> Sketch:
        if self.sketches and not self.account.reserve(SKETCH_BYTES):
            # The window becomes shorter.
            self.account.denied += 1
            self._drop(1)
            if self.sketches:
                self.account.charge(SKETCH_BYTES)
        sketch = Sketch(self.error, self.number)
        self.sketches.append(sketch)
        return sketch

    def _use_weights(self, sketch: Sketch) -> None:
        before = sketch.size
        if not self.account.has_room(sketch.pending_capacity * VALUE_BYTES):
            # Half as many values and weights take the same memory.
            self.account.denied += 1
            sketch.pending_capacity //= 2
        sketch.use_weights()
        self.account.charge(sketch.size - before)

    def _drop(self, count: int) -> None:
        """Drop the oldest sketches; the last one's place stays with the series."""
        if not count:
            return
        dropped, self.sketches = self.sketches[:count], self.sketches[count:]
        self.window_values = None
        if self.shown is not None:
            self.shown.count = OUTDATED
        kept = 0 if self.sketches else SKETCH_BYTES
        self.account.release(sum(each.size for each in dropped) - kept)

    def _grow(self, sketch: Sketch) -> None:
        """Get memory for more values, or merge those that wait."""
        before = sketch.size
        needed = min(2 * len(sketch.pending), MAX_PENDING)
        columns = 1 if sketch.weights is None else 2
        more = (needed - sketch.pending_capacity) * VALUE_BYTES * columns
        if more > 0 and self.account.has_room(more):
            sketch.pending_capacity = needed
        if sketch.is_full():
            self._merge(sketch)
        self.account.charge(sketch.size - before)

    def _merge(self, sketch: Sketch) -> None:
        """Merge the values that wait; coarsen the sketch if there is no room."""
        if not sketch.entry_capacity and not self.account.has_room(
            len(sketch.pending) * ENTRY_BYTES
        ):
            self.account.denied += 1
            sketch.thin_pending()
            return
        sketch.merge_pending()
        entries = len(sketch.values)
        more = (entries - sketch.entry_capacity) * ENTRY_BYTES
        if more > 0 and not self.account.has_room(more):
            self.account.denied += 1
            sketch.coarsen(sketch.entry_capacity)
        else:
            sketch.entry_capacity = entries
