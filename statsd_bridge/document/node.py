"""
The nodes of a YAML document, which tree.py parses.

A node keeps its text as written and its line number: `007` is a valid label value, and
every error names its line.  scalar.py gives a scalar its meaning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from statsd_bridge.document.pace import NO_PACE, Pace

Kind = Literal["scalar", "sequence", "mapping"]


@dataclass(slots=True, eq=False, kw_only=True)
class Node:
    """
    A scalar, a sequence of nodes, or a mapping: its keys and values alternate.

    `plain` means a scalar without quotes and tag.  Standard tags are short: "str".
    """

    kind: Kind
    line: int
    text: str = ""
    tag: str = ""
    plain: bool = False
    children: Sequence[Node] = ()

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """Yield each key of a mapping with its value, in file order."""
        keys = iter(self.children)
        return zip(keys, keys, strict=True)


def dismantle(root: Node | None, pace: Pace = NO_PACE) -> None:
    """
    Free a tree node by node; it is empty afterwards.

    Freed at once, the tree of 100,000 rules makes all threads wait for 0.3 s.
    """
    pending = [root] if root else []
    while pending:
        node = pending.pop()
        pending += node.children
        node.children = ()
        pace.step()
