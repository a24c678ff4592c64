"""
Print metric families in the text format 0.0.4, in slices.

    # HELP api_seconds How long it takes.
    # TYPE api_seconds histogram
    api_seconds_bucket{route="a",le="0.1"} 3
    api_seconds_bucket{route="a",le="+Inf"} 4
    api_seconds_sum{route="a"} 0.9
    api_seconds_count{route="a"} 4

Series keep their labels as text, and what the series of a rule have in common is kept
during a page, by the options of the rule (`Templates`), so a scrape formats only
numbers.  A slice is a bounded amount of work and of bytes: between two slices the
caller can receive packets, and a page takes the memory of a slice.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from statsd_bridge.log import BugReporter
from statsd_bridge.model import MetricOptions, MetricType
from statsd_bridge.series import GrowingSeries, MetricFamily, Series
from statsd_bridge.syntax import escape_help, format_number

MAX_SLICE_LINES = 2_000
"""Lines in a slice, about a millisecond of work."""

MAX_SLICE_BYTES = 256 * 1024
"""Bytes of a slice, about; a line may be longer."""

BYTES_PER_LINE = MAX_SLICE_BYTES // MAX_SLICE_LINES
"""Bytes that take as long as a line."""

MAX_TEMPLATE_LINES = 10_000
"""Lines of all templates that a page keeps, about 30 bytes each."""

MIN_EXPONENT = 1_000_000
"""Counts from here on are printed with an exponent."""

# Prometheus has no type for sets: they are printed as gauges.
TYPE_NAMES = {each: str(each) for each in MetricType} | {MetricType.SET: "gauge"}

# Stands in a template for what a series' lines begin with; no number contains it.
_LINE_START = "\0"

Values = tuple[float, ...]
"""The values of one series, in the order of its lines."""

Escape = Callable[[str], str]
"""Escapes a text for the page."""

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
    formatters = new_formatters(now, escape_help)
    for family in families:
        formatter = formatters[family.type]
        only = only_series(family)
        if only is not None:
            # Names without rules: 0.6 us a family (python -m benchmarks, rows of
            # shapes).
            labels, series = only
            lines = only_lines(family, series, now)
            try:
                text = formatter.format_only(family, labels, series)
            except Exception as error:
                bugs.report(error)
            else:
                yield text, lines
        elif family.series:
            head = formatter.head(family.name, TYPE_NAMES[family.type], family.help)
            for text, lines in format_series(family, formatter, bugs):
                yield head + text, lines + 2
                head = ""


def only_series(family: MetricFamily) -> tuple[str, Series] | None:
    """Return the series of a family of one, with its labels, if a slice can hold it."""
    if len(family.series) != 1:
        return None
    [only] = family.series.items()
    length = len(only[0]) + len(family.name) + BYTES_PER_LINE
    return None if family.max_page_lines * length > MAX_SLICE_BYTES else only


def only_lines(family: MetricFamily, series: Series, now: float) -> int:
    """Return the lines that take as long as a family of one series, with its head."""
    if isinstance(series, GrowingSeries):
        return series.page_lines(now) + 2
    return family.max_page_lines + 2


def format_series(
    family: MetricFamily, formatter: SeriesFormatter, bugs: BugReporter
) -> Iterator[Chunk]:
    """Yield the series of a family, in chunks of at most about a slice."""
    name, find, format_one = family.name, family.series.get, formatter.format
    # The inner loop takes most of the time of a large page: 0.4 us for a counter
    # (python -m benchmarks, rows of pages).
    for label_texts, lines in divide_family(family, formatter.now):
        is_large = len(label_texts) == 1 and _exceeds_slice(family, label_texts[0])
        texts: list[str] = []
        for labels in label_texts:
            series = find(labels)
            if series is None:
                # It expired between two slices.
                continue
            try:
                if is_large:
                    yield from formatter.format_in_chunks(name, labels, series)
                else:
                    texts.append(format_one(name, labels, series))
            except Exception as error:
                bugs.report(error)
        yield "".join(texts), lines


def _exceeds_slice(family: MetricFamily, labels: str) -> bool:
    """Return whether a series may have more bytes than a slice."""
    length = len(labels) + len(family.name) + BYTES_PER_LINE
    return family.max_page_lines * length > MAX_SLICE_BYTES


def divide_family(
    family: MetricFamily, now: float
) -> Iterator[tuple[Sequence[str], int]]:
    """Yield parts of a family's label texts, with the lines that take as long."""
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
        series = family.series.get(labels)
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


class SeriesFormatter:
    """
    Formats the series of one type on one page: counters, gauges and sets.

    `escape_help` is how the format of the page escapes help texts.
    """

    def __init__(self, now: float, escape_help: Escape, *, type_name: str) -> None:
        self.now = now
        self.type_name = type_name
        self._escape_help = escape_help
        # Families without a rule share their help text.
        self._help = self._escaped_help = ""

    def head(self, name: str, type_name: str, help_text: str) -> str:
        """Return the lines before the series of a family."""
        if help_text is not self._help:
            self._help, self._escaped_help = help_text, self._escape_help(help_text)
        return f"# HELP {name} {self._escaped_help}\n# TYPE {name} {type_name}\n"

    def format_only(self, family: MetricFamily, labels: str, series: Series) -> str:
        """Return a family of one series that fits into a slice, with its head."""
        name = family.name
        if labels or family.help is not self._help:
            head = self.head(name, self.type_name, family.help)
            return head + self.format(name, labels, series)
        # The same text by one format: names without rules.
        return (
            f"# HELP {name} {self._escaped_help}\n# TYPE {name} {self.type_name}\n"
            f"{name} {format_number(series.values(self.now)[0])}\n"
        )

    def format(self, name: str, labels: str, series: Series) -> str:
        """Return the lines of a series that fits into a slice."""
        number = format_number(series.values(self.now)[0])
        if labels:
            return f"{name}{{{labels}}} {number}\n"
        return f"{name} {number}\n"

    def format_in_chunks(
        self, name: str, labels: str, series: Series
    ) -> Iterator[Chunk]:
        """Yield the lines of a series that may be larger than a slice."""
        yield self.format(name, labels, series), 1


