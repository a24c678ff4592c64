"""
Families to OpenMetrics 1.0, in slices; the names of the series are the text format's.

    counter api_hits_total      # TYPE api_hits counter         api_hits_total 3
    counter api_hits            # TYPE api_hits unknown         api_hits 3
    histogram x, sum NaN        # TYPE x_bucket unknown ...     three families

Whatever OpenMetrics forbids to a type is printed as `unknown`, so that a scraper which
asks for this format first gets what it would get in the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain

from statsd_bridge.bugs import BugReporter
from statsd_bridge.exposition import page
from statsd_bridge.model import MetricType
from statsd_bridge.series import MetricFamily
from statsd_bridge.text import escape_label_value

# What a histogram and a summary print besides the name of the summary's quantiles.
PARTS = ("_bucket", "_count", "_sum")
DISTRIBUTIONS = (MetricType.HISTOGRAM, MetricType.SUMMARY)


def render(
    families: Sequence[MetricFamily],
    now: float,
    bugs: BugReporter,
    taken: Collection[str],
) -> Iterator[bytes]:
    """
    Print all families, without the end; `taken` are names that are printed elsewhere.

    A series whose values raise is reported to `bugs` and skipped.
    """
    names = {*taken, *(name for each in families for name in _printed(each))}
    return page.sliced(_parts(families, now, bugs, names))


def _parts(
    families: Iterable[MetricFamily],
    now: float,
    bugs: BugReporter,
    names: Collection[str],
) -> Iterator[tuple[str, int]]:
    for family in families:
        if not family.series:
            continue
        # All numbers first: what a family may be called depends on each.
        texts: list[str] = []
        is_allowed = _is_allowed(family, names)
        for some, numbers in page.written(family, now, bugs):
            texts.append("".join(some))
            is_allowed = is_allowed and all(_may_be(family.type, n) for n in numbers)
            # Nothing to print yet, and work that counts.
            yield "", sum(map(len, numbers)) + 2
        if is_allowed:
            title, kind = _title(family), page.TYPES[family.type]
            yield from _with_head(_head(title, kind, family.help), texts)
        elif family.type in DISTRIBUTIONS:
            for name, lines in _taken_apart(texts).items():
                yield from _with_head(_head(name, "unknown", family.help), lines)
        else:
            yield from _with_head(_head(family.name, "unknown", family.help), texts)


def _printed(family: MetricFamily) -> list[str]:
    parts = PARTS if family.type in DISTRIBUTIONS else ()
    return [family.name, *(family.name + part for part in parts)]


def _title(family: MetricFamily) -> str:
    """Give the name in HELP and TYPE: a counter's is without `_total`."""
    is_counter = family.type is MetricType.COUNTER
    return family.name.removesuffix("_total") if is_counter else family.name


def _is_allowed(family: MetricFamily, names: Collection[str]) -> bool:
    """Tell whether a family's names leave it its type."""
    title = _title(family)
    match family.type:
        case MetricType.COUNTER:
            if title in ("", family.name) or title in names:
                return False
        case MetricType.HISTOGRAM:
            # The sum of what may be negative may fall, which a sum here must not.
            forms = {id(each.options): each.options for each in family.series.values()}
            if any(form.buckets[:1] and form.buckets[0] < 0 for form in forms.values()):
                return False
        case MetricType.GAUGE | MetricType.SET:
            return True
    return f"{title}_created" not in names


def _may_be(shape: MetricType, numbers: tuple[float, ...]) -> bool:
    """Tell whether the numbers of one series leave a family its type."""
    match shape:
        case MetricType.COUNTER:
            return numbers[0] >= 0
        case MetricType.HISTOGRAM:
            return numbers[-2] >= 0
        case MetricType.SUMMARY:
            # A quantile of nothing is NaN, which is allowed.
            return numbers[-2] >= 0 and not any(each < 0 for each in numbers[:-2])
        case _:
            return True


def _taken_apart(texts: Iterable[str]) -> dict[str, list[str]]:
    """Sort the lines of a histogram or summary by their names, families now."""
    lines: dict[str, list[str]] = {}
    for text in texts:
        for line in text.removesuffix("\n").split("\n"):
            name = line.partition(" ")[0].partition("{")[0]
            lines.setdefault(name, []).append(f"{line}\n")
    return lines


def _with_head(head: str, texts: Iterable[str]) -> Iterator[tuple[str, int]]:
    # The texts are made: to put them together is little work.
    return ((text, 1) for text in chain([head], texts))


def _head(name: str, kind: str, help: str) -> str:
    # Here a quotation mark is escaped in a help text, too.
    return f"# HELP {name} {escape_label_value(help)}\n# TYPE {name} {kind}\n"
