"""
What two programs have shown --> how they differ.

A counter is compared by its increase, a histogram by that of each bucket, of its sum
and count, a summary by that of sum and count, a gauge if it rests in both.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from statsd_bridge.compare import rows
from statsd_bridge.compare.history import History
from statsd_bridge.compare.page import COUNTING, SUM, VALUE, Page, Series

TOGETHER_SECONDS: Final = 60.0
"""Programs whose starts are not further apart have had the same lines."""

SUM_TOLERANCE: Final = 1e-9
"""Of a sum, relative: it is added in another order (row 19)."""

COUNT_TOLERANCE: Final = 1e-12
"""Of a count, relative: differences of large numbers are rounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """
    One difference; `theirs` and `ours` say what each shows.

    `kind` is missing, extra, type or value.  `row` is the row of docs/compatibility.md
    that explains it, None if none does.
    """

    kind: str
    series: Series
    theirs: str
    ours: str
    row: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The result: what differs, and what could not be compared."""

    seconds: float
    series: int
    moved: int
    differences: list[Difference]
    left_out: dict[str, int]

    @property
    def is_safe(self) -> bool:
        """Return whether each difference is explained."""
        return all(each.row is not None for each in self.differences)


def differences(history: History) -> tuple[list[Difference], dict[str, int]]:
    """Return the differences, and how many series were left out by reason."""
    found: list[Difference] = []
    left_out: Counter[str] = Counter()
    last = history.last
    ours = last.before.numbers.keys() | last.after.numbers.keys()
    for series in sorted(last.theirs.numbers.keys() | ours):
        reason = _reason_to_leave_out(history, series)
        if reason:
            left_out[reason] += 1
            continue
        differing = list(_compare_series(history, series))
        if differing and _may_have_expired(history, series, differing[0].kind):
            left_out["expired"] += 1
        else:
            found += differing
    return _one_type_each(found), dict(left_out)


def _one_type_each(found: list[Difference]) -> list[Difference]:
    """Keep one difference of type for each name."""
    types: set[str] = set()
    kept = []
    for each in found:
        if each.kind == "type":
            if each.series.name in types:
                continue
            types.add(each.series.name)
        kept.append(each)
    return kept


def _reason_to_leave_out(history: History, series: Series) -> str:
    """Return why a series cannot be compared, or nothing."""
    last = history.last
    in_theirs = series in last.theirs.numbers
    in_ours = series in last.before.numbers or series in last.after.numbers
    if in_theirs and in_ours:
        return "expired" if series in history.interrupted else ""
    gone_from = history.seen_in_ours if in_theirs else history.seen_in_theirs
    if series in gone_from:
        return "expired"
    if series not in history.steady:
        return "new"
    is_idle = in_theirs and series not in history.moved
    if is_idle and not _started_together(history.first.theirs, history.first.before):
        return "idle"
    return ""


def _may_have_expired(history: History, series: Series, kind: str) -> bool:
    """
    Return whether a count may have begun again between two pages, unseen.

    Its name has a ttl, and it had a pause, or both count the same since they began.
    """
    last = history.last
    if kind != "value" or series.name not in history.expiring:
        return False
    if last.theirs.types[series.name] not in COUNTING:
        return False
    theirs = last.theirs.numbers[series]
    before = last.before.numbers.get(series) or dict.fromkeys(theirs, 0.0)
    after = last.after.numbers.get(series) or before
    # Other buckets are a difference whatever they count.
    if not before.keys() == theirs.keys() == after.keys():
        return False
    return series in history.paused or all(
        _within(value, before[key], after[key], is_sum=key == SUM)
        for key, value in theirs.items()
    )


def _started_together(theirs: Page, ours: Page) -> bool:
    """Return whether ours has had all lines that theirs has had."""
    if theirs.started_at is None or ours.started_at is None:
        return True
    return ours.started_at - theirs.started_at <= TOGETHER_SECONDS


def _compare_series(history: History, series: Series) -> Iterator[Difference]:
    last = history.last
    theirs = last.theirs.numbers.get(series)
    if theirs is None:
        type = last.before.types[series.name]
        row = rows.of_extra(series, type, last.theirs, last.before)
        yield Difference(kind="extra", series=series, theirs="", ours=type, row=row)
        return
    type = last.theirs.types[series.name]
    our_type = last.after.types.get(series.name) or last.before.types.get(series.name)
    if our_type is not None and our_type != type:
        yield Difference(
            kind="type", series=series, theirs=type, ours=our_type, row=None
        )
        return
    if series not in last.before.numbers and series not in last.after.numbers:
        row = rows.of_missing(series, last.after)
        yield Difference(kind="missing", series=series, theirs=type, ours="", row=row)
        return
    yield from _compare_numbers(history, series, type, theirs)


def _compare_numbers(
    history: History, series: Series, type: str, theirs: Mapping[str, float]
) -> Iterator[Difference]:
    last = history.last
    ours = last.after.numbers.get(series) or last.before.numbers[series]
    if type not in COUNTING:
        if series not in history.moved and not _equal(theirs[VALUE], ours[VALUE]):
            yield _value(series, _text(theirs[VALUE]), _text(ours[VALUE]), None)
        return
    for key in sorted(theirs.keys() ^ ours.keys()):
        has = ("has", "has not") if key in theirs else ("has not", "has")
        yield _value(series, f"{has[0]} {key}", f"{has[1]} {key}", None)
    for key in sorted(theirs.keys() & ours.keys()):
        yield from _compare_increase(history, series, key)


def _compare_increase(
    history: History, series: Series, key: str
) -> Iterator[Difference]:
    first, last = history.first, history.last

    def number(page: Page, other: Page | None = None) -> float:
        numbers = page.numbers.get(series) or (other and other.numbers.get(series))
        return (numbers or {}).get(key, 0.0)

    theirs = number(last.theirs) - number(first.theirs)
    # The bounds of the increase at the moments at which the other page was read.
    low = number(last.before, last.after) - number(first.after)
    high = number(last.after, last.before) - number(first.before)
    if math.isnan(theirs) and not math.isnan(high):
        row = rows.NAN_COUNTER if key == VALUE else None
        yield _value(series, _text(theirs), _text(high, "+"), row, key)
    elif not _within(theirs, low, high, is_sum=key == SUM):
        ours = _text(high, "+")
        if low != high and not math.isnan(high):
            ours = f"{_text(low, '+')} to {ours}"
        yield _value(series, _text(theirs, "+"), ours, None, key)


def _text(value: float, sign: str = "") -> str:
    """Return a number as a page has it; with the sign "+" as an increase."""
    return "NaN" if math.isnan(value) else f"{value:{sign}.12g}"


def _within(value: float, low: float, high: float, *, is_sum: bool) -> bool:
    if math.isnan(value) or math.isinf(value):
        return _equal(value, high)
    low, high = min(low, high), max(low, high)
    slack = (SUM_TOLERANCE if is_sum else COUNT_TOLERANCE) * max(abs(low), abs(high))
    return low - slack <= value <= high + slack


def _equal(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def _value(
    series: Series, theirs: str, ours: str, row: int | None, key: str = VALUE
) -> Difference:
    prefix = f"{key} " if key else ""
    return Difference(
        kind="value",
        series=series,
        theirs=prefix + theirs,
        ours=prefix + ours,
        row=row,
    )
