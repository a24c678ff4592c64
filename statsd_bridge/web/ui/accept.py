"""Whether a client prefers HTML, such as a browser, or JSON, such as curl."""

from __future__ import annotations

from typing import Final

_HTML: Final = ("text/html", "text/*", "*/*")
_JSON: Final = ("application/json", "application/*", "*/*")


def prefers_html(accept: str) -> bool:
    """Return whether an Accept header has HTML with a higher quality than JSON."""
    qualities = dict(map(_range, accept.split(",")))
    return _quality(qualities, _HTML) > _quality(qualities, _JSON)


def _range(text: str) -> tuple[str, float]:
    """Return a media range and its quality; one that is malformed has none."""
    name, *parameters = text.replace(" ", "").replace("\t", "").lower().split(";")
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return name, min(max(float(parameter[2:]), 0.0), 1.0)
            except ValueError:
                return name, 0.0
    return name, 1.0


def _quality(qualities: dict[str, float], names: tuple[str, ...]) -> float:
    """Return the quality of the most specific range that a header has, else 0."""
    return next((qualities[name] for name in names if name in qualities), 0.0)
