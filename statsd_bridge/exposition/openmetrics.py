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

from statsd_bridge.exposition import slices, text
from statsd_bridge.exposition.created import CREATED_TYPES, CreatedFormatter
from statsd_bridge.log import BugReporter
from statsd_bridge.memory import Account
from statsd_bridge.model import MetricType
from statsd_bridge.series import MetricFamily, Series
from statsd_bridge.syntax import escape_label_value

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
    types: dict[str, MetricType] = {}
    for start in range(0, len(families), MAX_NAMED_FAMILIES):
        part = families[start : start + MAX_NAMED_FAMILIES]
        types |= {family.name: family.type for family in part}
        yield "", len(part) // FAMILIES_PER_LINE
    names = _Names(types, reserved)
    page = _Page(names, now, bugs, created_lines=created_lines, kept=kept)
    for family in families:
        if not family.series_count:
            continue
        only = slices.only_series(family)
        if only is None:
            yield from page.format_family(family)
            continue
        labels, series = only
        lines = slices.only_lines(family, series, now)
        try:
            chunk = page.format_only(family, labels, series)
        except Exception as error:
            bugs.report(error)
        else:
            yield chunk, lines


_Part = tuple[str, str, text.SeriesFormatter]
"""A family on the page: its name and type, and what formats its series."""


class _Names:
    """All names on the page: those of the series and of other parts."""

    def __init__(
        self, types: Mapping[str, MetricType], reserved: Collection[str]
    ) -> None:
        self._types = types
        self._reserved = reserved

    def __contains__(self, name: object) -> bool:
        """Return whether a name is on the page."""
        if not isinstance(name, str):
            return False
        if name in self._types or name in self._reserved:
            return True
        if not name.endswith(_SAMPLE_SUFFIXES):
            return False
        return self._types.get(name.rpartition("_")[0]) in DISTRIBUTIONS


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

    def format_only(self, family: MetricFamily, labels: str, series: Series) -> str:
        """Return a family of one series."""
        is_allowed = self._allows_names(family)
        if is_allowed and family.type in DISTRIBUTIONS:
            is_allowed = not series.may_be_negative(self._now)
        text = ""
        for name, type_name, formatter in self._parts(family, is_allowed):
            text += formatter.head(name, type_name, family.help)
            text += formatter.format(family.name, labels, series)
        return text

    def format_family(self, family: MetricFamily) -> Iterator[text.Chunk]:
        """Yield a family in chunks."""
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

    def _allows_names(self, family: MetricFamily) -> bool:
        """Return whether OpenMetrics allows the type of a family with its names."""
        name, type = family.name, family.type
        if type is MetricType.COUNTER:
            # HELP and TYPE omit `_total`.
            base = name.removesuffix("_total")
            if base in ("", name) or base in self._names:
                return False
            name = base
        elif type not in DISTRIBUTIONS:
            return True
        elif type is MetricType.HISTOGRAM:
            # With a negative bound, observations may be negative and the sum may fall.
            for each in family.all_label_names():
                if any(bound < 0 for bound in each.kind.options.buckets[:1]):
                    return False
        return f"{name}_created" not in self._names

    def _allows_series(self, family: MetricFamily, label_texts: Sequence[str]) -> bool:
        """Return whether OpenMetrics allows the type of some series by their values."""
        find = family.finder()
        with self._bugs.catch():
            for labels in label_texts:
                series = find(labels)
                if series is not None and series.may_be_negative(self._now):
                    return False
        return True
