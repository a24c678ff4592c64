"""
Families to the text format 0.0.4, in slices.

    # HELP api_seconds How long it takes.
    # TYPE api_seconds histogram
    api_seconds_bucket{route="a",le="0.1"} 3
    api_seconds_bucket{route="a",le="+Inf"} 4
    api_seconds_sum{route="a"} 0.9
    api_seconds_count{route="a"} 4

The labels are kept as text, so a scrape only prints the numbers.  The page comes in
slices of bounded work: between two of them the caller may receive packets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from statsd_bridge.bugs import BugReporter
from statsd_bridge.model import MetricOptions, MetricType
from statsd_bridge.series import MetricFamily
from statsd_bridge.text import escape_help, format_number

SLICE = 1_000
"""Lines in one slice, about a millisecond's work; a single series may have more."""

# A set is shown as a gauge.
TYPES = {shape: str(shape) for shape in MetricType} | {MetricType.SET: "gauge"}


Numbers = tuple[float, ...]
"""Those of one series, in the order of its lines."""


def render(
    families: Iterable[MetricFamily], now: float, bugs: BugReporter
) -> Iterator[bytes]:
    """
    Print all families; a family without series is left out.

    A series whose values raise is reported to `bugs` and skipped.
    """
    return sliced(_parts(families, now, bugs))


def sliced(parts: Iterable[tuple[str, int]]) -> Iterator[bytes]:
    """Put texts together until they stand for so many lines."""
    gathered: list[str] = []
    lines = 0
    for text, more in parts:
        gathered.append(text)
        lines += more
        if lines >= SLICE:
            yield "".join(gathered).encode()
            gathered.clear()
            lines = 0
    yield "".join(gathered).encode()


def written(
    family: MetricFamily, now: float, bugs: BugReporter
) -> Iterator[tuple[list[str], list[Numbers]]]:
    """Write the series of a family, a slice's worth at a time; their numbers, too."""
    write, get = _writer(family), family.series.get
    # Most of a large page is in this loop: 0.4 us for a counter.
    for some in _worth_a_slice(family):
        texts: list[str] = []
        all_numbers: list[Numbers] = []
        for labels in some:
            series = get(labels)
            if series is None:
                # It went between two slices.
                continue
            try:
                numbers = series.values(now)
                texts.append(write(labels, series.options, numbers))
                all_numbers.append(numbers)
            except Exception as error:
                bugs.report(error)
        yield texts, all_numbers


def _worth_a_slice(family: MetricFamily) -> Iterator[Sequence[str]]:
    texts, lines = family.label_texts(), 1
    if family.type in (MetricType.HISTOGRAM, MetricType.SUMMARY):
        form = next(iter(family.series.values())).options
        lines = len(form.buckets) + len(form.quantiles) + 3
    size = max(1, SLICE // lines)
    for start in range(0, len(texts), size):
        yield texts[start : start + size]


def _parts(
    families: Iterable[MetricFamily], now: float, bugs: BugReporter
) -> Iterator[tuple[str, int]]:
    for family in families:
        if not family.series:
            continue
        head = (
            f"# HELP {family.name} {escape_help(family.help)}\n"
            f"# TYPE {family.name} {TYPES[family.type]}\n"
        )
        for texts, numbers in written(family, now, bugs):
            yield head + "".join(texts), sum(map(len, numbers)) + 2
            head = ""


Write = Callable[[str, MetricOptions, Numbers], str]
"""Writes the lines of one series: its labels, its form and its numbers in, text out."""


def _writer(family: MetricFamily) -> Write:
    name = family.name
    match family.type:
        case MetricType.HISTOGRAM:
            return _distribution(name, f"{name}_bucket", _bounds)
        case MetricType.SUMMARY:
            return _distribution(name, name, _shares)

    def write(labels: str, _: MetricOptions, numbers: Numbers) -> str:
        number = format_number(numbers[0])
        return f"{name}{{{labels}}} {number}\n" if labels else f"{name} {number}\n"

    return write


def _distribution(
    name: str, line: str, list_ends: Callable[[MetricOptions], Sequence[str]]
) -> Write:
    """
    Write a line for each end, then sum and count.

        name_bucket{route="a",  +  le="0.1"} 3
    """
    ends_of: dict[int, Sequence[str]] = {}

    def write(labels: str, form: MetricOptions, numbers: Numbers) -> str:
        ends = ends_of.get(id(form)) or ends_of.setdefault(id(form), list_ends(form))
        *rows, total, count = map(format_number, numbers)
        # The start of a line is what joins the ends of all lines: one join instead of
        # as many formats as there are buckets.
        start = f"{line}{{{labels}," if labels else f"{line}{{"
        rest = [f"{end}{row}\n" for end, row in zip(ends, rows, strict=True)]
        plain = f"{{{labels}}}" if labels else ""
        sums = f"{name}_sum{plain} {total}\n{name}_count{plain} {count}\n"
        return start.join(["", *rest]) + sums

    return write


def _bounds(form: MetricOptions) -> list[str]:
    bounds = [*map(format_number, form.buckets), "+Inf"]
    return [f'le="{bound}"}} ' for bound in bounds]


def _shares(form: MetricOptions) -> list[str]:
    shares = [format_number(each.quantile) for each in form.quantiles]
    return [f'quantile="{share}"}} ' for share in shares]
