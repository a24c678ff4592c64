"""
The formats of a page, and which one an Accept header asks for.

Prometheus asks for OpenMetrics first and takes the text format as well; a browser and
curl get the text format.
"""

from __future__ import annotations

from enum import Enum

from statsd_bridge.text import number


class Format(Enum):
    """A format by its media type; the value is the Content-Type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


# The versions of OpenMetrics that mean what is printed here; none is the newest.
_VERSIONS = ("", "1.0.0", "0.0.1")

MOST_RANGES = 100


def choose(accept: str) -> Format:
    """Choose by an Accept header (RFC 9110, 12.5.1); what it cannot mean is ignored."""
    open_metrics = text = 0.0
    for media_range in accept.split(",", MOST_RANGES)[:MOST_RANGES]:
        media_type, *parameters = [part.strip() for part in media_range.split(";")]
        values = dict(_pair(parameter) for parameter in parameters)
        quality = number(values.get("q", "1")) or 0.0
        match media_type.lower():
            case "application/openmetrics-text":
                if values.get("version", "") in _VERSIONS:
                    open_metrics = max(open_metrics, quality)
            case "text/plain" | "text/*" | "*/*":
                text = max(text, quality)
    return Format.OPENMETRICS if open_metrics and open_metrics >= text else Format.TEXT


def _pair(parameter: str) -> tuple[str, str]:
    key, _, value = parameter.partition("=")
    return key.strip().lower(), value.strip().strip('"')
