"""
Families to the text format 0.0.4, in slices.

    # HELP api_seconds How long it takes.
    # TYPE api_seconds histogram
    api_seconds_bucket{route="a",le="0.1"} 3      <- template: ...,le="0.1"} %s
    api_seconds_bucket{route="a",le="+Inf"} 4
    api_seconds_sum{route="a"} 0.9
    api_seconds_count{route="a"} 4

A series keeps its finished text, so a scrape only prints numbers into it.  The text
comes in slices of bounded work: between two of them the caller may receive packets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from statsd_bridge.model import Family, Labels, Series, Shape
from statsd_bridge.text import format_number, help_text, label_value

SLICE = 500
"""Series in one slice."""

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
    # A copy: series may come and go between two slices.
    for labels, each in list(family.series.items()):
        try:
            if each.template is None:
                each.template = template(family, labels, each)
            numbers = each.numbers(now)
            text = each.template % tuple([format_number(n) for n in numbers])
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


def template(family: Family, labels: Labels, series: Series) -> str:
    """Write all lines of a series, with `%s` for each number."""
    name = family.name
    text = [f'{label}="{label_value(value)}"' for label, value in labels]
    plain = _braced(text)
    match family.shape:
        case Shape.HISTOGRAM:
            bounds = [*map(format_number, series.form.buckets), "+Inf"]
            lines = [(f"{name}_bucket", [*text, f'le="{le}"']) for le in bounds]
        case Shape.SUMMARY:
            shares = [format_number(each.quantile) for each in series.form.quantiles]
            lines = [(name, [*text, f'quantile="{share}"']) for share in shares]
        case _:
            return f"{name}{_percent(plain)} %s\n"
    written = [f"{start}{_percent(_braced(pairs))} %s\n" for start, pairs in lines]
    totals = [f"{name}{end}{_percent(plain)} %s\n" for end in ("_sum", "_count")]
    return "".join(written + totals)


def _braced(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _percent(text: str) -> str:
    """Keep a percent sign of a label's value apart from the template's own."""
    return text.replace("%", "%%")
