"""
Divide a page into slices, for all formats.

A slice is a bounded amount of work and of bytes: between two slices the caller can
receive packets, and a page takes the memory of a slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from statsd_bridge.model import MetricType
from statsd_bridge.series import GrowingSeries, MetricFamily, Series

MAX_SLICE_LINES = 2_000
"""Lines in a slice, about a millisecond of work."""

MAX_SLICE_BYTES = 256 * 1024
"""Bytes of a slice, about; a line may be longer."""

BYTES_PER_LINE = MAX_SLICE_BYTES // MAX_SLICE_LINES
"""Bytes that take as long as a line."""

LINES_PER_SHORT_FAMILY = 2
"""Lines of a large family that take as long as a family of one series, about."""

MAX_JOINED_LENGTH = 32 * 1024
"""Characters or bytes of such families that are joined at once."""

MAX_JOINED_LINES = 500
"""Lines that are joined at once, whatever their length."""

SINGLE_VALUES = (MetricType.COUNTER, MetricType.GAUGE)
"""Types whose series are each a SingleValue."""

_GROWING = frozenset({MetricType.SET, MetricType.SUMMARY})


def only_series(family: MetricFamily) -> tuple[str, Series] | None:
    """Return the series of a family of one, with its labels, if a slice can hold it."""
    lone = family.lone
    if lone is not None:
        only = family.lone_labels, lone
    elif family.series_count == 1:
        [only] = family.series.items()
    else:
        return None
    length = len(only[0]) + len(family.name) + BYTES_PER_LINE
    return None if family.max_page_lines * length > MAX_SLICE_BYTES else only


def only_lines(family: MetricFamily, series: Series, now: float) -> int:
    """Return the lines that take as long as a family of one series, with its head."""
    if isinstance(series, GrowingSeries):
        return series.page_lines(now) + 2
    # Rows take less than half of the time of a counter of a large family.
    return family.max_page_lines // 2 + 2


def exceeds_slice(family: MetricFamily, labels: str) -> bool:
    """Return whether a series may have more bytes than a slice."""
    length = len(labels) + len(family.name) + BYTES_PER_LINE
    return family.max_page_lines * length > MAX_SLICE_BYTES


def divide_family(
    family: MetricFamily, now: float
) -> Iterator[tuple[Sequence[str], int]]:
    """
    Yield parts of a family's label texts, with the lines that take as long.

    Parts before the texts are sorted are empty.
    """
    for _ in family.sort_in_steps():
        yield (), MAX_SLICE_LINES
    label_texts, lines = family.label_texts(), family.max_page_lines
    size = max(1, MAX_SLICE_LINES // lines)
    for start in range(0, len(label_texts), size):
        part = label_texts[start : start + size]
        if family.type in _GROWING:
            yield from _divide_growing(family, part, now)
        elif len(part) == 1:
            # Most families have one series.
            yield part, lines
        else:
            yield from _divide_by_bytes(part, lines, len(family.name))


def _divide_by_bytes(
    label_texts: Sequence[str], lines: int, name_length: int
) -> Iterator[tuple[Sequence[str], int]]:
    """Halve a list until all lines of its series are at most MAX_SLICE_BYTES."""
    count = len(label_texts)
    length = (sum(map(len, label_texts)) + count * name_length) * lines
    if count > 1 and length > MAX_SLICE_BYTES:
        for half in (label_texts[: count // 2], label_texts[count // 2 :]):
            yield from _divide_by_bytes(half, lines, name_length)
    else:
        yield label_texts, count * lines


def _divide_growing(
    family: MetricFamily, label_texts: Sequence[str], now: float
) -> Iterator[tuple[Sequence[str], int]]:
    """Divide series by their members and values, too."""
    part: list[str] = []
    lines = 0
    for labels in label_texts:
        series = family.find(labels)
        if not isinstance(series, GrowingSeries):
            continue
        length = (len(labels) + len(family.name)) * family.max_page_lines
        more = series.page_lines(now) + length // BYTES_PER_LINE
        if more >= MAX_SLICE_LINES and part:
            yield part, lines
            part, lines = [], 0
        part.append(labels)
        lines += more
        if lines >= MAX_SLICE_LINES:
            yield part, lines
            part, lines = [], 0
    yield part, lines
