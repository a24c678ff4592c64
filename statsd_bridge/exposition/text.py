"""
Print metric families in the text format 0.0.4, in slices.

    # HELP api_seconds How long it takes.
    # TYPE api_seconds histogram
    api_seconds_bucket{route="a",le="0.1"} 3
    api_seconds_bucket{route="a",le="+Inf"} 4
    api_seconds_sum{route="a"} 0.9
    api_seconds_count{route="a"} 4

Series keep their labels as text, histograms and summaries also the numbers of the last
page (shown.py), so a scrape formats only numbers that are new.  A slice is a bounded
amount of work and of bytes: between two slices the caller can receive packets, and a
page takes the memory of a slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from statsd_bridge.exposition.rows import ROW_START, QuantileRows, Rows
from statsd_bridge.log import BugReporter
from statsd_bridge.memory import Account
from statsd_bridge.model import MetricType
from statsd_bridge.series import GrowingSeries, MetricFamily, Series, SingleValue
from statsd_bridge.syntax import SMALL_NUMBERS, escape_help, format_number

MAX_SLICE_LINES = 2_000
"""Lines in a slice, about a millisecond of work."""

MAX_SLICE_BYTES = 256 * 1024
"""Bytes of a slice, about; a line may be longer."""

BYTES_PER_LINE = MAX_SLICE_BYTES // MAX_SLICE_LINES
"""Bytes that take as long as a line."""

# Prometheus has no type for sets: they are printed as gauges.
TYPE_NAMES = {each: str(each) for each in MetricType} | {MetricType.SET: "gauge"}

MAX_KEPT_ROWS = 40
"""Rows of a series up to which its numbers are kept as text for the next page."""

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
    for family in families:
        formatter, name = formatters[family.type], family.name
        series, labels = family.lone, family.lone_labels
        if (
            isinstance(series, SingleValue)
            and not labels
            and family.help is formatter.help
        ):
            # Names without rules: without further calls 0.6 us a family, with those
            # below 0.9 (python -m benchmarks, rows of shapes).
            value = series.value
            number = SMALL_NUMBERS.get(value) or format_number(value)
            head = f"# HELP {name} {formatter.escaped_help}\n# TYPE {name} "
            yield f"{head}{formatter.type_name}\n{name} {number}\n", 2
            continue
        only = only_series(family)
        if only is not None:
            labels, series = only
            lines = only_lines(family, series, now)
            try:
                text = formatter.format_only(family, labels, series)
            except Exception as error:
                bugs.report(error)
            else:
                yield text, lines
        elif family.series_count:
            head = formatter.head(name, formatter.type_name, family.help)
            for text, lines in format_series(family, formatter, bugs):
                yield head + text, lines + 2
                head = ""


def only_series(family: MetricFamily) -> tuple[str, Series] | None:
    """Return the series of a family of one, with its labels, if a slice can hold it."""
    if family.series_count != 1:
        return None
    [only] = family.series.items()
    length = len(only[0]) + len(family.name) + BYTES_PER_LINE
    return None if family.max_page_lines * length > MAX_SLICE_BYTES else only


def only_lines(family: MetricFamily, series: Series, now: float) -> int:
    """Return the lines that take as long as a family of one series, with its head."""
    if isinstance(series, GrowingSeries):
        return series.page_lines(now) + 2
    # Rows take less than half of the time of a counter of a large family.
    return family.max_page_lines // 2 + 2


def format_series(
    family: MetricFamily, formatter: SeriesFormatter, bugs: BugReporter
) -> Iterator[Chunk]:
    """Yield the series of a family, in chunks of at most about a slice."""
    name, find, format_one = family.name, family.finder(), formatter.format
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
        self.help = self.escaped_help = ""

    def head(self, name: str, type_name: str, help_text: str) -> str:
        """Return the lines before the series of a family."""
        if help_text is not self.help:
            self.help, self.escaped_help = help_text, self._escape_help(help_text)
        return f"# HELP {name} {self.escaped_help}\n# TYPE {name} {type_name}\n"

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
        numbers = series.last_numbers(self.now) or self._format_numbers(series)
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
        """Return rows without their start, sum and count; keep them if they are few."""
        values = series.values(self.now)
        rows = self._rows.format(series.options, values)
        total, count = format_number(values[-2]), format_number(values[-1])
        text = f"{rows}{_SEPARATOR}{total}{_SEPARATOR}{count}"
        if len(values) <= MAX_KEPT_ROWS:
            series.keep_numbers(text, self._kept)
        return text

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


_GROWING = frozenset({MetricType.SET, MetricType.SUMMARY})
