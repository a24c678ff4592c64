"""
Print metric families in OpenMetrics 1.0, in chunks; series have their names of text.py.

    counter api_hits_total      # TYPE api_hits counter         api_hits_total 3
    counter api_hits            # TYPE api_hits unknown         api_hits 3
    histogram x, sum NaN        # TYPE x_bucket unknown ...     three families

A family that OpenMetrics forbids for its type is printed as `unknown`, so a scraper
that prefers this format gets the same series as in the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

from statsd_bridge.exposition import text
from statsd_bridge.log import BugReporter
from statsd_bridge.model import MetricType
from statsd_bridge.series import MetricFamily
from statsd_bridge.syntax import escape_label_value

DISTRIBUTIONS = (MetricType.HISTOGRAM, MetricType.SUMMARY)

# Series of histograms and summaries besides the name of the family.
_SAMPLE_SUFFIXES = ("_bucket", "_count", "_sum")


def format_families(
    families: Sequence[MetricFamily],
    now: float,
    bugs: BugReporter,
    *,
    reserved: Collection[str],
) -> Iterator[tuple[str, int]]:
    """
    Yield all families that have series: chunks of text with their number of lines.

    `reserved` are names that other parts of the page use.  A series whose values raise
    is reported to `bugs` and skipped.
    """
    names = {*reserved, *(name for each in families for name in _series_names(each))}
    for family in families:
        if not family.series:
            continue
        # All values are formatted before the head: each of them can forbid the type.
        chunks: list[str] = []
        is_allowed = _allows_names(family, names)
        for texts, values in text.format_series(family, now, bugs):
            chunks.append("".join(texts))
            is_allowed = is_allowed and all(_allows(family.type, v) for v in values)
            # Nothing to print yet, but work to count.
            yield "", sum(map(len, values)) + 2
        if is_allowed:
            name, type_name = _family_name(family), text.TYPE_NAMES[family.type]
            yield from _with_head(name, type_name, family.help, chunks)
        elif family.type in DISTRIBUTIONS:
            for name, lines in _group_by_name(chunks).items():
                yield from _with_head(name, "unknown", family.help, lines)
        else:
            yield from _with_head(family.name, "unknown", family.help, chunks)


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


def _allows(metric_type: MetricType, values: text.Values) -> bool:
    """Return whether OpenMetrics allows the type of a series with these values."""
    match metric_type:
        case MetricType.COUNTER:
            return values[0] >= 0
        case MetricType.HISTOGRAM:
            return values[-2] >= 0
        case MetricType.SUMMARY:
            # A quantile may be NaN, when there are no observations.
            return values[-2] >= 0 and not any(each < 0 for each in values[:-2])
        case _:
            return True


def _group_by_name(chunks: Iterable[str]) -> dict[str, list[str]]:
    """Group the lines of a histogram or summary by series name."""
    lines: dict[str, list[str]] = {}
    for each in chunks:
        for line in each.removesuffix("\n").split("\n"):
            name = line.partition(" ")[0].partition("{")[0]
            lines.setdefault(name, []).append(f"{line}\n")
    return lines


def _with_head(
    name: str, type_name: str, help_text: str, chunks: Iterable[str]
) -> Iterator[tuple[str, int]]:
    # HELP escapes quotation marks, unlike in the text format.
    head = f"# HELP {name} {escape_label_value(help_text)}\n# TYPE {name} {type_name}\n"
    # The chunks are formatted already: joining each counts as one line of work.
    return ((each, 1) for each in chain([head], chunks))
