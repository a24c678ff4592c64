"""
Summaries: quantiles of the observations within a sliding window.

The window of `max_age` seconds is divided into `age_buckets` parts with a sketch each.
An observation goes to the newest sketch only; quantiles are those of all sketches
merged, and their errors add up to the same share.  The oldest sketch is dropped whole.

    |  sketch  |  sketch  |  sketch  |  sketch  | now, filling |
    '---------------------- max_age ---------------------------'

Sum and count are those of all observations, without a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from statsd_bridge.model import MetricOptions, Sample
from statsd_bridge.series import sketch
from statsd_bridge.series.base import Series
from statsd_bridge.series.sketch import Entry, Sketch

# With an error of 0 a sketch would keep every value.
MIN_ERROR = 0.0005


class Summary(Series):
    """A summary."""

    __slots__ = ("count", "error", "next_sketch", "sketches", "sum")

    def __init__(self, options: MetricOptions, now: float) -> None:
        super().__init__(options)
        self.sum = 0.0
        self.count = 0
        errors = [each.error for each in options.quantiles]
        # Half, since compressing and answering may each be off by that much.
        self.error = max(MIN_ERROR, min(errors, default=1.0)) / 2
        self.sketches: list[Sketch] = [Sketch(self.error)]
        self.next_sketch = now + self._sketch_seconds

    @property
    def _sketch_seconds(self) -> float:
        return self.options.max_age / self.options.age_buckets

    def record(self, sample: Sample, value: float, now: float) -> None:
        """Add an observation; NaN has no rank and only counts in sum and count."""
        self.sum += value * sample.weight
        self.count += sample.weight
        if value == value:
            self._start_sketches(now)
            self.sketches[-1].add(value, sample.weight)

    def record_all(
        self, numbers: Sequence[float], divisor: float, weight: int, now: float
    ) -> None:
        """Add many observations, `weight` times each."""
        values = [number / divisor for number in numbers]
        self.sum += sum(values) * weight
        self.count += len(values) * weight
        self._start_sketches(now)
        self.sketches[-1].add_all(values, weight)

    def values(self, now: float) -> tuple[float, ...]:
        """Return each quantile, NaN if the window is empty, then sum and count."""
        self._start_sketches(now)
        for each in self.sketches:
            each.merge_pending()
        none: list[Entry] = []
        entries = reduce(sketch.merge, (each.entries for each in self.sketches), none)
        count = sum(each.count for each in self.sketches)
        quantiles = [
            sketch.quantile(entries, count, each.quantile)
            for each in self.options.quantiles
        ]
        return (*quantiles, self.sum, self.count)

    def _start_sketches(self, now: float) -> None:
        """Start a sketch for each part of the window that began; drop the oldest."""
        if now < self.next_sketch:
            return
        started = int((now - self.next_sketch) / self._sketch_seconds) + 1
        limit = self.options.age_buckets
        new = [Sketch(self.error) for _ in range(min(started, limit))]
        self.sketches = (self.sketches + new)[-limit:]
        self.next_sketch += started * self._sketch_seconds
