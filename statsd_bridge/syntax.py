"""
Syntax of Go and Prometheus: names, label values, numbers and durations.

`parse_*` read what an operator or a sender wrote and return None where Go refuses it;
`format_*` and `escape_*` write text of a metrics page.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

# A run of dashes is one underscore; anything else that is not allowed is one each.
_NOT_ALLOWED = re.compile(r"-+|[^a-zA-Z0-9_]")

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

MAX_DURATION_LENGTH: Final = 100
NANOSECONDS_PER_SECOND: Final = 1_000_000_000
_INT64: Final = 1 << 63
_DURATION_PART = re.compile(
    r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)"
)
_DURATION = re.compile(rf"[-+]?(?:{_DURATION_PART.pattern})+")
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    # The micro sign and the Greek letter look the same; Go takes both.
    "\u00b5s": 1_000,
    "\u03bcs": 1_000,
    "ms": 1_000_000,
    "s": NANOSECONDS_PER_SECOND,
    "m": 60 * NANOSECONDS_PER_SECOND,
    "h": 3600 * NANOSECONDS_PER_SECOND,
}

_SIZE = re.compile(r"([0-9.eE+_-]+) *([kKMGT]i?)?[bB]?")
_SIZE_UNITS: Final = {
    letter + suffix: base ** (power + 1)
    for suffix, base in (("", 1_000), ("i", 1_024))
    for power, letter in enumerate("kMGT")
} | {"": 1, "K": 1_000, "Ki": 1_024}

# a="1",b="2"
_LABEL = re.compile(r'([^=,]+)="([^"\\]*(?:\\.[^"\\]*)*)"')
_ESCAPED = re.compile(r"\\(.)")


def escape_metric_name(name: str) -> str:
    """
    Turn a statsd name or the key of a tag into a Prometheus name; empty stays empty.

    Prometheus data model: [a-zA-Z_][a-zA-Z0-9_]*.
    """
    # Nearly all names: 90 ns, where the regular expression takes 700 (timeit).
    joined = name.replace(".", "_")
    if joined.isascii() and joined.isidentifier():
        return joined
    escaped = _NOT_ALLOWED.sub("_", name)
    return f"_{escaped}" if name[:1].isascii() and name[:1].isdigit() else escaped


def is_reserved_label(name: str) -> bool:
    """Return whether Prometheus reserves a label name for internal use."""
    return name.startswith("__")


def parse_float(text: str) -> float | None:
    """Read a number like Go's strconv.ParseFloat; None where Go returns an error."""
    if _INFINITE(text) or text.lower() == "nan":
        return float(text)
    value = _parse_digits(text)
    return None if value is None or math.isinf(value) else value


def parse_floats(texts: Iterable[bytes]) -> list[float] | None:
    """
    Read many plain numbers at once.

    Return None if one is not a number, or if one of them or their sum exceeds a float.

    float() accepts more than Go: the caller has checked the characters.
    """
    try:
        numbers = list(map(float, texts))
    except ValueError:
        return None
    # A number that is too large becomes infinite, and so does the sum.
    return numbers if math.isfinite(sum(numbers)) else None


def parse_overflow(text: str) -> float | None:
    """Return the infinity for digits that exceed a float; None for any other text."""
    value = _parse_digits(text)
    return value if value is not None and math.isinf(value) else None


def parse_whole_number(text: str) -> int | None:
    """
    Read a whole number like kingpin, the flag library of statsd_exporter.

    It is a float, such as 8.388608e+06.  None if it has a fraction or exceeds 64 bits.
    """
    value = parse_float(text)
    if value is None or not value.is_integer() or abs(value) >= _INT64:
        return None
    return int(value)


def parse_size(text: str) -> int | None:
    """
    Read a number of bytes: 1000000, 512MiB, 1.5GB, 512Mi, 8.388608e+06.

    None if it is not one, is negative or exceeds 64 bits.
    """
    match = _SIZE.fullmatch(text)
    if match is None:
        return None
    number = parse_float(match[1])
    if number is None:
        return None
    size = number * _SIZE_UNITS[match[2] or ""]
    return int(size) if 0 <= size < _INT64 else None


def parse_duration(text: str) -> int | None:
    """
    Read a duration like Go's time.ParseDuration, in nanoseconds: 1h30m, 1.5s, -1s, 0.

    None if it is not one, or exceeds 64 bits (292 years).
    """
    if text in ("0", "+0", "-0"):
        return 0
    if len(text) > MAX_DURATION_LENGTH or not _DURATION.fullmatch(text):
        return None
    total = 0
    for number, unit in _DURATION_PART.findall(text):
        whole, _, fraction = number.partition(".")
        total += int(whole + fraction) * _UNITS[unit] // 10 ** len(fraction)
    total = -total if text[0] == "-" else total
    return total if -_INT64 <= total < _INT64 else None


def _parse_digits(text: str) -> float | None:
    """Read a decimal or hexadecimal number; one that is too large is infinite."""
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
    Print a number like statsd_exporter: the fewest digits that read back the same.

        7   0.0001   999999.5   1e+06   1e-05   NaN   +Inf
    """
    # Most numbers on a page are small and whole, or within these bounds: 40 ns by
    # table, 250 ns by repr (timeit on this function).
    text = SMALL_NUMBERS.get(value)
    if text is not None:
        return text
    if 1e-4 <= value < 1e6 or -1e6 < value <= -1e-4:
        text = repr(value)
        return text[:-2] if text[-2:] == ".0" else text
    if value != value:
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return _scientific(value)


SMALL_NUMBERS = {float(number): str(number) for number in range(1_000)}
"""The texts of the whole numbers below 1,000."""


def _scientific(value: float) -> str:
    """Print 1.234567e+06: the digits of repr, the exponent with at least two digits."""
    # Not by a format like .6e, which rounds a tie such as 2**-24 to other digits.
    digits, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = digits.partition(".")
    figures = (whole + fraction).rstrip("0")
    point = "." if len(figures) > 1 else ""
    power = int(exponent or 0) + len(whole) - 1
    sign = "-" if value < 0 else ""
    return f"{sign}{figures[0]}{point}{figures[1:]}e{power:+03d}"


def escape_label_value(text: str) -> str:
    """Escape a label value for the text formats."""
    if text.isalnum():
        return text
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def format_labels(labels: Iterable[tuple[str, str]]) -> str:
    """
    Print labels without the braces, values escaped.

    a="1",b="2"
    """
    return ",".join([f'{name}="{escape_label_value(value)}"' for name, value in labels])


def parse_labels(text: str) -> dict[str, str]:
    """Read what `format_labels` printed."""
    return {
        name: _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], value)
        for name, value in _LABEL.findall(text)
    }


def decode_escaped(raw: bytes) -> str:
    """Decode UTF-8; invalid bytes become escapes such as \\xff."""
    return raw.decode("utf-8", "backslashreplace")


def escape_help(text: str) -> str:
    """Escape HELP text for format 0.0.4; OpenMetrics escapes it like a label value."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")
