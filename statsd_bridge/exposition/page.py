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

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

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
    parts: list[str] = []
    for family in families:
        if not family.series:
            continue
        parts.append(
            f"# HELP {family.name} {help_text(family.help)}\n"
            f"# TYPE {family.name} {TYPES[family.shape]}\n"
        )
        # A copy: series may come and go between two slices.
        for labels, series in list(family.series.items()):
            try:
                parts.append(_lines(family, labels, series, now))
            except Exception as error:
                failed(error)
            if len(parts) >= SLICE:
                yield "".join(parts).encode()
                parts.clear()
    yield "".join(parts).encode()


def _lines(family: Family, labels: Labels, series: Series, now: float) -> str:
    if series.template is None:
        series.template = template(family, labels, series)
    return series.template % tuple([format_number(n) for n in series.numbers(now)])


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
