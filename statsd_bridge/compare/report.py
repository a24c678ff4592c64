"""A comparison as text for people, or as JSON values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from statsd_bridge.compare.differences import Comparison, Difference
from statsd_bridge.compare.page import Series
from statsd_bridge.errors import escaped
from statsd_bridge.syntax import escape_label_value

MAX_LISTED: Final = 1_000
"""Differences that are listed; all are counted."""

LEFT_OUT: Final = {
    "expired": "expired in one of them meanwhile",
    "new": "first seen at the end, or in one page only",
    "idle": "without a sample since the bridge was started",
}


def as_text(comparison: Comparison) -> str:
    """Return one line for each difference, then what was compared, then the verdict."""
    return "".join(f"{line}\n" for line in _lines(comparison))


def _lines(comparison: Comparison) -> Iterator[str]:
    found = sorted(comparison.differences, key=lambda each: each.row is not None)
    for each in found[:MAX_LISTED]:
        yield _line(each)
    if len(found) > MAX_LISTED:
        yield f"and {len(found) - MAX_LISTED} more differences"
    yield (
        f"compared for {comparison.seconds:.0f} s: {comparison.series} series,"
        f" of which {comparison.moved} changed"
    )
    for reason, count in sorted(comparison.left_out.items()):
        yield f"not compared: {count} series {LEFT_OUT[reason]}"
    unexplained = sum(each.row is None for each in found)
    if comparison.is_safe:
        yield "safe to switch"
    else:
        are = "difference is" if unexplained == 1 else "differences are"
        yield f"not safe to switch: {unexplained} {are} unexplained"


def _line(difference: Difference) -> str:
    sides = ", ".join(
        f"{who} {what}"
        for who, what in (("theirs", difference.theirs), ("ours", difference.ours))
        if what
    )
    why = "unexplained"
    if difference.row is not None:
        why = f"row {difference.row} of docs/compatibility.md"
    series = escaped(text_of(difference.series))
    return f"{difference.kind}: {series}: {sides}: {why}"


def text_of(series: Series) -> str:
    """Return a series as a page shows it."""
    labels = ",".join(
        f'{name}="{escape_label_value(value)}"' for name, value in series.labels
    )
    return f"{series.name}{{{labels}}}" if labels else series.name


def as_json(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as JSON values."""
    return {
        "safe": comparison.is_safe,
        "seconds": round(comparison.seconds, 1),
        "series": comparison.series,
        "changed": comparison.moved,
        "left_out": comparison.left_out,
        "truncated": len(comparison.differences) > MAX_LISTED,
        "differences": [
            {
                "kind": each.kind,
                "name": each.series.name,
                "labels": dict(each.series.labels),
                "theirs": each.theirs,
                "ours": each.ours,
                "row": each.row,
            }
            for each in comparison.differences[:MAX_LISTED]
        ],
    }
