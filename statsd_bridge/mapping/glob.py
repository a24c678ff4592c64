"""
A trie that finds the glob rule for a name.

    a.*.c      segments are between dots; * is exactly one segment, empty or not

The trie has one level for each segment.  There is only one path to each node, so a
look-up never visits a node twice, however the rules overlap.

    ordered      of all rules that match, the first in the file wins
    unordered    at each level a literal is preferred to *, with backtracking

Of rules with the same glob, the first in the file wins in both modes.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

# The first segment of a glob cannot begin with a digit, and none with a dash.
_GLOB = re.compile(
    r"(?:\*|[a-zA-Z_][a-zA-Z0-9_-]*)(?:\.(?:\*|[a-zA-Z0-9_][a-zA-Z0-9_-]*))*"
)
_NO_RULE = sys.maxsize

MAX_SEGMENTS = 1000


def is_glob(match: str) -> bool:
    """Return whether text is a valid glob of at most MAX_SEGMENTS segments."""
    if match.count(".") >= MAX_SEGMENTS:
        return False
    return _GLOB.fullmatch(match) is not None


def stars(segments: Sequence[str]) -> tuple[int, ...]:
    """Return the indexes of the `*` segments, which are captured."""
    return tuple(i for i, segment in enumerate(segments) if segment == "*")


class Node:
    """A node: `rule` ends here, `first` is the lowest rule at or below it."""

    __slots__ = ("first", "literals", "rule", "star")

    def __init__(self) -> None:
        self.literals: dict[str, Node] = {}
        self.star: Node | None = None
        self.rule = _NO_RULE
        self.first = _NO_RULE

    def add_child(self, segment: str) -> Node:
        """Return the child for a segment of a glob; create it if missing."""
        if segment == "*":
            self.star = self.star or Node()
            return self.star
        node = self.literals.get(segment)
        if node is None:
            node = self.literals[segment] = Node()
        return node

    def edges(self) -> list[tuple[str, Node]]:
        """Return segment and child of each edge: literals, then `*`."""
        star = [("*", self.star)] if self.star else []
        return [*self.literals.items(), *star]

    def is_final(self) -> bool:
        """Return whether a glob ends here."""
        return self.rule != _NO_RULE


class Trie:
    """The globs for one sample type; rules are known by their index in the file."""

    def __init__(self, *, ordered: bool) -> None:
        self.root = Node()
        self._ordered = ordered
        self._lengths: set[int] = set()

    def add(self, segments: Sequence[str], rule: int) -> None:
        """Add the glob of a rule."""
        self._lengths.add(len(segments))
        node = self.root
        node.first = min(node.first, rule)
        for segment in segments:
            node = node.add_child(segment)
            node.first = min(node.first, rule)
        node.rule = min(node.rule, rule)

    def find(self, segments: Sequence[str]) -> int | None:
        """
        Return the index of the rule for a name, or None.

        For the segments of a glob, return the rule that matches all its names.
        """
        if len(segments) not in self._lengths:
            return None
        best = _NO_RULE
        pending = [(self.root, 0)]
        while pending:
            node, depth = pending.pop()
            if node.first >= best:
                continue
            if depth == len(segments):
                best = min(best, node.rule)
                if best != _NO_RULE and not self._ordered:
                    break
                continue
            # A stack: the literal, pushed last, is visited before *.
            if node.star:
                pending.append((node.star, depth + 1))
            literal = node.literals.get(segments[depth])
            if literal:
                pending.append((literal, depth + 1))
        return None if best == _NO_RULE else best
