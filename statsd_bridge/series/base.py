"""
What every series has, whatever its shape, and the lanes that lead numbers to it.

    lane  <-->  series      each knows the other; what they do is in lanes.py
"""

from __future__ import annotations

from dataclasses import dataclass

from statsd_bridge.model import Action, MetricOptions, SampleType


class Series:
    """
    Slots and no more: there may be a million of these.

    `ttl` is the one in force, which a reload may have changed since the form was made;
    `last` is when a series with a time to live was updated, on the store's clock.  Both
    are the store's.  `lane` is the last one that leads here, if there are any.
    """

    __slots__ = ("options", "lane", "last", "ttl")

    def __init__(self, form: MetricOptions) -> None:
        self.options = form
        self.ttl = 0.0
        self.last = 0.0
        self.lane: SampleBuffer | None = None


@dataclass(slots=True, eq=False)
class SampleFormat:
    """
    What the numbers of a lane mean, and what they count as: shared by many lanes.

    A value is `number / unit * scale`, and stands for `weight` observations.  Ways are
    told apart by identity, since to hash their fields takes a microsecond.  None ever
    changes; a frozen one takes another microsecond to make.
    """

    kind: SampleType
    action: Action
    unit: float = 1.0
    scale: float | None = None
    weight: int = 1
    is_tagged: bool = False
    tag_errors: int = 0
    source: str = ""

    def values(self, numbers: list[float]) -> list[float]:
        """Turn the numbers of lines into values."""
        unit, scale = self.unit, self.scale
        if unit != 1.0:
            numbers = [number / unit for number in numbers]
        if scale is not None:
            numbers = [number * scale for number in numbers]
        return numbers


class SampleBuffer(list[float]):
    """
    The numbers that wait, in the order in which they came.

    A list itself, since a million lanes would need a second object each otherwise.
    `series` is None where the rules drop the name.
    """

    __slots__ = ("head", "name", "other", "series", "tail", "way")

    def __init__(
        self,
        head: bytes,
        tail: bytes,
        way: SampleFormat,
        series: Series | None,
        name: str = "",
    ) -> None:
        self.head = head
        self.tail = tail
        self.way = way
        self.series = series
        self.name = name
        """As sent, of a lane that no rule took."""
        self.other: SampleBuffer | None = series.lane if series is not None else None
        """The next one that leads to the same series."""


CLOSED = SampleBuffer(b"", b"", SampleFormat(SampleType.COUNTER, Action.DROP), None)
"""In the place of the lanes of a series that must not have any."""
