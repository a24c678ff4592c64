"""
Which histograms have native buckets: all from their first value on, none, or all while
there are scrapes in protobuf, the only format that shows them.

    start ---- histograms are created, with native buckets ----> no scrape for an hour
      ^                                                                  |
      '------ a scrape in protobuf <---- created without them <---- all are dropped

Those that are dropped do not come back: buckets never lack a value of their histogram.
"""

from __future__ import annotations

from collections.abc import Iterator

from statsd_bridge.memory import Account
from statsd_bridge.model import NativeMode
from statsd_bridge.series.families import Families
from statsd_bridge.series.family import MetricFamily
from statsd_bridge.series.histogram import Histogram
from statsd_bridge.series.native import NativeGeneration, NativeStats

MAX_IDLE_SECONDS = 3_600.0
"""Time without a scrape in protobuf after which native buckets are dropped."""

STEPS_PER_HISTOGRAM = 2
"""To release the pages of one takes 3 us, longer than other steps of expiry."""


class NativePolicy:
    """
    Decides for one store.  `generation` is what a new histogram gets.

    `now` is on the store's clock, in seconds.
    """

    def __init__(self, mode: NativeMode, account: Account, now: float) -> None:
        self.stats = NativeStats()
        self.generation: NativeGeneration | None = None
        self._mode = mode
        self._account = account
        self._last_needed = now
        # Looks at one more series, or a family, at each step.
        self._drops: Iterator[None] | None = None
        if mode is not NativeMode.OFF:
            self.generation = NativeGeneration(account, self.stats)

    def note_scrape(self, now: float) -> None:
        """Note that a page in protobuf was asked for: new histograms get buckets."""
        self._last_needed = now
        if self.generation is None and self._mode is NativeMode.AUTO:
            self.generation = NativeGeneration(self._account, self.stats)

    def expire(self, families: Families, now: float, max_steps: int) -> None:
        """Drop buckets that no scrape shows; give back the memory of some of them."""
        generation, is_idle = (
            self.generation,
            now - self._last_needed > MAX_IDLE_SECONDS,
        )
        if generation and is_idle and self._mode is NativeMode.AUTO:
            # From here on no page shows them.
            generation.is_dropped = True
            self.generation = None
            self._drops = _drop_all(list(families.values()))
        while self._drops and max_steps > 0:
            max_steps -= STEPS_PER_HISTOGRAM
            if next(self._drops, self) is self:
                self._drops = None

    def is_done(self) -> bool:
        """Return whether the memory of all that are dropped is given back."""
        return self._drops is None


def _drop_all(families: list[MetricFamily]) -> Iterator[None]:
    for family in families:
        yield
        # Copied, since series may be created and expire between the steps.
        for series in list(family.series.values()):
            if not isinstance(series, Histogram):
                break
            series.release_dropped_native()
            yield
