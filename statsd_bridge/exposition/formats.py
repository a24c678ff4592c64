"""
The formats of a page, and which one an Accept header asks for.

Prometheus asks for OpenMetrics first and takes the text format as well; a browser and
curl get the text format.
"""

from __future__ import annotations

from enum import Enum

from statsd_bridge.text import parse_float


class Format(Enum):
    """A format by its media type; the value is the Content-Type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


# The versions of OpenMetrics that mean what is printed here; none is the newest.
_VERSIONS = ("", "1.0.0", "0.0.1")

MOST_RANGES = 100


# Which formats a media range means, and how closely.
_EXACT, _TYPE, _ANY = 3, 2, 1
_RANGES = {
    "application/openmetrics-text": [(Format.OPENMETRICS, _EXACT)],
    "application/*": [(Format.OPENMETRICS, _TYPE)],
    "text/plain": [(Format.TEXT, _EXACT)],
    "text/*": [(Format.TEXT, _TYPE)],
    "*/*": [(Format.OPENMETRICS, _ANY), (Format.TEXT, _ANY)],
}


def choose(accept: str) -> Format:
    """
    Choose by an Accept header (RFC 9110, 12.5.1); what it cannot mean is ignored.

    The closest range decides on a format.  Of two that are as good, OpenMetrics must
    have been named.
    """
    best = dict.fromkeys(Format, (0, 0.0))
    for media_range in accept.split(",", MOST_RANGES)[:MOST_RANGES]:
        media_type, *parameters = [part.strip() for part in media_range.split(";")]
        values = dict(_pair(parameter) for parameter in parameters)
        quality = parse_float(values.get("q", "1")) or 0.0
        for form, closeness in _RANGES.get(media_type.lower(), ()):
            if form is Format.TEXT or values.get("version", "") in _VERSIONS:
                best[form] = max(best[form], (closeness, quality))
    closeness, quality = best[Format.OPENMETRICS]
    _, of_text = best[Format.TEXT]
    is_asked = closeness == _EXACT and quality > 0
    is_better = quality > of_text or (is_asked and quality == of_text)
    return Format.OPENMETRICS if is_better else Format.TEXT


def _pair(parameter: str) -> tuple[str, str]:
    key, _, value = parameter.partition("=")
    return key.strip().lower(), value.strip().strip('"')
