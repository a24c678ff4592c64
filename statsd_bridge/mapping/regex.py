"""
A regular expression in, what it captures of a name out; the only place that knows RE2.

RE2 has the syntax of Go's regexp and takes time linear in the name.  What RE2 knows
and Go does not is refused, so that a file stays good for both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import re2

MAX_DEPTH = 1000
# RE2 complains on stderr, log_errors or not, of what takes it too long to simplify.
MAX_LENGTH = 100_000
_MAX_MESSAGE = 100

# An escape, quoted text or a class; else what Go does not take, or a bracket.
_TOKEN = re.compile(
    r"\\Q.*?(?:\\E|\Z)|(?P<byte>\\C)|\\."
    r"|\[\^?\]?(?:\[:\^?[a-z]+:\]|\\.|[^\]\\])*+(?:\]|\Z)"
    r"|\(\?P?<(?P<name>\w+)>|(?P<bracket>[()])",
    re.DOTALL,
)


class Pattern:
    """A compiled regular expression; `names` are the numbers of its named groups."""

    def __init__(self, text: str) -> None:
        """Compile, or tell in a ValueError what is wrong."""
        self.text = _checked(text)
        self._compiled = _compile(text)
        self.groups: int = self._compiled.groups
        self.names: dict[str, int] = {
            name.decode(): group for name, group in self._compiled.groupindex.items()
        }

    def search(self, name: str) -> tuple[str, ...] | None:
        """Find the leftmost match: all of it, then its groups, "" where unused."""
        found = self._compiled.search(_encode(name))
        if found is None:
            return None
        pieces = (found.group(), *found.groups(b""))
        return tuple([piece.decode("utf-8", "surrogatepass") for piece in pieces])


class First:
    """
    Which of some patterns is the first to match a name.

    A tree: each half of the patterns is also one pattern, "this or this or this", so
    that a miss takes one search, and a match a few, and not one for each pattern.
    """

    def __init__(self, patterns: Sequence[tuple[Pattern, int]]) -> None:
        self._patterns = patterns
        self._halves: tuple[First, ...] = ()
        self._any: re2._Regexp | None = None
        if len(patterns) > 1:
            middle = len(patterns) // 2
            self._halves = First(patterns[:middle]), First(patterns[middle:])
            self._any = _any_of([pattern.text for pattern, _ in patterns])

    def find(self, name: str) -> tuple[int, tuple[str, ...]] | None:
        """Find the number that came with the pattern, and what it captures."""
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


def _any_of(texts: Sequence[str]) -> re2._Regexp | None:
    """Join regexes; None when they are too much for one."""
    joined = "|".join(f"(?:{text})" for text in texts)
    if len(joined) > MAX_LENGTH:
        return None
    try:
        return _compile(joined, captures=False)
    except ValueError:
        return None


def _compile(text: str, *, captures: bool = True) -> re2._Regexp:
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
    """Refuse what Go refuses; return the same regex fit to be a part of another."""
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
            raise ValueError(f"duplicate group name: {name[:_MAX_MESSAGE]}")
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
    return ascii(text[:_MAX_MESSAGE])[1:-1]
