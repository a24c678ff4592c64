"""
What a scalar of a mapping file means: YAML 1.1 as statsd_exporter's Go library has it.

    yes  on  y  True     a boolean; so are their opposites
    ~  null  (nothing)   nothing
    12  0x1f  017  1_000 an integer
    1e-6  .5  1.  .inf   a float, also without the dot that YAML 1.1 asks for
    anything else        text; also what is quoted or has a tag of its own

A place that wants text takes what was written, whatever it would mean.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Final

from statsd_bridge.document.node import Node

Value = None | bool | int | float | str

NANOSECONDS: Final = 1_000_000_000
_LONGEST_NUMBER = 100
_INT64 = 1 << 63

_WORDS: Final[dict[str, Value]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"), True),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "off", "Off", "OFF"), False),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGERS = (
    (re.compile(r"[-+]?0[xX][0-9a-fA-F]+"), 16),
    (re.compile(r"[-+]?0[bB][01]+"), 2),
    (re.compile(r"[-+]?0[oO]?[0-7]+"), 8),
    (re.compile(r"[-+]?(?:0|[1-9][0-9]*)"), 10),
)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
# A tag asks for a type; an integer will do for a float.
_TAGGED: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "float": (float, int),
    "int": (int,),
    "null": (type(None),),
}

_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_DURATION = re.compile(rf"[-+]?(?:{_DURATION_PART.pattern})+")
_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": NANOSECONDS,
    "m": 60 * NANOSECONDS,
    "h": 3600 * NANOSECONDS,
}


def value(node: Node) -> Value:
    """Tell what a scalar node means; ValueError when it is not what its tag says."""
    if node.plain:
        return resolve(node.text)
    types = _TAGGED.get(node.tag)
    if types is None:
        return node.text
    meant = resolve(node.text)
    if type(meant) not in types:
        raise ValueError(f"is tagged {node.tag} and is none")
    return meant


def is_null(node: Node) -> bool:
    """Tell whether a key with this value might as well not be there."""
    return node.kind == "scalar" and node.plain and resolve(node.text) is None


def resolve(text: str) -> Value:
    """Tell what plain text means."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    # 1_000 is a thousand, but ._5 is text.
    digits = text if text[0] == "." else text.replace("_", "")
    number: float | None = _integer(digits)
    if number is None and _FLOAT.fullmatch(digits):
        number = float(digits)
    return text if number is None or math.isinf(number) else number


def _integer(digits: str) -> int | None:
    if len(digits) > _LONGEST_NUMBER:
        return None
    for pattern, radix in _INTEGERS:
        if pattern.fullmatch(digits):
            # int() knows 0o17 and not 017.
            number = int(re.sub("[oO]", "", digits) if radix == 8 else digits, radix)
            highest = _INT64 if digits[0] in "+-" else 2 * _INT64
            return number if -_INT64 <= number < highest else None
    return None


def nanoseconds(meant: Value) -> int | None:
    """
    Read a duration as Go does: `1h30m`, `1.5s`; a bare number is nanoseconds.

    None when it is no duration, or one of more than 292 years.
    """
    if isinstance(meant, str):
        total = _sum_of_parts(meant)
    elif isinstance(meant, bool) or meant is None or not math.isfinite(meant):
        return None
    else:
        total = int(meant)
    return total if total is not None and -_INT64 <= total < _INT64 else None


def _sum_of_parts(text: str) -> int | None:
    if text in ("0", "+0", "-0"):
        return 0
    if len(text) > _LONGEST_NUMBER or not _DURATION.fullmatch(text):
        return None
    parts = _DURATION_PART.findall(text)
    total = sum(int(Decimal(number) * _UNITS[unit]) for number, unit in parts)
    return -total if text[0] == "-" else total
