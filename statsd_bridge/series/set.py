"""Members to the number of distinct ones in the last while."""

from __future__ import annotations

from statsd_bridge.model import MetricOptions
from statsd_bridge.series.base import Series

MOST_MEMBERS = 10_000


class UniqueSet(Series):
    """
    The members of one set, each with the time it was last seen.

    Holds at most `MOST_MEMBERS`; beyond that a new member pushes out the one seen the
    longest ago, so the number shown never exceeds the bound.
    """

    __slots__ = ("members", "window")

    def __init__(self, form: MetricOptions, window: float) -> None:
        super().__init__(form)
        self.window = window
        # In the order in which they were last seen; only hashes, so that a member's
        # length costs nothing.
        self.members: dict[int, float] = {}

    def add(self, member: str, now: float) -> None:
        """Note that a member was seen."""
        key = hash(member)
        self.members.pop(key, None)
        self.members[key] = now
        if len(self.members) > MOST_MEMBERS:
            del self.members[next(iter(self.members))]

    def values(self, now: float) -> tuple[float, ...]:
        """Give the number of members seen within the window."""
        while self.members:
            oldest = next(iter(self.members))
            if self.members[oldest] > now - self.window:
                break
            del self.members[oldest]
        return (float(len(self.members)),)
