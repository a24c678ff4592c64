"""
The lines of OpenMetrics with the time of creation of a series.

    hits_total{a="1"} 3
    hits_created{a="1"} 1.79e+09
"""

from __future__ import annotations

from collections.abc import Iterator

from statsd_bridge.exposition.text import TYPE_NAMES, Chunk, SeriesFormatter
from statsd_bridge.model import MetricType
from statsd_bridge.series import Series
from statsd_bridge.syntax import escape_label_value, format_number

CREATED_TYPES = (MetricType.COUNTER, MetricType.HISTOGRAM, MetricType.SUMMARY)
"""Types that have a time of creation in OpenMetrics."""


class CreatedFormatter(SeriesFormatter):
    """Formats the lines of a series by another formatter, then that of its creation."""

    def __init__(self, others: SeriesFormatter) -> None:
        super().__init__(others.now, escape_label_value, type_name=others.type_name)
        self._others = others
        is_counter = others.type_name == TYPE_NAMES[MetricType.COUNTER]
        self._suffix = "_total" if is_counter else ""

    def format(self, name: str, labels: str, series: Series) -> str:
        """Return the lines of a series that fits into a slice."""
        lines = self._others.format(name, labels, series)
        return lines + self._created_line(name, labels, series)

    def format_in_chunks(
        self, name: str, labels: str, series: Series
    ) -> Iterator[Chunk]:
        """Yield the lines of a series that may be larger than a slice."""
        yield from self._others.format_in_chunks(name, labels, series)
        yield self._created_line(name, labels, series), 1

    def _created_line(self, name: str, labels: str, series: Series) -> str:
        braces = f"{{{labels}}}" if labels else ""
        created = format_number(series.created)
        return f"{name.removesuffix(self._suffix)}_created{braces} {created}\n"
