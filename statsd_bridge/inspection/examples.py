"""
A name that a rule matches, so that a page can show what becomes of it.

    shop.*.hits             -->  shop.x.hits
    ^api\\.(get|post)\\.\\d+$  -->  api.get.1
"""

from __future__ import annotations

import re
from typing import Final

from statsd_bridge.mapping.rule import Rule

MAX_PATTERN_LENGTH: Final = 128
"""Characters of a regular expression that is read, and of its example."""

MAX_REPEATED: Final = 32

_LITERAL: Final = 0xE000
"""Escaped characters are moved here, to a range without a meaning, until the end."""

_ESCAPED = re.compile(r"\\([^\w\s])")
_CLASS = re.compile(r"\[(\^?)(\]?[^\]]*)\]")
_GROUP = re.compile(r"\((?:\?:|\?P?<\w+>)?([^()|]*)(?:\|[^()]*)?\)")
_COUNT = re.compile(r"(.)\{(\d+)[^{}]*\}")
_WORDS = {r"\d": "1", r"\w": "x", r"\s": " ", r"\b": "", r"\A": "", r"\z": ""}


def example_name(rule: Rule) -> str | None:
    """Return a name that a rule matches if no other one does before, or None."""
    if len(rule.match) > MAX_PATTERN_LENGTH:
        return None
    if rule.pattern is None:
        return rule.match.replace("*", "x")
    name = _guess(rule.match)
    if not name or len(name) > MAX_PATTERN_LENGTH or not rule.pattern.search(name):
        return None
    return name


def _guess(pattern: str) -> str:
    """Return a text that most simple expressions match: the shortest of their ways."""
    text = _ESCAPED.sub(lambda found: chr(_LITERAL + ord(found[1]) % 256), pattern)
    text = _CLASS.sub(_of_class, text)
    for escape, character in _WORDS.items():
        text = text.replace(escape, character)
    text = re.sub(r"[\^$]", "", text).replace(".", "x")
    before = ""
    while before != text:
        before, text = text, _GROUP.sub(r"\1", text)
    text = _COUNT.sub(lambda each: each[1] * min(int(each[2]), MAX_REPEATED), text)
    text = re.sub(r"[*+?]", "", text.partition("|")[0])
    return "".join(
        chr(ord(each) - _LITERAL) if _LITERAL <= ord(each) < _LITERAL + 256 else each
        for each in text
    )


def _of_class(found: re.Match[str]) -> str:
    """Return a character of a class such as [a-z], [^.] or [\\d_]."""
    is_negated, content = found.groups()
    if is_negated:
        return "1" if "x" in content or "a-z" in content else "x"
    return next((each for word, each in _WORDS.items() if word in content), content[:1])
