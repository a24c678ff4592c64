"""
What the last page showed of a histogram or a summary, kept for the next one.

It is the text of its numbers, or the whole text of a short family of one series, and
after a page in protobuf its metric, or the whole message of such a family.

Many series have no sample between two pages, most of all those of names without rules:
their count is the same, and so are all other numbers.
"""

from __future__ import annotations

from sys import getsizeof
from typing import Final

from statsd_bridge.memory import Account
from statsd_bridge.series.base import Series

SHOWN_BYTES: Final = 150
"""Kept numbers, without their text or metric."""

OUTDATED: Final = -1
"""The count of numbers that have changed although no observation was made."""


class ShownNumbers:
    """
    Numbers of a page, and the count of the observations that they are of.

    `text` are the numbers, `family` is the text of the whole family, `metric` and
    `message` are the same in protobuf; there are several if pages in several formats
    are asked for.
    """

    __slots__ = ("count", "family", "message", "metric", "text")

    def __init__(
        self,
        count: int,
        *,
        text: str = "",
        family: str = "",
        metric: bytes = b"",
        message: bytes = b"",
    ) -> None:
        self.count = count
        self.text = text
        self.family = family
        self.metric = metric
        self.message = message

    def size(self) -> int:
        """Return the bytes that are charged."""
        encoded = len(self.metric) + len(self.message)
        return SHOWN_BYTES + len(self.text) + len(self.family) + encoded


class ShownSeries(Series):
    """A series that keeps what a page shows until its next observation."""

    __slots__ = ("shown",)

    shown: ShownNumbers | None

    def observations(self, now: float) -> int:
        """Return the count of observations, and outdate what changed without one."""
        raise NotImplementedError

    def last_numbers(self, now: float) -> str:
        """Return the numbers of the last page as text, if they are the same."""
        shown = self.shown
        if shown is None or self.observations(now) != shown.count:
            return ""
        return shown.text

    def keep_numbers(self, text: str, kept: Account) -> None:
        """Keep the numbers of a page as text, if `kept` has room."""
        self._keep(ShownNumbers(self._count(), text=text), kept)

    def last_family(self, now: float) -> str:
        """Return the text of the family on the last page, if it is the same."""
        shown = self.shown
        if shown is None or not shown.family or self.observations(now) != shown.count:
            return ""
        return shown.family

    def keep_family(self, text: str, kept: Account) -> None:
        """Keep the text of the family, whose only series it is, if `kept` has room."""
        self._keep(ShownNumbers(self._count(), family=text), kept)

    def last_encoded(self, now: float) -> bytes:
        """Return the metric of the last page in protobuf, if it is the same."""
        shown = self.shown
        if shown is None or self.observations(now) != shown.count:
            return b""
        return shown.metric

    def last_message(self, now: float) -> bytes:
        """Return the message of the last page in protobuf, if it is the same."""
        shown = self.shown
        if shown is None or self.observations(now) != shown.count:
            return b""
        return shown.message

    def keep_encoded(
        self, kept: Account, *, metric: bytes = b"", message: bytes = b""
    ) -> None:
        """Keep the metric or the message of a page in protobuf, if `kept` has room."""
        new = ShownNumbers(self._count(), metric=metric, message=message)
        self._keep(new, kept)

    def kept_bytes(self) -> int:
        """Return what pages keep of the series."""
        encoded, shown = self.encoded, self.shown
        size = getsizeof(encoded) if encoded else 0
        return size + (0 if shown is None else shown.size())

    def _count(self) -> int:
        """Return the count of observations."""
        raise NotImplementedError

    def _keep(self, new: ShownNumbers, kept: Account) -> None:
        old = self.shown
        if old is not None:
            kept.release(old.size())
            if old.count == new.count:
                new.text = new.text or old.text
                new.family = new.family or old.family
                new.metric = new.metric or old.metric
                new.message = new.message or old.message
        self.shown = new if kept.reserve(new.size()) else None
