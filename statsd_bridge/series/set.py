"""Sets: the number of distinct members within a window of time."""

from __future__ import annotations

from statsd_bridge.model import MetricOptions, Sample
from statsd_bridge.series.base import Series

MAX_MEMBERS = 10_000


class UniqueSet(Series):
    """
    The members of a set, each with the time of its last sample.

    Beyond `MAX_MEMBERS` a new member replaces the one that was seen the longest ago.
    """

    __slots__ = ("members", "window")

    def __init__(self, options: MetricOptions, window: float) -> None:
        super().__init__(options)
        self.window = window
        # In the order of their last samples.  Only hashes are kept, so the length of a
        # member costs nothing.
        self.members: dict[int, float] = {}

    def record(self, sample: Sample, _value: float, now: float) -> None:
        """Note that a member was seen."""
        key = hash(sample.member)
        self.members.pop(key, None)
        self.members[key] = now
        if len(self.members) > MAX_MEMBERS:
            del self.members[next(iter(self.members))]

    def values(self, now: float) -> tuple[float, ...]:
        """Return the number of members seen within the window, and drop the others."""
        while self.members:
            oldest = next(iter(self.members))
            if self.members[oldest] > now - self.window:
                break
            del self.members[oldest]
        return (float(len(self.members)),)
