"""What every series has, whatever its shape."""

from __future__ import annotations

from statsd_bridge.model import Form


class Kept:
    """
    Slots and no more: there may be a million of these.

    `ttl` is the one in force, which a reload may have changed since the form was made;
    `last` is when the series was updated, on the store's clock.  Both are the store's,
    `template` is exposition's.
    """

    __slots__ = ("form", "last", "template", "ttl")

    def __init__(self, form: Form) -> None:
        self.form = form
        self.template: str | None = None
        self.ttl = 0.0
        self.last = 0.0
