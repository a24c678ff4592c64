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

from statsd_bridge.document.pace import Pace

# The first segment of a glob cannot begin with a digit, and none with a dash.
_GLOB = re.compile(
    r"(?:\*|[a-zA-Z_][a-zA-Z0-9_-]*)(?:\.(?:\*|[a-zA-Z0-9_][a-zA-Z0-9_-]*))*"
)

NO_RULE = sys.maxsize
"""In place of the index of a rule: greater than any."""

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

    def __init__(self, first: int = NO_RULE) -> None:
        self.literals: dict[str, Node] = {}
        self.star: Node | None = None
        self.rule = NO_RULE
        self.first = first

    def add_child(self, segment: str, rule: int) -> Node:
        """Return the child for a segment of a rule's glob; create it if missing."""
        if segment == "*":
            self.star = self.star or Node(rule)
            return self.star
        node = self.literals.get(segment)
        if node is None:
            node = self.literals[segment] = Node(rule)
        return node

    def edges(self) -> list[tuple[str, Node]]:
        """Return segment and child of each edge: literals, then `*`."""
        star = [("*", self.star)] if self.star else []
        return [*self.literals.items(), *star]

    def is_final(self) -> bool:
        """Return whether a glob ends here."""
        return self.rule != NO_RULE


class Trie:
    """The globs for one sample type; rules are known by their index in the file."""

    def __init__(self, *, ordered: bool) -> None:
        self.root = Node()
        self.ordered = ordered
        self._lengths: set[int] = set()

    def add(self, segments: Sequence[str], rule: int) -> None:
        """Add the glob of a rule, which comes after all rules added before."""
        self._lengths.add(len(segments))
        node = self.root
        node.first = min(node.first, rule)
        for segment in segments:
            node = node.add_child(segment, rule)
        node.rule = min(node.rule, rule)

    def dismantle(self, pace: Pace) -> None:
        """Remove all rules, node by node."""
        pending = [self.root]
        self.root = Node()
        while pending:
            pending += [child for _, child in pending.pop().edges()]
            pace.step()

    def find(self, segments: Sequence[str]) -> int | None:
        """Return the index of the rule for a name, or None."""
        if len(segments) not in self._lengths:
            return None
        # While one way is open it takes 60 ns a segment, with the stack 250 (timeit).
        node = self.root
        for depth, segment in enumerate(segments):
            child = node.literals.get(segment)
            if child is None:
                child = node.star
                if child is None:
                    return None
            elif node.star is not None:
                return self._find_below(node, depth, segments)
            node = child
        return None if node.rule == NO_RULE else node.rule

    def _find_below(
        self, start: Node, start_depth: int, segments: Sequence[str]
    ) -> int | None:
        """Return the index of the rule for a name, at or below a node."""
        best = NO_RULE
        pending = [(start, start_depth)]
        while pending:
            node, depth = pending.pop()
            if node.first >= best:
                continue
            if depth == len(segments):
                best = min(best, node.rule)
                if best != NO_RULE and not self.ordered:
                    break
                continue
            # A stack: the literal, pushed last, is visited before *.
            if node.star:
                pending.append((node.star, depth + 1))
            literal = node.literals.get(segments[depth])
            if literal:
                pending.append((literal, depth + 1))
        return None if best == NO_RULE else best
