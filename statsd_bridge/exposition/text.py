"""
Print metric families in the text format 0.0.4, in slices.

    # HELP api_seconds How long it takes.
    # TYPE api_seconds histogram
    api_seconds_bucket{route="a",le="0.1"} 3
    api_seconds_bucket{route="a",le="+Inf"} 4
    api_seconds_sum{route="a"} 0.9
    api_seconds_count{route="a"} 4

Series keep their labels as text, so a scrape formats only numbers.  A slice is a
bounded amount of work and of bytes: between two slices the caller can receive packets,
and a page takes the memory of a slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from statsd_bridge.log import BugReporter
from statsd_bridge.model import MetricOptions, MetricType
from statsd_bridge.series import GrowingSeries, MetricFamily
from statsd_bridge.syntax import escape_help, format_number

MAX_SLICE_LINES = 1_000
"""Lines in a slice, about a millisecond of work."""

MAX_SLICE_BYTES = 256 * 1024
"""Bytes of a slice, about; a line may be longer."""

# Prometheus has no type for sets: they are printed as gauges.
TYPE_NAMES = {each: str(each) for each in MetricType} | {MetricType.SET: "gauge"}

Values = tuple[float, ...]
"""The values of one series, in the order of its lines."""

Chunk = tuple[str, int]
"""Text of a page, and the lines that take as long to make."""


def join_slices(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Join chunks into slices."""
    joined: list[str] = []
    lines = length = 0
    for text, more in chunks:
        joined.append(text)
        lines += more
        length += len(text)
        if lines >= MAX_SLICE_LINES or length >= MAX_SLICE_BYTES:
            yield "".join(joined).encode()
            joined.clear()
            lines = length = 0
    yield "".join(joined).encode()


def format_families(
    families: Iterable[MetricFamily], now: float, bugs: BugReporter
) -> Iterator[Chunk]:
    """
    Yield all families that have series, in chunks.

    A series whose values raise is reported to `bugs` and skipped.
    """
    for family in families:
        if not family.series:
            continue
        head = (
            f"# HELP {family.name} {escape_help(family.help)}\n"
            f"# TYPE {family.name} {TYPE_NAMES[family.type]}\n"
        )
        for text, lines in format_series(family, now, bugs):
            yield head + text, lines + 2
            head = ""


def format_series(
    family: MetricFamily, now: float, bugs: BugReporter, suffix: str | None = None
) -> Iterator[Chunk]:
    """
    Yield the series of a family, in chunks of at most about a slice.

    With `suffix` only the lines whose name has that suffix, of a family with several
    series names.
    """
    find = family.series.get
    formatter = _FORMATTERS.get(family.type, _SingleValueFormatter)(family.name, suffix)
    format_one = formatter.format
    # The inner loop takes most of the time of a large page: 0.4 us for a counter
    # (python -m benchmarks, rows of pages).
    for label_texts, lines in divide_family(family):
        is_large = _is_large(family, label_texts)
        texts: list[str] = []
        for labels in label_texts:
            series = find(labels)
            if series is None:
                # It expired between two slices.
                continue
            try:
                values = series.values(now)
                if is_large:
                    options = series.options
                    yield from formatter.format_in_chunks(labels, options, values)
                else:
                    texts.append(format_one(labels, series.options, values))
            except Exception as error:
                bugs.report(error)
        yield "".join(texts), lines


def _is_large(family: MetricFamily, label_texts: Sequence[str]) -> bool:
    """Return whether this is one series with more lines or bytes than a slice."""
    if len(label_texts) != 1:
        return False
    lines, length = family.max_page_lines, len(label_texts[0]) + len(family.name)
    return lines > MAX_SLICE_LINES or lines * length > MAX_SLICE_BYTES


def divide_family(family: MetricFamily) -> Iterator[tuple[Sequence[str], int]]:
    """Yield parts of a family's label texts, with the lines that take as long."""
    label_texts, lines = family.label_texts(), family.max_page_lines
    size = max(1, MAX_SLICE_LINES // lines)
    for start in range(0, len(label_texts), size):
        part = label_texts[start : start + size]
        if family.type in _GROWING:
            yield from _divide_growing(family, part)
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
    family: MetricFamily, label_texts: Sequence[str]
) -> Iterator[tuple[Sequence[str], int]]:
    """Divide series by their members and values, too."""
    bytes_per_line = MAX_SLICE_BYTES // MAX_SLICE_LINES
    part: list[str] = []
    lines = 0
    for labels in label_texts:
        series = family.series.get(labels)
        if not isinstance(series, GrowingSeries):
            continue
        length = (len(labels) + len(family.name)) * family.max_page_lines
        more = series.page_lines() + length // bytes_per_line
        if more >= MAX_SLICE_LINES and part:
            yield part, lines
            part, lines = [], 0
        part.append(labels)
        lines += more
        if lines >= MAX_SLICE_LINES:
            yield part, lines
            part, lines = [], 0
    yield part, lines


