r"""
What the text of a regular expression says: its groups, and a name that it matches.

    ^api\.(\w+)\.(\d{3})$  -->  groups \w+ and \d{3}, example api.q.777
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from typing import Final, NamedTuple

MAX_EXAMPLE_LENGTH: Final = 1_024
"""Characters; a pattern that needs more has no example."""

_TOKEN: Final = re.compile(
    r"(?P<flags>\(\?[A-Za-z-]+\))|(?P<open>\((?:\?(?:P?<\w+>|[A-Za-z-]*:))?)"
    r"|(?P<close>\))|(?P<bar>\|)|(?P<anchor>[$^]|\\[AbBz])"
    r"|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\]|\\[dDwWsS]|\.)|(?P<char>\\.|[^\\])",
    re.DOTALL,
)
_REPEAT: Final = re.compile(r"(?:(?P<mark>[*+?])|\{(?P<low>\d+)(?:,\d*)?\})\??")

_CANDIDATES: Final = "q7Q_-@/: .~"
"""Characters for a set: the example of a general rule is not one of a special rule."""


class Group(NamedTuple):
    """A group that captures: where it begins, and what is between its brackets."""

    start: int
    text: str


@lru_cache(maxsize=16)
def groups(pattern: str) -> tuple[Group, ...]:
    """Return the groups that capture, in the order of their numbers."""
    pending: list[tuple[int, int, bool]] = []
    found: list[Group] = []
    for token in _TOKEN.finditer(pattern):
        if token["open"]:
            captures = not token["open"].endswith(":")
            pending.append((token.start(), token.end(), captures))
        elif token["close"] and pending:
            start, content, captures = pending.pop()
            if captures:
                found.append(Group(start, pattern[content : token.start()]))
    return tuple(sorted(found))


def examples(pattern: str) -> list[str]:
    """
    Return names that a pattern is likely to match, none if they are hard to find.

    Where any text may be, one has a word and one has two segments: a rule for names
    like the first one only does not have the second.
    """
    found = [_example(pattern, text) for text in ("q", "q.q")]
    return list(dict.fromkeys(filter(None, found)))


def _example(pattern: str, any_text: str) -> str | None:
    # The text of each bracket that is open; of several alternatives the last one.
    texts, position = [""], 0
    while position < len(pattern):
        token = _TOKEN.match(pattern, position)
        if token is None:
            return None
        position = token.end()
        if token["open"]:
            texts.append("")
        elif token["bar"]:
            texts[-1] = ""
        elif not token["flags"]:
            unit = texts.pop() if token["close"] else _unit(token)
            if unit is None or not texts:
                return None
            times, position = _times(pattern, position)
            if token["set"] and pattern[position - 1] in "*+" and _has_dot(token):
                unit = any_text
            if times * len(unit) > MAX_EXAMPLE_LENGTH:
                return None
            texts[-1] += unit * times
    return texts[0] if len(texts) == 1 else None


def _times(pattern: str, position: int) -> tuple[int, int]:
    """Return how often a part is repeated at least, and where the next one begins."""
    found = _REPEAT.match(pattern, position)
    if found is None:
        return 1, position
    # Once for `*`, so that the example is a usual name.
    return 0 if found["mark"] == "?" else int(found["low"] or 1), found.end()


def _has_dot(token: re.Match[str]) -> bool:
    """Return whether a set of characters has the dot."""
    return _first(token["set"], ".") is not None


def _unit(token: re.Match[str]) -> str | None:
    """Return a text that a token matches; None for what is not known here."""
    if token["anchor"]:
        return ""
    char = token["char"]
    if char:
        is_known = len(char) == 1 or not char[1].isalnum()
        return char[-1] if is_known else None
    # A single dot that was meant to be one.
    return "." if token["set"] == "." else _first(token["set"], _CANDIDATES)


def _first(characters: str, candidates: str) -> str | None:
    """Return the first candidate in a set of characters, else one that it names."""
    if "[:" in characters or "\\p" in characters.lower():
        return None
    try:
        with warnings.catch_warnings():
            # Of sets such as `[[a]`, which a later Python may read in another way.
            warnings.simplefilter("ignore", FutureWarning)
            matcher = re.compile(characters)
    except re.error:
        return None
    named = filter(str.isalnum, characters) if len(candidates) > 1 else ""
    found = filter(matcher.fullmatch, [*candidates, *named])
    return next(found, None)
