"""
Print metric families in OpenMetrics 1.0, in chunks; series have their names of text.py.

    counter api_hits_total      # TYPE api_hits counter         api_hits_total 3
    counter api_hits            # TYPE api_hits unknown         api_hits 3
    histogram x, sum NaN        # TYPE x_bucket unknown ...     three families

A family that OpenMetrics forbids for its type is printed as `unknown`, so a scraper
that prefers this format gets the same series as in the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from statsd_bridge.exposition import slices, text
from statsd_bridge.exposition.created import CREATED_TYPES, CreatedFormatter
from statsd_bridge.log import BugReporter
from statsd_bridge.memory import Account
from statsd_bridge.model import MetricOptions, MetricType
from statsd_bridge.series import MetricFamily, Series
from statsd_bridge.syntax import (
    SMALL_NUMBERS,
    escape_help,
    escape_label_value,
    format_number,
)

DISTRIBUTIONS = (MetricType.HISTOGRAM, MetricType.SUMMARY)

# Series of histograms and summaries besides the name of the family.
MAX_NAMED_FAMILIES = 5_000
"""Families whose names are collected at once."""

FAMILIES_PER_LINE = 10
"""Names that are collected in the time of a line of a page."""

_SAMPLE_SUFFIXES = ("_bucket", "_count", "_sum")

# Series names of one family that is printed as several of type unknown.
_SERIES_SUFFIXES = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.SUMMARY: ("", "_sum", "_count"),
}


def format_families(
    families: Sequence[MetricFamily],
    now: float,
    bugs: BugReporter,
    *,
    reserved: Collection[str],
    created_lines: bool = False,
    kept: Account = text.NOTHING_KEPT,
) -> Iterator[text.Chunk]:
    """
    Yield all families that have series, in chunks.

    `reserved` are names that other parts of the page use.  With `created_lines` series
    have a line with their time of creation, in families whose type has it.  A series
    whose values raise is reported to `bugs` and skipped.  `kept` is that of text.py.
    """
    types: dict[str, MetricType | None] = dict.fromkeys(reserved)
    for start in range(0, len(families), MAX_NAMED_FAMILIES):
        part = families[start : start + MAX_NAMED_FAMILIES]
        types |= {family.name: family.type for family in part}
        yield "", len(part) // FAMILIES_PER_LINE
    page = _Page(_Names(types), now, bugs, created_lines=created_lines, kept=kept)
    type: MetricType | None = None
    help_text = between = type_line = ""
    is_counter = is_kept = is_short = False
    texts: list[str] = []
    length = lines = 0
    for family in families:
        if length >= slices.MAX_JOINED_LENGTH or lines >= slices.MAX_JOINED_LINES:
            yield "".join(texts), lines
            texts.clear()
            length = lines = 0
        if family.type is not type or family.help is not help_text:
            type, help_text = family.type, family.help
            is_counter = type is MetricType.COUNTER
            is_kept = page.shares_text(type, help_text)
            is_short = type in slices.SINGLE_VALUES and not created_lines
            between, type_line = page.head_parts(type, help_text)
        series: Any = family.lone
        short = ""
        # Names without rules make a family each: here one takes 0.5 us, by the calls of
        # format_only 1.5 (python -m benchmarks, rows of shapes).
        if is_kept and series is not None:
            short = page.kept_text(family, series)
        elif is_short and series is not None and not family.lone_labels:
            name, end, value = family.name, type_line, series.value
            base = name
            if is_counter:
                base = page.base_name(name) if name.endswith("_total") else ""
                if not base:
                    base, end = name, " unknown\n"
            number = SMALL_NUMBERS.get(value) or format_number(value)
            short = f"# HELP {base}{between}{base}{end}{name} {number}\n"
        if short:
            texts.append(short)
            length += len(short)
            lines += slices.LINES_PER_SHORT_FAMILY
            continue
        only = page.format_only(family)
        if only is not None:
            texts.append(only[0])
            length += len(only[0])
            lines += only[1]
            continue
        yield "".join(texts), lines
        texts.clear()
        length = lines = 0
        yield from page.format_table(family)
    yield "".join(texts), lines


_Part = tuple[str, str, text.SeriesFormatter]
"""A family on the page: its name and type, and what formats its series."""


class _Names:
    """All names on the page: those of the series and of other parts."""

    def __init__(self, types: Mapping[str, MetricType | None]) -> None:
        """Names of families with their types, those of other parts with none."""
        self._types = types

    def __contains__(self, name: object) -> bool:
        """Return whether a name is on the page."""
        if name in self._types:
            return True
        if not isinstance(name, str) or not name.endswith(_SAMPLE_SUFFIXES):
            return False
        return self._types.get(name.rpartition("_")[0]) in DISTRIBUTIONS

    def has_created(self, name: str) -> bool:
        """Return whether a name on the page is that of times of creation."""
        return f"{name}_created" in self._types


class _Page:
    """Formats the families of one page."""

    def __init__(
        self,
        names: _Names,
        now: float,
        bugs: BugReporter,
        *,
        created_lines: bool,
        kept: Account,
    ) -> None:
        self._names = names
        self._now = now
        self._bugs = bugs
        self._formatters = {
            suffix: text.new_formatters(now, escape_label_value, kept, suffix)
            for suffix in (None, "", *_SAMPLE_SUFFIXES)
        }
        # For families that have their type.
        self._typed = dict(self._formatters[None])
        if created_lines:
            for type in CREATED_TYPES:
                self._typed[type] = CreatedFormatter(self._typed[type])

        self._created_lines = created_lines

    def head_parts(self, type: MetricType, help_text: str) -> tuple[str, str]:
        """Return what is between the two names before a family, and after them."""
        return self._typed[type].head_parts(help_text)

    def shares_text(self, type: MetricType, help_text: str) -> bool:
        """Return whether families of rows look the same in the format 0.0.4."""
        if type not in DISTRIBUTIONS or self._created_lines:
            return False
        return escape_help(help_text) == escape_label_value(help_text)

    def kept_text(self, family: MetricFamily, series: Series) -> str:
        """Return the text of a family of one series if it is kept and allowed."""
        # With suppress() it takes 0.3 us more; format_only reports the exception.
        try:
            kept = series.last_family(self._now)
            return kept if kept and self._allows_only(family, series) else ""
        except Exception:
            return ""

    def format_only(self, family: MetricFamily) -> text.Chunk | None:
        """Return a family of one series; None if it has others or exceeds a slice."""
        only = slices.only_series(family)
        if only is None:
            return None
        labels, series = only
        lines = slices.only_lines(family, series, self._now)
        try:
            return self._format_only(family, labels, series), lines
        except Exception as error:
            self._bugs.report(error)
            return "", 0

    def _format_only(self, family: MetricFamily, labels: str, series: Series) -> str:
        is_allowed = self._allows_only(family, series)
        if is_allowed and self.shares_text(family.type, family.help):
            # The series keeps it.
            return self._typed[family.type].format_only(family, labels, series)
        text = ""
        for name, type_name, formatter in self._parts(family, is_allowed):
            text += formatter.head(name, type_name, family.help)
            text += formatter.format(family.name, labels, series)
        return text

    def format_table(self, family: MetricFamily) -> Iterator[text.Chunk]:
        """Yield a family of several series, or none, in chunks."""
        if not family.series_count:
            return
        is_allowed = self._allows_names(family)
        if is_allowed and family.type in DISTRIBUTIONS:
            # All series decide before the head; counters can be neither negative nor
            # NaN.  Their lines are not kept: a family may be most of the page.
            for label_texts, lines in slices.divide_family(family, self._now):
                if is_allowed:
                    is_allowed = self._allows_series(family, label_texts)
                # Nothing to print yet, but work to count: one look at a histogram, and
                # what a page takes at a summary, which keeps it for the page.
                is_summary = family.type is MetricType.SUMMARY
                yield "", lines if is_summary else len(label_texts)
        for name, type_name, formatter in self._parts(family, is_allowed):
            yield formatter.head(name, type_name, family.help), 2
            yield from text.format_series(family, formatter, self._bugs)

    def _parts(self, family: MetricFamily, is_allowed: bool) -> list[_Part]:
        """Return the families that a family is printed as."""
        name, type = family.name, family.type
        if is_allowed:
            if type is MetricType.COUNTER:
                name = name.removesuffix("_total")
            return [(name, text.TYPE_NAMES[type], self._typed[type])]
        if type not in DISTRIBUTIONS:
            return [(name, "unknown", self._formatters[None][type])]
        return [
            (name + suffix, "unknown", self._formatters[suffix][type])
            for suffix in _SERIES_SUFFIXES[type]
        ]

    def _allows_only(self, family: MetricFamily, series: Series) -> bool:
        """Return whether OpenMetrics allows the type of a family of one series."""
        type = family.type
        if type is MetricType.COUNTER:
            return bool(self.base_name(family.name))
        if type not in DISTRIBUTIONS:
            return True
        return not (
            series.may_be_negative(self._now)
            or _has_negative_bounds(series.options)
            or self._names.has_created(family.name)
        )

    def _allows_names(self, family: MetricFamily) -> bool:
        """Return whether OpenMetrics allows the type of a family with its names."""
        type = family.type
        if type is MetricType.COUNTER:
            return bool(self.base_name(family.name))
        if type not in DISTRIBUTIONS:
            return True
        all_names = family.all_label_names()
        if any(_has_negative_bounds(each.kind.options) for each in all_names):
            return False
        return not self._names.has_created(family.name)

    def base_name(self, name: str) -> str:
        """Return the name of a counter without `_total`; nothing for type unknown."""
        # HELP and TYPE omit it.
        if not name.endswith("_total"):
            return ""
        base = name[:-6]
        is_taken = base in self._names or self._names.has_created(base)
        return "" if is_taken else base

    def _allows_series(self, family: MetricFamily, label_texts: Sequence[str]) -> bool:
        """Return whether OpenMetrics allows the type of some series by their values."""
        find = family.finder()
        with self._bugs.catch():
            for labels in label_texts:
                series = find(labels)
                if series is not None and series.may_be_negative(self._now):
                    return False
        return True


def _has_negative_bounds(options: MetricOptions) -> bool:
    """Return whether observations may be negative, so that the sum may fall."""
    return bool(options.buckets) and options.buckets[0] < 0
