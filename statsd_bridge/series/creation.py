"""How series are made, and the time of creation, which pages show as a timestamp."""

from __future__ import annotations

from typing import Final, final

from statsd_bridge.memory import Account
from statsd_bridge.model import Clock, MetricOptions, MetricType
from statsd_bridge.series.base import GrowingSeries, Series
from statsd_bridge.series.counter_gauge import Counter, Gauge
from statsd_bridge.series.histogram import Histogram
from statsd_bridge.series.native_policy import NativePolicy
from statsd_bridge.series.rotation import Rotation
from statsd_bridge.series.set import MemberHash, UniqueSet
from statsd_bridge.series.summary import Summary

SHARED_SECONDS = 0.01
"""Series that are created within this time have the same time, as one object."""


class CreationClock:
    """
    The Unix time by a wall clock, which may be set back.

    A float of its own would take 24 bytes a series, and the wall clock 50 ns.
    """

    __slots__ = ("_time", "_until", "_wall_clock")

    def __init__(self, wall_clock: Clock) -> None:
        self._wall_clock = wall_clock
        self._time = 0.0
        self._until = float("-inf")

    def time(self, now: float) -> float:
        """Return the Unix time of a series that is created at `now`, of any clock."""
        if now >= self._until:
            self._time = self._wall_clock()
            self._until = now + SHARED_SECONDS
        return self._time


# To look up a member in its Enum takes 0.1 us, once or twice for each new series.
_COUNTER: Final = MetricType.COUNTER
_GAUGE: Final = MetricType.GAUGE
_HISTOGRAM: Final = MetricType.HISTOGRAM


@final
class SeriesFactory:
    """Makes series; those that grow are also put into `growing`."""

    __slots__ = (
        "_account",
        "_clock",
        "_created",
        "_growing",
        "_native",
        "_now",
        "_set_hash",
        "_set_window",
        "made",
    )

    def __init__(
        self,
        *,
        native: NativePolicy,
        growing: Rotation,
        account: Account,
        set_window: float,
        set_hash: MemberHash,
        wall_clock: Clock,
    ) -> None:
        self.made = 0
        """Series ever made."""
        self._native = native
        self._growing = growing
        self._account = account
        self._set_window = set_window
        self._set_hash = set_hash
        self._clock = CreationClock(wall_clock)
        self._now = self._created = -1.0

    def make(self, options: MetricOptions, now: float) -> Series:
        """Return a new series."""
        type = options.type
        series: Series
        if type is _COUNTER:
            series = Counter(options)
        elif type is _GAUGE:
            series = Gauge(options)
        elif type is _HISTOGRAM:
            generation = self._native.generation if options.native else None
            series = Histogram(options, generation)
        else:
            series = self._make_growing(options, now)
        if now != self._now:
            # The same for all series of a batch.
            self._now, self._created = now, self._clock.time(now)
        series.created = self._created
        self.made += 1
        return series

    def _make_growing(self, options: MetricOptions, now: float) -> GrowingSeries:
        series: GrowingSeries
        if options.type is MetricType.SUMMARY:
            series = Summary(options, now, self._account)
        else:
            series = UniqueSet(
                options, self._set_window, self._account, hash_of=self._set_hash
            )
        self._growing.add(series)
        return series
