"""What all metric types have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from statsd_bridge.model import MetricOptions, Sample


@dataclass(slots=True, eq=False)
class LabelSet:
    """Label names that at least one series of a family has."""

    names: tuple[str, ...]
    options: MetricOptions
    """Those of the first series with these names; they hold for the later ones, too."""
    series: int = 0
    """Number of series with these names."""


class Series:
    """
    A time series.  There may be a million of them, so they have slots and little more.

    `ttl` is that of the last sample's rule, in seconds, 0 for no expiry.  With a ttl,
    `last_update` is the time of the last sample, and `due` the time at which the store
    checks whether the series has expired; both are on the store's clock.  `label_set`
    is set by the family.
    """

    __slots__ = ("due", "label_set", "last_update", "options", "ttl")

    label_set: LabelSet

    def __init__(self, options: MetricOptions) -> None:
        self.options = options
        self.ttl = 0.0
        self.last_update = 0.0
        self.due = 0.0

    def record(self, sample: Sample, value: float, now: float) -> None:
        """Add a sample; `value` is its value after the rule's scale."""
        raise NotImplementedError

    def record_all(
        self, numbers: Sequence[float], divisor: float, weight: int, now: float
    ) -> None:
        """
        Add many samples, each `weight` times, none of them NaN or relative.

        The value of a sample is its number divided by `divisor`.
        """
        raise NotImplementedError

    def values(self, now: float) -> tuple[float, ...]:
        """
        Return the numbers that the page shows, in the order of its lines.

        Counter, gauge, set: the value.  Histogram: the cumulative count of each bucket
        and of +Inf, sum, count.  Summary: each quantile, ascending, sum, count.
        """
        raise NotImplementedError
