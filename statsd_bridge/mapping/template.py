"""
Parse the templates of names and labels: text with references to captures.

    crocbot_${1}_total        $1 is the text that the first * (or group) matched

Two grammars, like in statsd_exporter; the match type of the rule selects one.

    glob    token = "$" ["{"] 1*( A-Z a-z 0-9 "_" ) ["}"]
            a number is a capture, 0 the whole name, any other token is empty; two "$"
            begin a token that ends with the last of A-Z a-z 0-9 "_" "$" and is empty
    regex   token = "$$" | "$" name | "${" name "}"      (Go's regexp.Expand)
            name  = 1*( letter | digit | "_" ), a group's number or name
            "$$" is one "$", an unknown group is empty, $0 is the whole match

Any other "$" stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from statsd_bridge.mapping.rule import Template

MAX_NUMBER_DIGITS = 9
"""Digits of the number of a capture."""

_GLOB_TOKEN = re.compile(r"\$\{?(\$[A-Za-z0-9_$]*|[A-Za-z0-9_]+)\}?")


def parse_glob_template(source: str, stars: int) -> Template:
    """Parse a template of a glob rule whose match has `stars` captures."""
    parts: list[str | int] = []
    always_empty: list[str] = []
    end = 0
    for token in _GLOB_TOKEN.finditer(source):
        parts.append(source[end : token.start()])
        end = token.end()
        number = _number(token[1], leading_zeros=True)
        # A difference: in statsd_exporter 0.30.0 a glob's $0 is empty.
        if number is not None and number <= stars:
            parts.append(number)
        else:
            always_empty.append(token[0])
    return Template(source, (*parts, source[end:]), tuple(always_empty))


def parse_regex_template(
    source: str, groups: int, names: Mapping[str, int]
) -> Template:
    """Parse a template of a regex rule; `names` are the numbers of named groups."""
    parts: list[str | int] = []
    always_empty: list[str] = []
    end = 0
    while (dollar := source.find("$", end)) >= 0:
        parts.append(source[end:dollar])
        name, end = _go_token(source, dollar + 1)
        number = _number(name, leading_zeros=False)
        group = names.get(name, groups + 1) if number is None else number
        if name in ("", "$"):
            parts.append("$")
        elif group <= groups:
            parts.append(group)
        else:
            always_empty.append(source[dollar:end])
    return Template(source, (*parts, source[end:]), tuple(always_empty))


def _go_token(source: str, start: int) -> tuple[str, int]:
    """Return the name after a "$" and the end of the token; "" if it is no token."""
    if source.startswith("$", start):
        return "$", start + 1
    braces = source.startswith("{", start)
    first = last = start + braces
    while last < len(source) and _is_go_letter(source[last]):
        last += 1
    if first == last or (braces and not source.startswith("}", last)):
        return "", start
    return source[first:last], last + braces


def _is_go_letter(char: str) -> bool:
    # \w includes numerals such as one half, which are neither letter nor digit in Go.
    return char == "_" or char.isalpha() or char.isdecimal()


def _number(name: str, *, leading_zeros: bool) -> int | None:
    if not (name.isascii() and name.isdigit()):
        return None
    digits = name.lstrip("0") or "0"
    if len(digits) > MAX_NUMBER_DIGITS or not (leading_zeros or digits == name):
        return None
    return int(digits)
