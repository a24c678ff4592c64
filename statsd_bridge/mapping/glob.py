"""
Dotted globs in, the number of the rule that a name belongs to out.

    a.*.c      segments are between dots; * is exactly one segment, maybe an empty one

A trie with one level for each segment.  A name can only reach a node by one way, so
a look-up never visits a node twice, however the rules overlap.

    ordered      all rules that match compete, the first in the file wins
    unordered    at every level a literal is better than *; what leads nowhere is left

Of rules with the same globs the first in the file wins, in both.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

# The first segment of a glob cannot begin with a digit, and none with a dash.
_GLOB = re.compile(
    r"(?:\*|[a-zA-Z_][a-zA-Z0-9_-]*)(?:\.(?:\*|[a-zA-Z0-9_][a-zA-Z0-9_-]*))*"
)
_NONE = sys.maxsize

MAX_SEGMENTS = 1000


def is_glob(match: str) -> bool:
    """Tell whether text is a glob that can be used."""
    if match.count(".") >= MAX_SEGMENTS:
        return False
    return _GLOB.fullmatch(match) is not None


def stars(segments: Sequence[str]) -> tuple[int, ...]:
    """Tell which segments of a glob are captured."""
    return tuple(i for i, segment in enumerate(segments) if segment == "*")


class State:
    """A node of the trie; `first` is the first rule below it, `rule` the one here."""

    __slots__ = ("first", "literals", "rule", "star")

    def __init__(self) -> None:
        self.literals: dict[str, State] = {}
        self.star: State | None = None
        self.rule = _NONE
        self.first = _NONE

    def grow(self, segment: str) -> State:
        """Follow a segment of a glob; make the state when it is new."""
        if segment == "*":
            self.star = self.star or State()
            return self.star
        state = self.literals.get(segment)
        if state is None:
            state = self.literals[segment] = State()
        return state

    def edges(self) -> list[tuple[str, State]]:
        """List what leads on from here: literals, then `*`."""
        star = [("*", self.star)] if self.star else []
        return [*self.literals.items(), *star]

    def is_final(self) -> bool:
        """Tell whether a name may end here."""
        return self.rule != _NONE


class Trie:
    """The globs of one kind of sample; rules are added in the order of the file."""

    def __init__(self, *, ordered: bool) -> None:
        self.root = State()
        self._ordered = ordered
        self._lengths: set[int] = set()

    def add(self, segments: Sequence[str], rule: int) -> None:
        """Add the globs of a rule, known by its place in the file."""
        self._lengths.add(len(segments))
        state = self.root
        state.first = min(state.first, rule)
        for segment in segments:
            state = state.grow(segment)
            state.first = min(state.first, rule)
        state.rule = min(state.rule, rule)

    def find(self, segments: Sequence[str]) -> int | None:
        """
        Find the rule that a name belongs to.

        Given the segments of a glob, find the rule that takes all its names.
        """
        if len(segments) not in self._lengths:
            return None
        best = _NONE
        pending = [(self.root, 0)]
        while pending:
            state, depth = pending.pop()
            if state.first >= best:
                continue
            if depth == len(segments):
                best = min(best, state.rule)
                if best != _NONE and not self._ordered:
                    break
                continue
            # The last in is the first out: a literal before *.
            if state.star:
                pending.append((state.star, depth + 1))
            literal = state.literals.get(segments[depth])
            if literal:
                pending.append((literal, depth + 1))
        return None if best == _NONE else best
