"""
Which row of docs/compatibility.md explains a difference that two pages show.

The rows keep their numbers.
"""

from __future__ import annotations

from typing import Final

from statsd_bridge.compare.page import Page, Series
from statsd_bridge.text_lengths import (
    MAX_LABEL_NAME_BYTES,
    MAX_LABEL_VALUE_BYTES,
    MAX_NAME_BYTES,
)

BLOCKED_NAMES: Final = 5
"""There, a gauge or counter `x` blocks `x_count`, `x_sum` and `x_bucket`."""

LINES: Final = 7
"""There, lines of some clients are errors."""

SETS: Final = 8
"""There, sets are refused."""

LIMITS: Final = 11
"""Ours refuses new series beyond its limits."""

TOO_LONG: Final = 20
"""Ours refuses longer names and labels than a limit."""

NAN_COUNTER: Final = 21
"""There, a counter can become NaN."""

QUOTA: Final = 36
"""Ours refuses series beyond the quota of a name."""

OTHER: Final = "other"
"""The name of refused series of which there are too many, or whose name is too long."""

_ENDS: Final = ("_count", "_sum", "_bucket")


def of_missing(series: Series, ours: Page) -> int | None:
    """Return the row that explains a series that ours does not have."""
    if ours.rejected & _too_long(series):
        return TOO_LONG
    reason = ours.refused.get(series.name) or ours.refused.get(OTHER)
    if reason is None:
        return None
    return QUOTA if reason == "quota" else LIMITS


def _too_long(series: Series) -> set[str]:
    """Return the reasons for which the default limits reject a series."""
    found = set()
    if _bytes(series.name) > MAX_NAME_BYTES:
        found.add("name_too_long")
    for name, value in series.labels:
        if _bytes(name) > MAX_LABEL_NAME_BYTES or _bytes(value) > MAX_LABEL_VALUE_BYTES:
            found.add("label_too_long")
    return found


def _bytes(text: str) -> int:
    return len(text.encode())


def of_extra(series: Series, type: str, theirs: Page, ours: Page) -> int | None:
    """Return the row that explains a series that only ours has."""
    if type == "gauge" and ours.has_sets and not theirs.has_sets:
        return SETS
    for end in _ENDS:
        owner = theirs.types.get(series.name.removesuffix(end))
        if series.name.endswith(end) and owner in ("gauge", "counter"):
            return BLOCKED_NAMES
    return LINES if theirs.errors > ours.errors else None
