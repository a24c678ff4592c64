"""
Regular expressions for rules; the only module that imports RE2.

RE2 has the syntax of Go's regexp and takes time linear in the length of the name.
Syntax that only RE2 accepts is refused, so that a mapping file works in both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from statsd_bridge.document.pace import NO_PACE, Pace

MAX_DEPTH = 1000
# RE2 writes to stderr, even with log_errors off, about longer ones that it takes too
# long to simplify.
MAX_LENGTH = 100_000
MAX_MESSAGE_LENGTH = 100

# Quoted text, \C (not in Go), an escape, a class, a named group or a bracket.
_TOKEN = re.compile(
    r"\\Q.*?(?:\\E|\Z)|(?P<byte>\\C)|\\."
    r"|\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*+(?:\]|\Z)"
    r"|\(\?P?<(?P<name>\w+)>|(?P<bracket>[()])",
    re.DOTALL,
)


class Pattern:
    """A compiled regular expression; `names` maps named groups to their numbers."""

    def __init__(self, text: str) -> None:
        """Compile; a ValueError has the problem in one line."""
        self.text = _checked(text)
        self._compiled = _compile(text)
        self.groups: int = self._compiled.groups
        self.names: dict[str, int] = {
            name.decode(): group for name, group in self._compiled.groupindex.items()
        }

    def search(self, name: str) -> tuple[str, ...] | None:
        """Return the leftmost match and its groups, "" if unused; None if no match."""
        found = self._compiled.search(_encode(name))
        if found is None:
            return None
        captures = (found.group(), *found.groups(b""))
        return tuple([each.decode("utf-8", "surrogatepass") for each in captures])


class PatternTree:
    """
    Finds the first of some patterns that matches a name.

    Each half of the patterns is also compiled into one alternation, recursively: a miss
    takes one search and a match a few, instead of one for each pattern.
    """

    def __init__(
        self, patterns: Sequence[tuple[Pattern, int]], pace: Pace = NO_PACE
    ) -> None:
        pace.step()
        self._patterns = patterns
        self._halves: tuple[PatternTree, ...] = ()
        self._any: Any | None = None
        if len(patterns) > 1:
            middle = len(patterns) // 2
            halves = patterns[:middle], patterns[middle:]
            self._halves = tuple(PatternTree(half, pace) for half in halves)
            self._any = _any_of([pattern.text for pattern, _ in patterns])

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def dismantle(self, pace: Pace) -> None:
        """Remove all patterns, one after the other."""
        for half in self._halves:
            half.dismantle(pace)
        self._halves, self._any, self._patterns = (), None, ()
        pace.step()

    def find(self, name: str) -> tuple[int, tuple[str, ...]] | None:
        """Return the number of the first pattern that matches, and its captures."""
        if self._any and self._any.search(_encode(name)) is None:
            return None
        for half in self._halves:
            if found := half.find(name):
                return found
        if len(self._patterns) != 1:
            return None
        pattern, number = self._patterns[0]
        captures = pattern.search(name)
        return None if captures is None else (number, captures)


def _any_of(texts: Sequence[str]) -> Any | None:
    """Compile the alternation of regexes; None if RE2 refuses one that large."""
    joined = "|".join(f"(?:{text})" for text in texts)
    if len(joined) > MAX_LENGTH:
        return None
    try:
        return _compile(joined, captures=False)
    except ValueError:
        return None


def _compile(text: str, *, captures: bool = True) -> Any:
    # Late: 3 MB that a bridge without such rules does not need.
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = not captures
    try:
        return re2.compile(_encode(text), options)
    except re2.error as error:
        raise ValueError(_message(error)) from error


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _checked(text: str) -> str:
    """Raise ValueError where Go does; return the regex, fit to stand in another."""
    if len(text) > MAX_LENGTH:
        raise ValueError(f"longer than {MAX_LENGTH} characters")
    names: set[str] = set()
    depth = 0
    closing = ""
    for token in _TOKEN.finditer(text):
        name = token["name"]
        if token["byte"]:
            raise ValueError("invalid escape sequence: \\C")
        if name in names:
            raise ValueError(f"duplicate group name: {name[:MAX_MESSAGE_LENGTH]}")
        if name:
            names.add(name)
        depth += 1 if name or token["bracket"] == "(" else -(token["bracket"] == ")")
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} brackets")
        is_open = token[0].startswith("\\Q") and not token[0].endswith("\\E")
        closing = "\\E" if is_open else ""
    return text + closing


def _message(error: Exception) -> str:
    message = error.args[0] if error.args else b""
    text = message.decode("utf-8", "replace") if isinstance(message, bytes) else message
    return ascii(text[:MAX_MESSAGE_LENGTH])[1:-1]
