"""A time series: what counter, gauge, histogram, summary and set have in common."""

from __future__ import annotations

from collections.abc import Sequence
from sys import getsizeof
from typing import TYPE_CHECKING

from statsd_bridge.memory import Account
from statsd_bridge.model import MetricOptions, Sample, SampleFormat

if TYPE_CHECKING:
    from statsd_bridge.series.family import LabelNames


class Series:
    """
    A time series.  There may be a million of them, so they have slots and little more.

    `ttl` is that of the last sample's rule, in seconds, 0 for no expiry.  With a ttl,
    `last_update` is the time of the last sample, and `due` the time at which the store
    checks whether the series has expired; both are on the store's clock.  `label_names`
    is set by the family, `created`, a Unix time, by the store.  `line_key` and
    `line_format` belong to fastpath/known.py.  `encoded` is what pages in protobuf keep
    of the series, charged to `MemoryBudget.encoded`.
    """

    __slots__ = (
        "created",
        "due",
        "encoded",
        "label_names",
        "last_update",
        "line_format",
        "line_key",
        "options",
        "ttl",
    )

    label_names: LabelNames
    line_key: bytes

    def __init__(self, options: MetricOptions) -> None:
        self.options = options
        self.ttl = 0.0
        self.last_update = 0.0
        self.due = 0.0
        self.line_format: SampleFormat | None = None
        self.created = 0.0
        self.encoded = b""

    def record(self, sample: Sample, value: float, now: float) -> None:
        """Add a sample; `value` is its value after the rule's scale."""
        self.add(value, sample.weight, now)

    def add(self, value: float, weight: int, now: float) -> None:
        """Add a value `weight` times; it is not relative."""
        raise NotImplementedError

    def add_first(self, value: float, weight: int, now: float) -> None:
        """Add the first value of a new series, like `add`."""
        self.add(value, weight, now)

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

    def last_numbers(self, _now: float) -> str:
        """Return the text of `keep_numbers` if it still holds, else nothing."""
        return ""

    def keep_numbers(self, text: str, kept: Account) -> None:
        """Keep the numbers of a page as text, charged to `kept`; or do nothing."""

    def last_family(self, _now: float) -> str:
        """Return the text of `keep_family` if it still holds, else nothing."""
        return ""

    def keep_family(self, text: str, kept: Account) -> None:
        """Keep the text of a family of one series, charged to `kept`, or nothing."""

    def last_encoded(self, _now: float) -> bytes:
        """Return the metric of `keep_encoded` if it still holds, else nothing."""
        return b""

    def last_message(self, _now: float) -> bytes:
        """Return the message of `keep_encoded` if it still holds, else nothing."""
        return b""

    def keep_encoded(
        self, kept: Account, *, metric: bytes = b"", message: bytes = b""
    ) -> None:
        """
        Keep the metric of a page in protobuf, charged to `kept`; or do nothing.

        Of a family of one series keep the whole message.
        """

    def kept_bytes(self) -> int:
        """Return what pages keep of the series, charged to `MemoryBudget.encoded`."""
        return getsizeof(self.encoded) if self.encoded else 0

    @property
    def is_ordered(self) -> bool:
        """Whether the order of its samples matters."""
        return False

    def may_be_negative(self, _now: float) -> bool:
        """Return whether a number is negative or NaN that OpenMetrics forbids to be."""
        return False


class GrowingSeries(Series):
    """A series whose samples can take memory, which `expire` gives back."""

    __slots__ = ()

    def has_room_for(self, sample: Sample) -> bool:
        """Return whether the memory budget allows a sample."""
        raise NotImplementedError

    def page_lines(self, now: float) -> int:
        """Return the lines of counters that take as long on a page."""
        raise NotImplementedError

    def expire(self, now: float) -> int:
        """Remove values older than the window; return their number."""
        raise NotImplementedError

    def release(self) -> None:
        """Give back all memory, when the series is removed."""
        raise NotImplementedError
