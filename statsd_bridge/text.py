"""
What Prometheus allows in names, label values and numbers.

Text from a statsd line in, text that is safe on a metrics page out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

# A run of dashes is one underscore; anything else that is not allowed is one each.
_NOT_ALLOWED = re.compile(r"-+|[^a-zA-Z0-9_]")
_CLEAN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*").fullmatch

# Go's strconv.ParseFloat: underscores only between digits, hex floats need an exponent.
_DIGITS = r"[0-9](?:_?[0-9])*"
_DECIMAL = re.compile(
    rf"[+-]?(?:{_DIGITS}(?:\.(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?"
).fullmatch
_HEX_DIGITS = r"[0-9a-fA-F](?:_?[0-9a-fA-F])*"
_HEX = re.compile(
    rf"[+-]?0[xX]_?(?:{_HEX_DIGITS}(?:\.(?:{_HEX_DIGITS})?)?|\.{_HEX_DIGITS})"
    rf"[pP][+-]?{_DIGITS}"
).fullmatch
_INFINITE = re.compile(r"[+-]?inf(?:inity)?", re.IGNORECASE).fullmatch


def metric_name(name: str) -> str:
    """
    Turn a statsd name or a tag's key into a Prometheus name; empty stays empty.

    Prometheus data model: [a-zA-Z_][a-zA-Z0-9_]*.
    """
    if _CLEAN(name):
        return name
    escaped = _NOT_ALLOWED.sub("_", name)
    return f"_{escaped}" if name[:1].isascii() and name[:1].isdigit() else escaped


def is_reserved_label(name: str) -> bool:
    """Tell whether Prometheus keeps a label's name for itself."""
    return name.startswith("__")


def number(text: str) -> float | None:
    """Read a number as Go's strconv.ParseFloat does; None where that refuses it."""
    if _INFINITE(text) or text.lower() == "nan":
        return float(text)
    value = _written(text)
    return None if value is None or math.isinf(value) else value


def floats(values: Iterable[bytes]) -> list[float] | None:
    """
    Read many numbers at once; None if one of them is none, or too large.

    float() reads more than Go does: who calls has made sure of the characters.
    """
    try:
        numbers = list(map(float, values))
    except ValueError:
        return None
    # One that is too large is infinite, and then so is the sum.
    return numbers if math.isfinite(sum(numbers)) else None


def overflow(text: str) -> float | None:
    """Give the infinity that a number is which only its size forbids; else None."""
    value = _written(text)
    return value if value is not None and math.isinf(value) else None


def _written(text: str) -> float | None:
    """Read what is written in digits; what is too large is infinite."""
    if _DECIMAL(text):
        return float(text)
    if not _HEX(text):
        return None
    try:
        return float.fromhex(text.replace("_", ""))
    except OverflowError:
        return -math.inf if text.startswith("-") else math.inf


def format_number(value: float) -> str:
    """
    Print a number as statsd_exporter does: the fewest digits that read back the same.

        7   0.0001   999999.5   1e+06   1e-05   NaN   +Inf
    """
    # Most numbers of a page are small whole ones: 40 ns, and 90 for the next.
    text = _SMALL.get(value)
    if text is not None:
        return text
    if value == value // 1 and -1e6 < value < 1e6:
        return str(int(value))
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if 1e-4 <= abs(value) < 1e6:
        return repr(value)
    return _scientific(value)


_SMALL = {float(number): str(number) for number in range(1_000)}


def _scientific(value: float) -> str:
    """
    1.234567e+06: shortest digits, an exponent of at least two.

    repr has the digits: 1234567.0, 1.5e-05.
    """
    digits, _, exponent = repr(abs(value)).partition("e")
    whole, _, part = digits.partition(".")
    figures = (whole + part).rstrip("0")
    point = "." if len(figures) > 1 else ""
    power = int(exponent or 0) + len(whole) - 1
    sign = "-" if value < 0 else ""
    return f"{sign}{figures[0]}{point}{figures[1:]}e{power:+03d}"


def label_value(text: str) -> str:
    """Escape a label's value for the text formats."""
    if text.isalnum():
        return text
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def label_pairs(labels: Iterable[tuple[str, str]]) -> str:
    """
    Write labels as they stand between the braces.

    a="1",b="2"
    """
    return ",".join([f'{name}="{label_value(value)}"' for name, value in labels])


def help_text(text: str) -> str:
    """Escape a HELP line for text 0.0.4; OpenMetrics escapes as a label's value."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")
