"""What every series has, whatever its shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from statsd_bridge.model import Form

if TYPE_CHECKING:
    from statsd_bridge.series.lanes import Lane


class Kept:
    """
    Slots and no more: there may be a million of these.

    `ttl` is the one in force, which a reload may have changed since the form was made;
    `last` is when a series with a time to live was updated, on the store's clock.  Both
    are the store's.  `lane` is the last one that leads here, if there are any.
    """

    __slots__ = ("form", "lane", "last", "ttl")

    def __init__(self, form: Form) -> None:
        self.form = form
        self.ttl = 0.0
        self.last = 0.0
        self.lane: Lane | None = None