class _SingleValueFormatter:
    """Formats a series of one line: counter, gauge or set."""

    def __init__(self, name: str, _suffix: str | None) -> None:
        self._name = name

    def format(self, labels: str, _: MetricOptions, values: Values) -> str:
        number = format_number(values[0])
        if labels:
            return f"{self._name}{{{labels}}} {number}\n"
        return f"{self._name} {number}\n"

    def format_in_chunks(
        self, labels: str, options: MetricOptions, values: Values
    ) -> Iterator[Chunk]:
        yield self.format(labels, options, values), 1


class _HistogramFormatter:
    """
    Formats a series of several lines, which differ in their last label.

        name_bucket{route="a",  +  le="0.1"} 3

    With `suffix` only the lines with this suffix.
    """

    _row_suffix = "_bucket"

    def __init__(self, name: str, suffix: str | None) -> None:
        self._name = name
        self._has_rows = suffix in (None, self._row_suffix)
        self._sums = [
            (each, index)
            for each, index in (("_sum", -2), ("_count", -1))
            if suffix in (None, each)
        ]
        self._options: MetricOptions | None = None
        self._last_labels: Sequence[str] = ()

    def format(self, labels: str, options: MetricOptions, values: Values) -> str:
        if not self._has_rows:
            return self._format_sums(labels, values)
        if options is not self._options:
            # Nearly all series of a family share them.
            last_labels = self._list_labels(options, 0, len(values) - 2)
            self._options, self._last_labels = options, last_labels
        name = self._name
        *rows, total, count = map(format_number, values)
        text = self._format_rows(labels, self._last_labels, rows)
        if not self._sums:
            return text
        braces = f"{{{labels}}}" if labels else ""
        return f"{text}{name}_sum{braces} {total}\n{name}_count{braces} {count}\n"

    def format_in_chunks(
        self, labels: str, options: MetricOptions, values: Values
    ) -> Iterator[Chunk]:
        """Yield a series that is larger than a slice."""
        row_count = len(values) - 2 if self._has_rows else 0
        line_length = len(self._name) + len(labels) + 1
        step = min(MAX_SLICE_LINES, max(1, MAX_SLICE_BYTES // line_length))
        for start in range(0, row_count, step):
            end = min(start + step, row_count)
            last_labels = self._list_labels(options, start, end)
            rows = [*map(format_number, values[start:end])]
            yield self._format_rows(labels, last_labels, rows), end - start
        yield self._format_sums(labels, values), 2

    def _format_rows(
        self, labels: str, last_labels: Sequence[str], rows: Sequence[str]
    ) -> str:
        # One join with the start of the lines, instead of one format for each line.
        start = f"{self._name}{self._row_suffix}{{{labels}{',' if labels else ''}"
        ends = [f"{end}{row}\n" for end, row in zip(last_labels, rows, strict=True)]
        return start.join(["", *ends])

    def _format_sums(self, labels: str, values: Values) -> str:
        braces = f"{{{labels}}}" if labels else ""
        return "".join(
            [
                f"{self._name}{suffix}{braces} {format_number(values[index])}\n"
                for suffix, index in self._sums
            ]
        )

    def _list_labels(self, options: MetricOptions, start: int, end: int) -> list[str]:
        """Return the last labels of some rows, with what precedes the number."""
        bounds = [*map(format_number, options.buckets[start:end])]
        if end > len(options.buckets):
            bounds.append("+Inf")
        return [f'le="{bound}"}} ' for bound in bounds]


class _SummaryFormatter(_HistogramFormatter):
    """Formats the quantiles of a summary."""

    _row_suffix = ""

    def _list_labels(self, options: MetricOptions, start: int, end: int) -> list[str]:
        shares = options.quantiles[start:end]
        return [f'quantile="{format_number(each.quantile)}"}} ' for each in shares]


_FORMATTERS: dict[MetricType, type[_SingleValueFormatter | _HistogramFormatter]] = {
    MetricType.HISTOGRAM: _HistogramFormatter,
    MetricType.SUMMARY: _SummaryFormatter,
}

_GROWING = frozenset({MetricType.SET, MetricType.SUMMARY})
