"""
Print metric families in the text format 0.0.4, in slices.

    # HELP api_seconds How long it takes.
    # TYPE api_seconds histogram
    api_seconds_bucket{route="a",le="0.1"} 3
    api_seconds_bucket{route="a",le="+Inf"} 4
    api_seconds_sum{route="a"} 0.9
    api_seconds_count{route="a"} 4

Series keep their labels as text, so a scrape formats only numbers.  A slice is a
bounded amount of work: between two slices the caller can receive packets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from statsd_bridge.log import BugReporter
from statsd_bridge.model import MetricOptions, MetricType
from statsd_bridge.series import MetricFamily
from statsd_bridge.syntax import escape_help, format_number

MAX_SLICE_LINES = 1_000
"""Lines in a slice, about a millisecond of work; a single series may exceed it."""

# Prometheus has no type for sets: they are printed as gauges.
TYPE_NAMES = {each: str(each) for each in MetricType} | {MetricType.SET: "gauge"}

Values = tuple[float, ...]
"""The values of one series, in the order of its lines."""


def join_slices(chunks: Iterable[tuple[str, int]]) -> Iterator[bytes]:
    """Join chunks of text, each with its number of lines, into slices."""
    joined: list[str] = []
    lines = 0
    for text, more in chunks:
        joined.append(text)
        lines += more
        if lines >= MAX_SLICE_LINES:
            yield "".join(joined).encode()
            joined.clear()
            lines = 0
    yield "".join(joined).encode()


def format_families(
    families: Iterable[MetricFamily], now: float, bugs: BugReporter
) -> Iterator[tuple[str, int]]:
    """
    Yield all families that have series: chunks of text with their number of lines.

    A series whose values raise is reported to `bugs` and skipped.
    """
    for family in families:
        if not family.series:
            continue
        head = (
            f"# HELP {family.name} {escape_help(family.help)}\n"
            f"# TYPE {family.name} {TYPE_NAMES[family.type]}\n"
        )
        for texts, values in format_series(family, now, bugs):
            yield head + "".join(texts), sum(map(len, values)) + 2
            head = ""


def format_series(
    family: MetricFamily, now: float, bugs: BugReporter
) -> Iterator[tuple[list[str], list[Values]]]:
    """Yield the texts and the values of a family's series, a slice at a time."""
    find = family.series.get
    format_one = _FORMATTERS.get(family.type, _SingleValueFormatter)(family.name).format
    # The inner loop takes most of the time of a large page: 0.4 us for a counter
    # (python -m benchmarks, rows of pages).
    for label_texts in _label_slices(family):
        texts: list[str] = []
        all_values: list[Values] = []
        for labels in label_texts:
            series = find(labels)
            if series is None:
                # It expired between two slices.
                continue
            try:
                values = series.values(now)
                texts.append(format_one(labels, series.options, values))
                all_values.append(values)
            except Exception as error:
                bugs.report(error)
        yield texts, all_values


def _label_slices(family: MetricFamily) -> Iterator[Sequence[str]]:
    label_texts, lines = family.label_texts(), 1
    if family.type in _FORMATTERS:
        options = next(iter(family.series.values())).options
        lines = len(options.buckets) + len(options.quantiles) + 3
    size = max(1, MAX_SLICE_LINES // lines)
    for start in range(0, len(label_texts), size):
        yield label_texts[start : start + size]


class _SingleValueFormatter:
    """Formats a series of one line: counter, gauge or set."""

    def __init__(self, name: str) -> None:
        self._name = name

    def format(self, labels: str, _: MetricOptions, values: Values) -> str:
        number = format_number(values[0])
        if labels:
            return f"{self._name}{{{labels}}} {number}\n"
        return f"{self._name} {number}\n"


class _HistogramFormatter:
    """
    Formats a series of several lines, which differ in their last label.

        name_bucket{route="a",  +  le="0.1"} 3
    """

    _suffix = "_bucket"

    def __init__(self, name: str) -> None:
        self._name = name
        self._options: MetricOptions | None = None
        self._last_labels: Sequence[str] = ()

    def format(self, labels: str, options: MetricOptions, values: Values) -> str:
        if options is not self._options:
            # Nearly all series of a family share them.
            self._options, self._last_labels = options, self._list_labels(options)
        name = self._name
        *rows, total, count = map(format_number, values)
        # One join with the start of the lines, instead of one format for each line.
        start = f"{name}{self._suffix}{{{labels}{',' if labels else ''}"
        ends = [
            f"{end}{row}\n" for end, row in zip(self._last_labels, rows, strict=True)
        ]
        braces = f"{{{labels}}}" if labels else ""
        sums = f"{name}_sum{braces} {total}\n{name}_count{braces} {count}\n"
        return start.join(["", *ends]) + sums

    def _list_labels(self, options: MetricOptions) -> list[str]:
        bounds = [*map(format_number, options.buckets), "+Inf"]
        return [f'le="{bound}"}} ' for bound in bounds]


class _SummaryFormatter(_HistogramFormatter):
    """Formats the quantiles of a summary."""

    _suffix = ""

    def _list_labels(self, options: MetricOptions) -> list[str]:
        ranks = [format_number(each.quantile) for each in options.quantiles]
        return [f'quantile="{rank}"}} ' for rank in ranks]


_FORMATTERS: dict[MetricType, type[_SingleValueFormatter | _HistogramFormatter]] = {
    MetricType.HISTOGRAM: _HistogramFormatter,
    MetricType.SUMMARY: _SummaryFormatter,
}
