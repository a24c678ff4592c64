"""
Meaning of scalars: YAML 1.1 as implemented by the Go library of statsd_exporter.

    yes  on  y  True     a boolean; so are their opposites
    ~  null  (empty)     null
    12  0x1f  017  1_000 an integer
    1e-6  .5  1.  .inf   a float; the dot that YAML 1.1 requires is optional
    anything else        text; so is a scalar that is quoted or has a custom tag

A key that wants text gets the scalar as written, whatever its meaning.
"""

from __future__ import annotations

import math
import re
from typing import Final

from statsd_bridge.document.node import Node

Value = None | bool | int | float | str

MAX_NUMBER_LENGTH: Final = 100
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
# The types that a standard tag allows; an integer is a valid float.
_TAGGED: Final[dict[str, tuple[type, ...]]] = {
    "bool": (bool,),
    "float": (float, int),
    "int": (int,),
    "null": (type(None),),
}


def value(node: Node) -> Value:
    """Return the value of a scalar; ValueError if its tag does not fit its text."""
    if node.plain:
        return resolve(node.text)
    types = _TAGGED.get(node.tag)
    if types is None:
        return node.text
    resolved = resolve(node.text)
    if type(resolved) not in types:
        raise ValueError(f"is tagged {node.tag} but is not one")
    return resolved


def is_null(node: Node) -> bool:
    """Return whether a node is a plain null: its key counts as missing."""
    return node.kind == "scalar" and node.plain and resolve(node.text) is None


def resolve(text: str) -> Value:
    """Return the value of a plain scalar."""
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
    if len(digits) > MAX_NUMBER_LENGTH:
        return None
    for pattern, radix in _INTEGERS:
        if pattern.fullmatch(digits):
            # int() knows 0o17 and not 017.
            number = int(re.sub("[oO]", "", digits) if radix == 8 else digits, radix)
            highest = _INT64 if digits[0] in "+-" else 2 * _INT64
            return number if -_INT64 <= number < highest else None
    return None