class RowsFormatter(SeriesFormatter):
    """
    Formats series of several lines, which differ in their last label: histograms.

        name_bucket{route="a",  +  le="0.1"} 3

    With `suffix` only the lines with this suffix.
    """

    row_suffix = "_bucket"

    def __init__(
        self,
        now: float,
        escape_help: Escape,
        *,
        type_name: str,
        suffix: str | None = None,
    ) -> None:
        super().__init__(now, escape_help, type_name=type_name)
        self._suffix = suffix
        # Options of the last series, and its rows for `%`; other rows by id of options.
        self._options: MetricOptions | None = None
        self._template = ""
        self._templates: dict[int, tuple[MetricOptions, str]] = {}
        self._template_lines = 0

    def format_only(self, family: MetricFamily, labels: str, series: Series) -> str:
        """Return a family of one series that fits into a slice, with its head."""
        head = self.head(family.name, self.type_name, family.help)
        return head + self.format(family.name, labels, series)

    def format(self, name: str, labels: str, series: Series) -> str:
        """
        Return the lines of a series that fits into a slice.

        One `%` and one replacement put in the numbers and all that its rows have in
        common: 1 us for 12 rows, where a format for each takes 3.
        """
        if self._suffix is not None:
            chunks = self.format_in_chunks(name, labels, series)
            return "".join([text for text, _ in chunks])
        values, options = series.values(self.now), series.options
        if options is not self._options:
            self._use_template(options)
        rows = self._template % self.numbers(values)
        total, count = format_number(values[-2]), format_number(values[-1])
        if labels:
            start, braces = f"{name}{self.row_suffix}{{{labels},", f"{{{labels}}}"
        else:
            start, braces = f"{name}{self.row_suffix}{{", ""
        return (
            f"{rows.replace(_LINE_START, start)}"
            f"{name}_sum{braces} {total}\n{name}_count{braces} {count}\n"
        )

    def format_in_chunks(
        self, name: str, labels: str, series: Series
    ) -> Iterator[Chunk]:
        """Yield the lines of a series that may be larger than a slice."""
        values = series.values(self.now)
        row_count = len(values) - 2 if self._suffix in (None, self.row_suffix) else 0
        start = f"{name}{self.row_suffix}{{{labels}{',' if labels else ''}"
        step = min(MAX_SLICE_LINES, max(1, MAX_SLICE_BYTES // len(start)))
        for at in range(0, row_count, step):
            end = min(at + step, row_count)
            last_labels = self.last_labels(series.options, at, end)
            rows = zip(last_labels, map(format_number, values[at:end]), strict=True)
            text = "".join([f"{start}{last} {number}\n" for last, number in rows])
            yield text, end - at
        braces = f"{{{labels}}}" if labels else ""
        for suffix, value in (("_sum", values[-2]), ("_count", values[-1])):
            if self._suffix in (None, suffix):
                yield f"{name}{suffix}{braces} {format_number(value)}\n", 1

    def last_labels(self, options: MetricOptions, start: int, end: int) -> list[str]:
        """Return the last labels of some rows, with the brace."""
        bounds = [*map(format_number, options.buckets[start:end])]
        if end > len(options.buckets):
            bounds.append("+Inf")
        return [f'le="{bound}"}}' for bound in bounds]

    def numbers(self, values: Values) -> tuple[object, ...]:
        """Return what stands for the rows: whole counts, the last one the largest."""
        if values[-1] < MIN_EXPONENT:
            return values[:-2]
        return tuple(map(format_number, values[:-2]))

    def _use_template(self, options: MetricOptions) -> None:
        kept = self._templates.get(id(options))
        if kept is None:
            last_labels = self.last_labels(options, 0, sys.maxsize)
            rows = [f"{_LINE_START}{each} %s\n" for each in last_labels]
            self._template_lines += len(rows)
            if self._template_lines > MAX_TEMPLATE_LINES:
                self._templates.clear()
                self._template_lines = len(rows)
            # With the options, so that no others get their id.
            kept = options, "".join(rows)
            self._templates[id(options)] = kept
        self._options, self._template = kept


class QuantilesFormatter(RowsFormatter):
    """Formats summaries."""

    row_suffix = ""

    def last_labels(self, options: MetricOptions, start: int, end: int) -> list[str]:
        """Return the last labels of some rows, with the brace."""
        shares = options.quantiles[start:end]
        return [f'quantile="{format_number(each.quantile)}"}}' for each in shares]

    def numbers(self, values: Values) -> tuple[object, ...]:
        """Return the texts of the quantiles."""
        return tuple(map(format_number, values[:-2]))


def new_formatters(
    now: float, escape_help: Escape, suffix: str | None = None
) -> dict[MetricType, SeriesFormatter]:
    """Return the formatters of one page, by type; see RowsFormatter."""
    formatters = {
        each: SeriesFormatter(now, escape_help, type_name=name)
        for each, name in TYPE_NAMES.items()
    }
    for type, new in _ROWS_FORMATTERS.items():
        formatters[type] = new(
            now, escape_help, type_name=TYPE_NAMES[type], suffix=suffix
        )
    return formatters


_ROWS_FORMATTERS = {
    MetricType.HISTOGRAM: RowsFormatter,
    MetricType.SUMMARY: QuantilesFormatter,
}

_GROWING = frozenset({MetricType.SET, MetricType.SUMMARY})
