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

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache, partial

from statsd_bridge.model import Family, Form, Shape
from statsd_bridge.text import format_number, help_text

SLICE = 500
"""Series in one slice: a few milliseconds at most."""

# A set is shown as a gauge.
TYPES = {shape: str(shape) for shape in Shape} | {Shape.SET: "gauge"}


Failed = Callable[[Exception], None]


def render(families: Iterable[Family], now: float, failed: Failed) -> Iterator[bytes]:
    """
    Print all families; a family without series is left out.

    `failed` is told of a series that a bug of ours keeps from being printed; the page
    goes on with the next one.
    """
    return sliced(_parts(families, now, failed))


def sliced(parts: Iterable[str]) -> Iterator[bytes]:
    """Put parts together, each about one series, so many to a slice."""
    gathered: list[str] = []
    for part in parts:
        gathered.append(part)
        if len(gathered) >= SLICE:
            yield "".join(gathered).encode()
            gathered.clear()
    yield "".join(gathered).encode()


def series(
    family: Family, now: float, failed: Failed
) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Write each series of a family; yields its lines, and the numbers in them."""
    write = _writer(family)
    get = family.series.get
    for labels in family.texts():
        each = get(labels)
        if each is None:
            # It went between two slices.
            continue
        try:
            numbers = each.numbers(now)
            text = write(labels, each.form, numbers)
        except Exception as error:
            failed(error)
        else:
            yield text, numbers


def _parts(families: Iterable[Family], now: float, failed: Failed) -> Iterator[str]:
    for family in families:
        if not family.series:
            continue
        yield (
            f"# HELP {family.name} {help_text(family.help)}\n"
            f"# TYPE {family.name} {TYPES[family.shape]}\n"
        )
        for text, _ in series(family, now, failed):
            yield text


Write = Callable[[str, Form, tuple[float, ...]], str]
"""Writes the lines of one series: its labels, its form and its numbers in, text out."""


def _writer(family: Family) -> Write:
    match family.shape:
        case Shape.HISTOGRAM:
            return partial(_distribution, f"{family.name}_bucket", _bounds, family.name)
        case Shape.SUMMARY:
            return partial(_distribution, family.name, _shares, family.name)
        case _:
            return partial(_single, family.name)


def _single(name: str, labels: str, _: Form, numbers: tuple[float, ...]) -> str:
    number = format_number(numbers[0])
    return f"{name}{{{labels}}} {number}\n" if labels else f"{name} {number}\n"


def _distribution(
    line: str,
    ends: Callable[[Form], tuple[str, ...]],
    name: str,
    labels: str,
    form: Form,
    numbers: tuple[float, ...],
) -> str:
    """
    Write a line for each end, then sum and count.

        name_bucket{route="a",  +  le="0.1"} 3
    """
    texts = [format_number(number) for number in numbers]
    *_, total, count = texts
    # The start of a line is what joins the ends of all lines: one join instead of as
    # many formats as there are buckets.
    start = f"{line}{{{labels}," if labels else f"{line}{{"
    rest = [f"{end}{text}\n" for end, text in zip(ends(form), texts)]  # noqa: B905
    plain = f"{{{labels}}}" if labels else ""
    sums = f"{name}_sum{plain} {total}\n{name}_count{plain} {count}\n"
    return start.join(["", *rest]) + sums


@lru_cache
def _bounds(form: Form) -> tuple[str, ...]:
    bounds = [*map(format_number, form.buckets), "+Inf"]
    return tuple([f'le="{bound}"}} ' for bound in bounds])


@lru_cache
def _shares(form: Form) -> tuple[str, ...]:
    shares = [format_number(each.quantile) for each in form.quantiles]
    return tuple([f'quantile="{share}"}} ' for share in shares])
