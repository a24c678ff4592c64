"""
A template and what was captured in, text out.

    crocbot_${1}_total        $1 is what the first * (or group) matched

Two grammars, as in statsd_exporter: a rule's match decides which.

    glob    token = "$" ["{"] 1*( A-Z a-z 0-9 "_" ) ["}"]
            a number is a capture, any other token is empty; two "$" begin a token
            that ends with the last of A-Z a-z 0-9 "_" "$" and is empty
    regex   token = "$$" | "$" name | "${" name "}"      (Go's regexp.Expand)
            name  = 1*( letter | digit | "_" ), a group's number or name
            "$$" is one "$", an unknown group is empty, $0 is the whole match

Any other "$" stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_GLOB_TOKEN = re.compile(r"\$\{?(\$[A-Za-z0-9_$]*|[A-Za-z0-9_]+)\}?")
_LONGEST_NUMBER = 9


@dataclass(frozen=True, slots=True)
class Template:
    """
    Text in parts: a string is itself, a number is a capture.

    `hollow` are the tokens that are always empty.
    """

    source: str
    parts: tuple[str | int, ...]
    hollow: tuple[str, ...] = ()

    def expand(self, captures: Sequence[str]) -> str:
        """Put in what was captured; captures[0] is the whole match."""
        return "".join(
            [captures[part] if isinstance(part, int) else part for part in self.parts]
        )


def parse_glob(source: str, stars: int) -> Template:
    """Read a template of a rule with that many `*`."""
    parts: list[str | int] = []
    hollow: list[str] = []
    end = 0
    for token in _GLOB_TOKEN.finditer(source):
        parts.append(source[end : token.start()])
        end = token.end()
        number = _number(token[1], leading_zeros=True)
        if number is not None and 1 <= number <= stars:
            parts.append(number)
        else:
            hollow.append(token[0])
    return _template(source, [*parts, source[end:]], hollow)


def parse_regex(source: str, groups: int, names: Mapping[str, int]) -> Template:
    """Read a template of a rule whose regex has that many groups."""
    parts: list[str | int] = []
    hollow: list[str] = []
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
            hollow.append(source[dollar:end])
    return _template(source, [*parts, source[end:]], hollow)


def _go_token(source: str, start: int) -> tuple[str, int]:
    """Find the name after a "$" and where the token ends; "" when it is no token."""
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
    # \w has numerals, such as one half, that Go counts neither as letter nor digit.
    return char == "_" or char.isalpha() or char.isdecimal()


def _number(name: str, *, leading_zeros: bool) -> int | None:
    if not (name.isascii() and name.isdigit()):
        return None
    digits = name.lstrip("0") or "0"
    if len(digits) > _LONGEST_NUMBER or not (leading_zeros or digits == name):
        return None
    return int(digits)


def _template(source: str, parts: list[str | int], hollow: list[str]) -> Template:
    present = tuple(part for part in parts if part != "")
    return Template(source, present, tuple(hollow))
