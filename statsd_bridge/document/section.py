"""
A tree of nodes in, typed values out: one mapping of the file, read key by key.

Whoever reads a section asks for each key that he knows and then closes it; what he
did not ask for is an unknown key.  A key that is missing and a key that is null are
the same.  Merge keys and repeated keys act as in statsd_exporter: in the order
written, the later wins, and mappings grow together.

    - <<: *defaults         labels: {a: 1}
      labels: {b: 2}        -> labels a and b
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from statsd_bridge.document import scalar
from statsd_bridge.document.diagnostics import Diagnostics, quote
from statsd_bridge.document.node import Node
from statsd_bridge.errors import ConfigError

Choice = TypeVar("Choice")

MAX_KEY = 60
MAX_UINT32 = (1 << 32) - 1

_SIMPLE_KEY = re.compile(r"[A-Za-z0-9_.<-]{1,60}(?:\[[0-9]+\])?")


def present(node: Node | None) -> list[Node]:
    """List a node, unless it might as well not be there."""
    return [node] if node and not scalar.is_null(node) else []


class Section:
    """One mapping of the file under its path; `nodes` are merged in their order."""

    def __init__(self, remarks: Diagnostics, path: str, nodes: Sequence[Node]) -> None:
        self.path = path
        self.line = nodes[-1].line if nodes else 1
        self._remarks = remarks
        self._asked: set[str] = set()
        self._values: dict[str, list[Node]] = {}
        for node in nodes:
            for key, node_value in self._pairs(node):
                self._values.setdefault(self._key(key), []).append(node_value)

    def text(self, key: str) -> str:
        """Read text as it was written; "" when there is none."""
        node = self._find(key)
        return "" if node is None else self._text(key, node)

    def flag(self, key: str) -> bool:
        """Read a boolean; False when there is none."""
        node = self._find(key)
        wanted = "true or false"
        meant = False if node is None else self._value(key, node, wanted)
        if not isinstance(meant, bool):
            raise self._unlike(key, node, wanted)
        return meant

    def number(self, key: str) -> float | None:
        """Read a number; None when there is none."""
        node = self._find(key)
        return None if node is None else self._number(key, node)

    def count(self, key: str) -> int:
        """Read a whole number that fits into 32 bits; 0 when there is none."""
        number = self.number(key) or 0
        # Not a number is not in any range; a fraction is cut, as in statsd_exporter.
        if not -1 < number < MAX_UINT32 + 1:
            wanted = f"a whole number from 0 to {MAX_UINT32}"
            raise self._unlike(key, self._find(key), wanted)
        return int(number)

    def nanoseconds(self, key: str) -> int:
        """Read a duration; 0 when there is none."""
        node = self._find(key)
        if node is None:
            return 0
        wanted = "a duration, such as 90s or 1h30m"
        meant = self._value(key, node, wanted)
        length = scalar.nanoseconds(meant)
        if length is None:
            raise self._unlike(key, node, wanted)
        if length < 0:
            raise self.mistake(key, "a duration must not be negative")
        if length and not isinstance(meant, str):
            said = (
                f"{node.text} is {length} nanoseconds; write {node.text}s for seconds"
            )
            self.warn(key, said)
        return length

    def choice(self, key: str, choices: Mapping[str, Choice]) -> Choice | None:
        """Read one of a few words; None when there is none."""
        node = self._find(key)
        if node is None:
            return None
        word = self._text(key, node)
        if word not in choices:
            wanted = " or ".join(filter(None, choices))
            raise self.mistake(key, f"{quote(word)} is not {wanted}")
        return choices[word]

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """Read a list of numbers; None when there is none."""
        node = self._find(key)
        if node is None:
            return None
        nodes = self._items(key, node)
        return tuple(self._number(f"{key}[{i}]", item) for i, item in enumerate(nodes))

    def words(self, key: str) -> tuple[str, ...] | None:
        """Read a list of text; None when there is none."""
        node = self._find(key)
        if node is None:
            return None
        nodes = self._items(key, node)
        return tuple(self._text(f"{key}[{i}]", item) for i, item in enumerate(nodes))

    def texts(self, key: str) -> dict[str, str]:
        """Read a mapping of text to text; empty when there is none."""
        section = self.section(key)
        if section is None:
            return {}
        return {name: section.text(name) for name in section._values}

    def section(self, key: str) -> Section | None:
        """Read a mapping; None when there is none."""
        nodes = self._find_all(key)
        if not nodes:
            return None
        return Section(self._remarks, self._path(key), nodes)

    def sections(self, key: str) -> list[Section] | None:
        """Read a list of mappings; None when there is none."""
        node = self._find(key)
        if node is None:
            return None
        return [
            Section(self._remarks, self._path(f"{key}[{i}]"), present(item))
            for i, item in enumerate(self._items(key, node))
        ]

    def close(self) -> None:
        """Tell of each key that nobody asked for."""
        for key, nodes in self._values.items():
            if key in self._asked:
                continue
            if self._remarks.strict:
                raise self.mistake(key, f"there is no such key{self._hint(key)}")
            if self._remarks.is_full():
                self._remarks.warn(self._path(key), nodes[-1].line, "")
            else:
                self.warn(key, f"there is no such key, it is ignored{self._hint(key)}")

    def mistake(self, key: str, problem: str) -> ConfigError:
        """Make the error that tells what is wrong with a key, or its absence."""
        return self._remarks.mistake(self._path(key), self._line(key), problem)

    def warn(self, key: str, problem: str) -> None:
        """Note something about a key that is allowed and hardly meant."""
        self._remarks.warn(self._path(key), self._line(key), problem)

    def _hint(self, key: str) -> str:
        near = difflib.get_close_matches(key[:MAX_KEY], self._asked, n=1)
        return f"; did you mean {near[0]}?" if near else ""

    def _line(self, key: str) -> int:
        nodes = self._values.get(key)
        return nodes[-1].line if nodes else self.line

    def _path(self, key: str) -> str:
        if key and not _SIMPLE_KEY.fullmatch(key):
            key = quote(key)
        return ".".join(filter(None, (self.path, key)))

    def _find_all(self, key: str) -> list[Node]:
        # What comes before a null is forgotten.
        self._asked.add(key)
        nodes: list[Node] = []
        for node in self._values.get(key, ()):
            if scalar.is_null(node):
                nodes.clear()
            else:
                nodes.append(node)
        return nodes

    def _find(self, key: str) -> Node | None:
        nodes = self._find_all(key)
        return nodes[-1] if nodes else None

    def _text(self, key: str, node: Node) -> str:
        meant = self._value(key, node, "text")
        return "" if meant is None else node.text

    def _number(self, key: str, node: Node) -> float:
        wanted = "a number, such as 0.25"
        # In a list, a null is a zero.
        meant = 0 if scalar.is_null(node) else self._value(key, node, wanted)
        if isinstance(meant, bool | str) or meant is None:
            raise self._unlike(key, node, wanted)
        return float(meant)

    def _items(self, key: str, node: Node) -> list[Node]:
        if node.kind != "sequence":
            raise self._unlike(key, node, "a list")
        self._remarks.spend(len(node.children))
        return node.children

    def _value(self, key: str, node: Node, wanted: str) -> scalar.Value:
        if node.kind != "scalar":
            raise self._unlike(key, node, wanted)
        try:
            return scalar.value(node)
        except ValueError as error:
            raise self._mistake_at(key, node, f"{quote(node.text)} {error}") from error

    def _unlike(self, key: str, node: Node | None, wanted: str) -> ConfigError:
        found, hint = _describe(node) if node else ("nothing", "")
        return self._mistake_at(key, node, f"{found} is not {wanted}{hint}")

    def _mistake_at(self, key: str, node: Node | None, problem: str) -> ConfigError:
        line = node.line if node else self.line
        return self._remarks.mistake(self._path(key), line, problem)

    def _key(self, node: Node) -> str:
        return self._text("", node)

    def _pairs(self, node: Node) -> Iterator[tuple[Node, Node]]:
        """Yield keys and values in the order in which they count, merges followed."""
        unfinished = [self._mapping(node)]
        while unfinished:
            pair = next(unfinished[-1], None)
            if pair is None:
                unfinished.pop()
            elif _is_merge(pair[0]):
                # The last is read first, so that the first wins.
                sources = pair[1]
                several = sources.kind == "sequence"
                for source in sources.children if several else [sources]:
                    unfinished.append(self._mapping(source))
            else:
                yield pair

    def _mapping(self, node: Node) -> Iterator[tuple[Node, Node]]:
        if node.kind != "mapping":
            raise self._unlike("", node, "a mapping of keys to values")
        self._remarks.spend(1 + len(node.children))
        return node.pairs()


def _describe(node: Node) -> tuple[str, str]:
    if node.kind != "scalar":
        return ("a list" if node.kind == "sequence" else "a mapping"), ""
    quoted = not (node.plain or node.tag or isinstance(scalar.resolve(node.text), str))
    return quote(node.text), "; take off the quotes" if quoted else ""


def _is_merge(key: Node) -> bool:
    return (
        key.kind == "scalar" and key.text == "<<" and (key.plain or key.tag == "merge")
    )
