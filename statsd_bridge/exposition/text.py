"""
Print metric families in the text format 0.0.4, in slices.

    # HELP api_seconds How long it takes.
    # TYPE api_seconds histogram
    api_seconds_bucket{route="a",le="0.1"} 3
    api_seconds_bucket{route="a",le="+Inf"} 4
    api_seconds_sum{route="a"} 0.9
    api_seconds_count{route="a"} 4

Series keep their labels as text, histograms and summaries also the numbers of the last
page (shown.py), so a scrape formats only numbers that are new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from statsd_bridge.exposition.rows import ROW_START, QuantileRows, Rows
from statsd_bridge.exposition.slices import (
    LINES_PER_SHORT_FAMILY,
    MAX_JOINED_LENGTH,
    MAX_SLICE_BYTES,
    MAX_SLICE_LINES,
    divide_family,
    exceeds_slice,
    only_lines,
    only_series,
)
from statsd_bridge.log import BugReporter
from statsd_bridge.memory import Account
from statsd_bridge.model import MetricType
from statsd_bridge.series import MetricFamily, Series, SingleValue
from statsd_bridge.syntax import SMALL_NUMBERS, escape_help, format_number

# Prometheus has no type for sets: they are printed as gauges.
TYPE_NAMES = {each: str(each) for each in MetricType} | {MetricType.SET: "gauge"}

MAX_KEPT_ROWS = 40
"""Rows of a series up to which its numbers are kept as text for the next page."""

MAX_KEPT_FAMILY_LENGTH = 1_000
"""Length of the text of a family of one series that is kept as a whole."""

NOTHING_KEPT = Account(0)
"""The account of a page whose series keep nothing for the next one."""

# Between rows, sum and count in kept numbers, which do not contain it.
_SEPARATOR = "\1"

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
    families: Iterable[MetricFamily],
    now: float,
    bugs: BugReporter,
    kept: Account = NOTHING_KEPT,
) -> Iterator[Chunk]:
    """
    Yield all families that have series, in chunks.

    A series whose values raise is reported to `bugs` and skipped.  Numbers that are
    kept for the next page are charged to `kept`, as long as it has room.
    """
    formatters = new_formatters(now, escape_help, kept)
    formatter, between, end = formatters[MetricType.COUNTER], "", ""
    type: MetricType | None = None
    help_text = ""
    texts: list[str] = []
    length = 0
    for family in families:
        if family.type is not type or family.help is not help_text:
            type, help_text = family.type, family.help
            formatter = formatters[type]
            between, end = formatter.head_parts(help_text)
        series, text = family.lone, ""
        # Names without rules make a family each: here one takes 0.3 us, by the calls
        # of _format_family 0.9 (python -m benchmarks, rows of shapes).
        if isinstance(series, SingleValue):
            if not family.lone_labels:
                name, value = family.name, series.value
                number = SMALL_NUMBERS.get(value) or format_number(value)
                text = f"# HELP {name}{between}{name}{end}{name} {number}\n"
        elif series is not None:
            try:
                text = series.last_family(now)
            except Exception as error:
                bugs.report(error)
                continue
        if text:
            texts.append(text)
            length += len(text)
            if length < MAX_JOINED_LENGTH:
                continue
        if texts:
            yield "".join(texts), LINES_PER_SHORT_FAMILY * len(texts)
            texts.clear()
            length = 0
        if not text:
            yield from _format_family(family, formatter, bugs)
    yield "".join(texts), LINES_PER_SHORT_FAMILY * len(texts)


def _format_family(
    family: MetricFamily, formatter: SeriesFormatter, bugs: BugReporter
) -> Iterator[Chunk]:
    only = only_series(family)
    if only is not None:
        labels, series = only
        lines = only_lines(family, series, formatter.now)
        # With bugs.catch() it takes 1 us more.
        try:
            text = formatter.format_only(family, labels, series)
        except Exception as error:
            bugs.report(error)
        else:
            yield text, lines
    elif family.series_count:
        head = formatter.head(family.name, formatter.type_name, family.help)
        for text, lines in format_series(family, formatter, bugs):
            yield head + text, lines + 2
            head = ""


def format_series(
    family: MetricFamily, formatter: SeriesFormatter, bugs: BugReporter
) -> Iterator[Chunk]:
    """Yield the series of a family, in chunks of at most about a slice."""
    name, find, format_one = family.name, family.finder(), formatter.format
    # The inner loop takes most of the time of a large page: 0.4 us for a counter
    # (python -m benchmarks, rows of pages).
    for label_texts, lines in divide_family(family, formatter.now):
        is_large = len(label_texts) == 1 and exceeds_slice(family, label_texts[0])
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
        return f"# HELP {name} {self._escaped(help_text)}\n# TYPE {name} {type_name}\n"

    def head_parts(self, help_text: str) -> tuple[str, str]:
        """Return what is between the two names in these lines, and after them."""
        return f" {self._escaped(help_text)}\n# TYPE ", f" {self.type_name}\n"

    def _escaped(self, help_text: str) -> str:
        if help_text is not self._help:
            self._help, self._escaped_help = help_text, self._escape_help(help_text)
        return self._escaped_help

    def format_only(self, family: MetricFamily, labels: str, series: Series) -> str:
        """Return a family of one series that fits into a slice, with its head."""
        head = self.head(family.name, self.type_name, family.help)
        return head + self.format(family.name, labels, series)

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
    Formats series of several lines: rows, sum and count.

    With `suffix` only the lines with this suffix.
    """

    def __init__(
        self,
        now: float,
        escape_help: Escape,
        *,
        type_name: str,
        rows: Rows,
        suffix: str | None = None,
        kept: Account = NOTHING_KEPT,
    ) -> None:
        super().__init__(now, escape_help, type_name=type_name)
        self._rows = rows
        self._kept = kept
        self._suffix = suffix

    def format(self, name: str, labels: str, series: Series) -> str:
        """
        Return the lines of a series that fits into a slice.

        One `%` and one replacement put in the numbers and all that its rows have in
        common: 1 us for 12 rows, where a format for each takes 3.
        """
        if self._suffix is not None:
            chunks = self.format_in_chunks(name, labels, series)
            return "".join([text for text, _ in chunks])
        numbers = series.last_numbers(self.now)
        if not numbers:
            numbers = self._format_numbers(series)
            if _has_few_rows(numbers):
                series.keep_numbers(numbers, self._kept)
        return self._put_in(name, labels, numbers)

    def format_only(self, family: MetricFamily, labels: str, series: Series) -> str:
        """Return a family of one series; keep it if it is short, or its numbers."""
        head = self.head(family.name, self.type_name, family.help)
        numbers = series.last_numbers(self.now)
        is_new = not numbers
        if is_new:
            numbers = self._format_numbers(series)
        text = head + self._put_in(family.name, labels, numbers)
        if _has_few_rows(numbers):
            if len(text) <= MAX_KEPT_FAMILY_LENGTH and text.isascii():
                series.keep_family(text, self._kept)
            elif is_new:
                series.keep_numbers(numbers, self._kept)
        return text

    def _put_in(self, name: str, labels: str, numbers: str) -> str:
        """Return the lines of a series with its name and labels put in."""
        rows, total, count = numbers.split(_SEPARATOR)
        if labels:
            start, braces = f"{name}{self._rows.suffix}{{{labels},", f"{{{labels}}}"
        else:
            start, braces = f"{name}{self._rows.suffix}{{", ""
        return (
            f"{rows.replace(ROW_START, start)}"
            f"{name}_sum{braces} {total}\n{name}_count{braces} {count}\n"
        )

    def _format_numbers(self, series: Series) -> str:
        """Return rows without their start, sum and count."""
        values = series.values(self.now)
        rows = self._rows.format(series.options, values)
        total, count = format_number(values[-2]), format_number(values[-1])
        return f"{rows}{_SEPARATOR}{total}{_SEPARATOR}{count}"

    def format_in_chunks(
        self, name: str, labels: str, series: Series
    ) -> Iterator[Chunk]:
        """Yield the lines of a series that may be larger than a slice."""
        values = series.values(self.now)
        suffix = self._rows.suffix
        row_count = len(values) - 2 if self._suffix in (None, suffix) else 0
        start = f"{name}{suffix}{{{labels}{',' if labels else ''}"
        step = min(MAX_SLICE_LINES, max(1, MAX_SLICE_BYTES // len(start)))
        for at in range(0, row_count, step):
            end = min(at + step, row_count)
            last_labels = self._rows.last_labels(series.options, at, end)
            rows = zip(last_labels, map(format_number, values[at:end]), strict=True)
            text = "".join([f"{start}{last} {number}\n" for last, number in rows])
            yield text, end - at
        braces = f"{{{labels}}}" if labels else ""
        for suffix, value in (("_sum", values[-2]), ("_count", values[-1])):
            if self._suffix in (None, suffix):
                yield f"{name}{suffix}{braces} {format_number(value)}\n", 1


def _has_few_rows(numbers: str) -> bool:
    return numbers.count("\n") <= MAX_KEPT_ROWS


def new_formatters(
    now: float,
    escape_help: Escape,
    kept: Account = NOTHING_KEPT,
    suffix: str | None = None,
) -> dict[MetricType, SeriesFormatter]:
    """Return the formatters of one page, by type; see RowsFormatter."""
    formatters = {
        each: SeriesFormatter(now, escape_help, type_name=name)
        for each, name in TYPE_NAMES.items()
    }
    for type, rows in (
        (MetricType.HISTOGRAM, Rows()),
        (MetricType.SUMMARY, QuantileRows()),
    ):
        formatters[type] = RowsFormatter(
            now,
            escape_help,
            type_name=TYPE_NAMES[type],
            rows=rows,
            suffix=suffix,
            kept=kept,
        )
    return formatters
