"""
Choose the format of a page by the Accept header of the request, and render the page.

Prometheus prefers OpenMetrics and accepts the text format; with native histograms or
created timestamps it prefers protobuf.  Browsers and curl get text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

from statsd_bridge.exposition import openmetrics, protobuf, text
from statsd_bridge.exposition.self_metrics import SelfMetrics, reserved_names
from statsd_bridge.log import BugReporter
from statsd_bridge.memory import Account
from statsd_bridge.series import MetricFamily
from statsd_bridge.syntax import parse_float


class Format(Enum):
    """A format of the page; the value is its Content-Type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
    PROTOBUF = (
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily;"
        " encoding=delimited"
    )


MAX_MEDIA_RANGES = 100

# Parameters of a media range with the values that this page satisfies; "": without it.
# Others, such as `escaping`, are ignored: all names and labels are plain ones.
_PARAMETERS: dict[Format, dict[str, tuple[str, ...]]] = {
    Format.TEXT: {},
    Format.OPENMETRICS: {"version": ("", "1.0.0", "0.0.1")},
    Format.PROTOBUF: {
        "proto": ("io.prometheus.client.MetricFamily",),
        "encoding": ("delimited",),
    },
}

# Formats that a media range includes, and how specific the range is.
_EXACT, _TYPE, _ANY = 3, 2, 1
_RANGES = {
    "application/vnd.google.protobuf": [(Format.PROTOBUF, _EXACT)],
    "application/openmetrics-text": [(Format.OPENMETRICS, _EXACT)],
    "application/*": [(Format.OPENMETRICS, _TYPE)],
    "text/plain": [(Format.TEXT, _EXACT)],
    "text/*": [(Format.TEXT, _TYPE)],
    "*/*": [(Format.OPENMETRICS, _ANY), (Format.TEXT, _ANY)],
}


def choose(accept: str) -> Format:
    """
    Choose a format by an Accept header (RFC 9110, 12.5.1); malformed parts are ignored.

    The most specific range sets the quality of a format.  At equal quality, protobuf
    precedes OpenMetrics and OpenMetrics text, but each of the two must be named
    explicitly to be chosen; protobuf must always be.
    """
    best = dict.fromkeys(Format, (0, 0.0))
    for media_range in accept.split(",", MAX_MEDIA_RANGES)[:MAX_MEDIA_RANGES]:
        media_type, *parameters = [part.strip() for part in media_range.split(";")]
        values = dict(_parse_parameter(parameter) for parameter in parameters)
        quality = min(1.0, max(0.0, parse_float(values.get("q", "1")) or 0.0))
        for page_format, precision in _RANGES.get(media_type.lower(), ()):
            if _satisfies(page_format, values):
                best[page_format] = max(best[page_format], (precision, quality))
    chosen = Format.TEXT
    for page_format in (Format.OPENMETRICS, Format.PROTOBUF):
        precision, quality = best[page_format]
        is_named = precision == _EXACT and quality > 0
        other = best[chosen][1]
        if quality > other or (is_named and quality == other):
            chosen = page_format
    return chosen


def _satisfies(page_format: Format, values: Mapping[str, str]) -> bool:
    return all(
        values.get(name, "") in allowed
        for name, allowed in _PARAMETERS[page_format].items()
    )


def _parse_parameter(parameter: str) -> tuple[str, str]:
    key, _, value = parameter.partition("=")
    return key.strip().lower(), value.strip().strip('"')


def render(
    page_format: Format,
    families: Sequence[MetricFamily],
    now: float,
    *,
    bugs: BugReporter,
    self_metrics: SelfMetrics,
    encoded: Account,
    created_lines: bool = False,
) -> Iterator[bytes]:
    """
    Yield a whole page in slices, self-metrics last.

    An empty slice lets the reactor handle other events.  A series whose values raise is
    reported to `bugs` and skipped.  What series keep for the next page is charged to
    `encoded`.  `created_lines` is for OpenMetrics.
    """
    if page_format is Format.PROTOBUF:
        messages = protobuf.format_families(families, now, bugs, encoded)
        yield from protobuf.join_slices(messages)
        yield self_metrics.render_protobuf()
    elif page_format is Format.OPENMETRICS:
        reserved = reserved_names()
        chunks = openmetrics.format_families(
            families,
            now,
            bugs,
            reserved=reserved,
            created_lines=created_lines,
            kept=encoded,
        )
        yield from text.join_slices(chunks)
        yield self_metrics.render_openmetrics()
    else:
        yield from text.join_slices(text.format_families(families, now, bugs, encoded))
        yield self_metrics.render_text()
