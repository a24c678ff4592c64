"""
The rows of histograms and summaries: lines that differ in their last label.

    name_bucket{route="a",  +  le="0.1"} 3

What the series of a rule have in common is kept as a template during a page, by the
options of the rule, so that one `%` puts in the numbers of a series.
"""

from __future__ import annotations

import sys
from typing import AnyStr, Final, Generic, final

from statsd_bridge.model import MetricOptions
from statsd_bridge.syntax import format_number

MAX_TEMPLATE_ROWS: Final = 10_000
"""Rows of all templates of a type that a page keeps, about 30 bytes each."""

MIN_EXPONENT: Final = 1_000_000
"""Counts from here on are printed with an exponent."""

ROW_START: Final = "\0"
"""Stands in a template for what a row begins with; no number contains it."""


@final
class Templates(Generic[AnyStr]):
    """Templates of a page by the options of their rule, within MAX_TEMPLATE_ROWS."""

    def __init__(self) -> None:
        # By the id of the options, which are kept so that no others get it.
        self._templates: dict[int, tuple[MetricOptions, AnyStr]] = {}
        self._rows = 0

    def find(self, options: MetricOptions) -> AnyStr | None:
        """Return the template of these options, if it is kept."""
        kept = self._templates.get(id(options))
        return None if kept is None else kept[1]

    def add(self, options: MetricOptions, template: AnyStr, rows: int) -> None:
        """Keep a template; beyond the bound forget all others."""
        self._rows += rows
        if self._rows > MAX_TEMPLATE_ROWS:
            self._templates.clear()
            self._rows = rows
        self._templates[id(options)] = options, template


class Rows:
    """The buckets of histograms, on one page."""

    suffix = "_bucket"

    def __init__(self) -> None:
        # Options of the last series, and its template.
        self._options: MetricOptions | None = None
        self._template = ""
        self._templates = Templates[str]()

    def format(self, options: MetricOptions, values: tuple[float, ...]) -> str:
        """Return all rows of a series; each begins with ROW_START."""
        if options is not self._options:
            self._use_template(options)
        return self._template % self.numbers(values)

    def last_labels(self, options: MetricOptions, start: int, end: int) -> list[str]:
        """Return the last labels of some rows, with the brace."""
        bounds = [*map(format_number, options.buckets[start:end])]
        if end > len(options.buckets):
            bounds.append("+Inf")
        return [f'le="{bound}"}}' for bound in bounds]

    def numbers(self, values: tuple[float, ...]) -> tuple[object, ...]:
        """Return the numbers of the rows: whole counts, the last one the largest."""
        if values[-1] < MIN_EXPONENT:
            return values[:-2]
        return tuple(map(format_number, values[:-2]))

    def _use_template(self, options: MetricOptions) -> None:
        template = self._templates.find(options)
        if template is None:
            last_labels = self.last_labels(options, 0, sys.maxsize)
            template = "".join([f"{ROW_START}{each} %s\n" for each in last_labels])
            self._templates.add(options, template, len(last_labels))
        self._options, self._template = options, template


class QuantileRows(Rows):
    """The quantiles of summaries."""

    suffix = ""

    def last_labels(self, options: MetricOptions, start: int, end: int) -> list[str]:
        """Return the last labels of some rows, with the brace."""
        shares = options.quantiles[start:end]
        return [f'quantile="{format_number(each.quantile)}"}}' for each in shares]

    def numbers(self, values: tuple[float, ...]) -> tuple[object, ...]:
        """Return the texts of the quantiles."""
        return tuple(map(format_number, values[:-2]))
