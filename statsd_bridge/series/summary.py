"""
Observations to quantiles over a sliding window.

The window of `max_age` seconds is cut into `age_buckets`.  Each has a sketch of its
own, so an observation is kept once; what is asked for is asked of all of them together,
and the errors add up to the same share.  The oldest is forgotten as a whole.

    |  sketch  |  sketch  |  sketch  |  sketch  | now, filling |
    '---------------------- max_age ---------------------------'

Sum and count are of everything ever seen.
"""

from __future__ import annotations

from functools import reduce

from statsd_bridge.model import MetricOptions
from statsd_bridge.series import sketch
from statsd_bridge.series.base import Series
from statsd_bridge.series.sketch import Entry, Sketch

# An error of 0 would keep every value.
LEAST_ERROR = 0.0005


class Summary(Series):
    """One summary."""

    __slots__ = ("count", "error", "sketches", "sum", "turns")

    def __init__(self, form: MetricOptions, now: float) -> None:
        super().__init__(form)
        self.sum = 0.0
        self.count = 0
        errors = [each.error for each in form.quantiles]
        # Half, since compressing and answering may each be off by that much.
        self.error = max(LEAST_ERROR, min(errors, default=1.0)) / 2
        self.sketches: list[Sketch] = [Sketch(self.error)]
        self.turns = now + self._stretch

    @property
    def _stretch(self) -> float:
        return self.options.max_age / self.options.age_buckets

    def observe(self, value: float, weight: int, now: float) -> None:
        """Take a value `weight` times; NaN has no rank and is in sum and count only."""
        self.sum += value * weight
        self.count += weight
        if value != value:
            return
        self._turn(now)
        self.sketches[-1].add(value, weight)

    def observe_all(self, values: list[float], weight: int, now: float) -> None:
        """Take many values, none of them NaN, `weight` times each."""
        self.sum += sum(values) * weight
        self.count += len(values) * weight
        self._turn(now)
        self.sketches[-1].add_all(values, weight)

    def values(self, now: float) -> tuple[float, ...]:
        """Give each quantile, NaN if the window is empty, then sum and count."""
        self._turn(now)
        for each in self.sketches:
            each.fold()
        none: list[Entry] = []
        entries = reduce(sketch.merge, (each.entries for each in self.sketches), none)
        seen = sum(each.count for each in self.sketches)
        quantiles = [
            sketch.quantile(entries, seen, each.quantile)
            for each in self.options.quantiles
        ]
        return (*quantiles, self.sum, self.count)

    def _turn(self, now: float) -> None:
        """Begin a new sketch for each stretch that has passed; forget the oldest."""
        if now < self.turns:
            return
        passed = int((now - self.turns) / self._stretch) + 1
        most = self.options.age_buckets
        fresh = [Sketch(self.error) for _ in range(min(passed, most))]
        self.sketches = (self.sketches + fresh)[-most:]
        self.turns += passed * self._stretch
