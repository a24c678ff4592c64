"""
Print metric families in OpenMetrics 1.0, in chunks; series have their names of text.py.

    counter api_hits_total      # TYPE api_hits counter         api_hits_total 3
    counter api_hits            # TYPE api_hits unknown         api_hits 3
    histogram x, sum NaN        # TYPE x_bucket unknown ...     three families

A family that OpenMetrics forbids for its type is printed as `unknown`, so a scraper
that prefers this format gets the same series as in the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from statsd_bridge.exposition import text
from statsd_bridge.log import BugReporter
from statsd_bridge.model import MetricType
from statsd_bridge.series import MetricFamily
from statsd_bridge.syntax import escape_label_value

DISTRIBUTIONS = (MetricType.HISTOGRAM, MetricType.SUMMARY)

# Series of histograms and summaries besides the name of the family.
_SAMPLE_SUFFIXES = ("_bucket", "_count", "_sum")

# Series names of one family that is printed as several of type unknown.
_SERIES_SUFFIXES: dict[MetricType, tuple[str | None, ...]] = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.SUMMARY: ("", "_sum", "_count"),
}


def format_families(
    families: Sequence[MetricFamily],
    now: float,
    bugs: BugReporter,
    *,
    reserved: Collection[str],
) -> Iterator[text.Chunk]:
    """
    Yield all families that have series, in chunks.

    `reserved` are names that other parts of the page use.  A series whose values raise
    is reported to `bugs` and skipped.
    """
    names = {*reserved, *(name for each in families for name in _series_names(each))}
    for family in families:
        if not family.series:
            continue
        is_allowed = _allows_names(family, names)
        if is_allowed and family.type in DISTRIBUTIONS:
            # All series decide before the head; counters can be neither negative nor
            # NaN.  Their lines are not kept: a family may be most of the page.
            for label_texts, lines in text.divide_family(family):
                if is_allowed:
                    is_allowed = _allows_series(family, label_texts, now, bugs)
                # Nothing to print yet, but work to count.
                yield "", lines
        if is_allowed:
            name, type_name = _family_name(family), text.TYPE_NAMES[family.type]
            yield _head(name, type_name, family.help), 2
            yield from text.format_series(family, now, bugs)
            continue
        for suffix in _SERIES_SUFFIXES.get(family.type, (None,)):
            name = family.name + (suffix or "")
            yield _head(name, "unknown", family.help), 2
            yield from text.format_series(family, now, bugs, suffix)


def _series_names(family: MetricFamily) -> list[str]:
    suffixes = _SAMPLE_SUFFIXES if family.type in DISTRIBUTIONS else ()
    return [family.name, *(family.name + suffix for suffix in suffixes)]


def _family_name(family: MetricFamily) -> str:
    """Return the name for HELP and TYPE, which omits `_total` for a counter."""
    is_counter = family.type is MetricType.COUNTER
    return family.name.removesuffix("_total") if is_counter else family.name


def _allows_names(family: MetricFamily, names: Collection[str]) -> bool:
    """Return whether OpenMetrics allows the type of a family with these names."""
    name = _family_name(family)
    match family.type:
        case MetricType.COUNTER:
            if name in ("", family.name) or name in names:
                return False
        case MetricType.HISTOGRAM:
            # With a negative bound, observations may be negative and the sum may fall.
            buckets = [each.options.buckets for each in family.label_names.values()]
            if any(bound < 0 for bounds in buckets for bound in bounds[:1]):
                return False
        case MetricType.GAUGE | MetricType.SET:
            return True
    return f"{name}_created" not in names


def _allows_series(
    family: MetricFamily, label_texts: Sequence[str], now: float, bugs: BugReporter
) -> bool:
    """Return whether OpenMetrics allows the type of some series with their values."""
    find = family.series.get
    with bugs.catch():
        for labels in label_texts:
            series = find(labels)
            if series is not None and series.may_be_negative(now):
                return False
    return True


def _head(name: str, type_name: str, help_text: str) -> str:
    # HELP escapes quotation marks, unlike in the text format.
    help_text = escape_label_value(help_text)
    return f"# HELP {name} {help_text}\n# TYPE {name} {type_name}\n"
