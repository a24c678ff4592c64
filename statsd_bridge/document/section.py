"""
Typed access to one mapping of a YAML file, key by key.

A reader reads each key that it knows, then calls reject_unknown_keys: a key that was
not read is unknown.  A missing key and a null are the same.  Merge keys and
repeated keys work like in statsd_exporter: in file order, the later one wins, and
mappings are merged.  A key that one mapping repeats, `<<` too, is hardly intended: a
warning, an error if strict.

    - <<: *defaults         labels: {a: 1}
      labels: {b: 2}        -> labels a and b
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from statsd_bridge.document import scalar
from statsd_bridge.document.diagnostics import Diagnostics, quote
from statsd_bridge.document.node import Node
from statsd_bridge.errors import ConfigError
from statsd_bridge.syntax import parse_duration

Choice = TypeVar("Choice")

MAX_KEY_LENGTH = 60
MAX_UINT32 = (1 << 32) - 1
MAX_INT64 = (1 << 63) - 1

_SIMPLE_KEY = re.compile(r"[A-Za-z0-9_.<-]{1,60}(?:\[[0-9]+\])?")


def non_null(node: Node | None) -> list[Node]:
    """Return the node in a list, or an empty list if it is missing or null."""
    return [node] if node and not scalar.is_null(node) else []


class Section:
    """One mapping at `path`; later `nodes` override and extend earlier ones."""

    def __init__(
        self, diagnostics: Diagnostics, path: str, nodes: Sequence[Node]
    ) -> None:
        self.path = path
        self.line = nodes[-1].line if nodes else 1
        self._diagnostics = diagnostics
        self._known: set[str] = set()
        self._values: dict[str, list[Node]] = {}
        for node in nodes:
            for key, node_value in self._pairs(node):
                self._values.setdefault(self._text("", key), []).append(node_value)

    @property
    def keys(self) -> Iterable[str]:
        """The keys of the mapping, in file order."""
        return self._values

    def has_any(self, keys: Iterable[str]) -> bool:
        """Return whether any of some keys is present; they are not unknown keys."""
        self._known.update(keys)
        return not self._values.keys().isdisjoint(keys)

    def text(self, key: str) -> str:
        """Read text as written; "" if missing."""
        node = self._find(key)
        return "" if node is None else self._text(key, node)

    def boolean(self, key: str) -> bool:
        """Read a boolean; False if missing."""
        node = self._find(key)
        wanted = "true or false"
        value = False if node is None else self._value(key, node, wanted)
        if not isinstance(value, bool):
            raise self._type_error(key, node, wanted)
        return value

    def number(self, key: str) -> float | None:
        """Read a number; None if missing."""
        node = self._find(key)
        return None if node is None else self._number(key, node)

    def count(self, key: str) -> int:
        """Read an unsigned 32-bit integer; 0 if missing."""
        number = self.number(key) or 0
        # NaN is in no range.  A fraction is cut, like in statsd_exporter.
        if not -1 < number < MAX_UINT32 + 1:
            wanted = f"a whole number from 0 to {MAX_UINT32}"
            raise self._type_error(key, self._find(key), wanted)
        return int(number)

    def nanoseconds(self, key: str) -> int:
        """Read a duration, a bare number as nanoseconds; 0 if missing."""
        node = self._find(key)
        if node is None:
            return 0
        wanted = "a duration, such as 90s or 1h30m"
        value = self._value(key, node, wanted)
        duration = _nanoseconds(value)
        if duration is None:
            raise self._type_error(key, node, wanted)
        if duration < 0:
            raise self.error(key, "a duration must not be negative")
        if duration and not isinstance(value, str):
            seconds = f"write {node.text}s for seconds"
            self.warn(key, f"{node.text} is {duration} nanoseconds; {seconds}")
        return duration

    def choice(self, key: str, choices: Mapping[str, Choice]) -> Choice | None:
        """Read one of a few words and return what it stands for; None if missing."""
        node = self._find(key)
        if node is None:
            return None
        word = self._text(key, node)
        if word not in choices:
            wanted = " or ".join(filter(None, choices))
            raise self.error(key, f"{quote(word)} is not {wanted}")
        return choices[word]

    def numbers(self, key: str) -> tuple[float, ...] | None:
        """Read a list of numbers; None if missing."""
        items = self._items(key)
        return None if items is None else tuple(self._number(*each) for each in items)

    def text_list(self, key: str) -> tuple[str, ...] | None:
        """Read a list of text; None if missing."""
        items = self._items(key)
        return None if items is None else tuple(self._text(*each) for each in items)

    def text_map(self, key: str) -> dict[str, str]:
        """Read a mapping of text to text; empty if missing."""
        section = self.section(key)
        return {name: section.text(name) for name in section.keys} if section else {}

    def section(self, key: str) -> Section | None:
        """Read a mapping; None if missing."""
        nodes = self._find_all(key)
        return Section(self._diagnostics, self._path(key), nodes) if nodes else None

    def sections(self, key: str) -> list[Section] | None:
        """Read a list of mappings; None if missing."""
        items = self._items(key)
        if items is None:
            return None
        return [
            Section(self._diagnostics, self._path(item_key), non_null(item))
            for item_key, item in items
        ]

    def reject_unknown_keys(self) -> None:
        """Warn of each key that was not read; ConfigError if strict."""
        for key, nodes in self._values.items():
            if key in self._known:
                continue
            if self._diagnostics.strict:
                raise self.error(key, f"is an unknown key{self._hint(key)}")
            if self._diagnostics.is_full():
                # Only counted: a hint would take difflib 0.2 ms (timeit).
                self._diagnostics.warn(self._path(key), nodes[-1].line, "")
            else:
                self.warn(key, f"is an unknown key and is ignored{self._hint(key)}")
                self._check_unread(key)

    def error(self, key: str, problem: str, node: Node | None = None) -> ConfigError:
        """Return the error for a problem with a key, its absence or a value."""
        line = node.line if node else self._line(key)
        return self._diagnostics.error(self._path(key), line, problem)

    def warn(self, key: str, problem: str) -> None:
        """Add a warning about a key whose value is allowed but hardly intended."""
        self._diagnostics.warn(self._path(key), self._line(key), problem)

    def _hint(self, key: str) -> str:
        near = difflib.get_close_matches(key[:MAX_KEY_LENGTH], self._known, n=1)
        return f"; did you mean {near[0]}?" if near else ""

    def _line(self, key: str) -> int:
        nodes = self._values.get(key)
        return nodes[-1].line if nodes else self.line

    def _path(self, key: str) -> str:
        return _join(self.path, key)

    def _find_all(self, key: str) -> list[Node]:
        # A null discards the values before it.
        self._known.add(key)
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
        return "" if self._value(key, node, "text") is None else node.text

    def _number(self, key: str, node: Node) -> float:
        wanted = "a number, such as 0.25"
        # In a list, a null is a zero.
        value = 0 if scalar.is_null(node) else self._value(key, node, wanted)
        if isinstance(value, bool | str) or value is None:
            raise self._type_error(key, node, wanted)
        return float(value)

    def _items(self, key: str) -> list[tuple[str, Node]] | None:
        """Return the items of a list, each with its key; None if missing."""
        node = self._find(key)
        if node is None:
            return None
        if node.kind != "sequence":
            raise self._type_error(key, node, "a list")
        self._diagnostics.charge(len(node.children))
        return [(f"{key}[{i}]", item) for i, item in enumerate(node.children)]

    def _value(self, key: str, node: Node, wanted: str) -> scalar.Value:
        if node.kind != "scalar":
            raise self._type_error(key, node, wanted)
        try:
            return scalar.value(node)
        except ValueError as error:
            raise self.error(key, f"{quote(node.text)} {error}", node) from error

    def _type_error(self, key: str, node: Node | None, wanted: str) -> ConfigError:
        found, hint = _describe(node) if node else ("nothing", "")
        return self.error(key, f"{found} is not {wanted}{hint}", node)

    def _pairs(self, node: Node) -> Iterator[tuple[Node, Node]]:
        """Yield keys and values in order of precedence, merge keys resolved."""
        unfinished = [self._mapping(node)]
        while unfinished:
            pair = next(unfinished[-1], None)
            if pair is None:
                unfinished.pop()
            elif _is_merge(pair[0]):
                # The stack reads the last source first, so the first one wins.
                sources = pair[1]
                is_list = sources.kind == "sequence"
                merged = sources.children if is_list else [sources]
                unfinished.extend(self._mapping(source) for source in merged)
            else:
                yield pair

    def _mapping(self, node: Node) -> Iterator[tuple[Node, Node]]:
        if node.kind != "mapping":
            raise self._type_error("", node, "a mapping of keys to values")
        self._diagnostics.charge(1 + len(node.children))
        self._check_repeated(self.path, node)
        return node.pairs()

    def _check_unread(self, key: str) -> None:
        """Warn of repeated keys below an unknown one; aliases are followed once."""
        found = [(self._path(key), node) for node in self._values[key]]
        seen: set[int] = set()
        # The loop goes on with what it adds.
        for path, node in found:
            if id(node) in seen:
                continue
            seen.add(id(node))
            self._diagnostics.charge(len(node.children))
            if node.kind == "mapping":
                self._check_repeated(path, node)
                found += [
                    (_join(path, name.text), below) for name, below in node.pairs()
                ]
            else:
                found += [(path, item) for item in node.children]

    def _check_repeated(self, path: str, node: Node) -> None:
        """Warn of each key that a mapping repeats; ConfigError if strict."""
        seen: set[str] = set()
        for key, _ in node.pairs():
            if key.kind != "scalar":
                continue
            if key.text not in seen:
                seen.add(key.text)
                continue
            problem = "is given twice in the same mapping"
            rule = "the last one counts, and mappings are merged"
            if self._diagnostics.strict:
                raise self._diagnostics.error(_join(path, key.text), key.line, problem)
            self._diagnostics.warn(
                _join(path, key.text), key.line, f"{problem}; {rule}"
            )


def _nanoseconds(value: scalar.Value) -> int | None:
    """Return the duration that a value stands for; None if it is not one."""
    if isinstance(value, str):
        return parse_duration(value)
    if isinstance(value, bool) or value is None or not math.isfinite(value):
        return None
    return int(value) if abs(int(value)) <= MAX_INT64 else None


def _describe(node: Node) -> tuple[str, str]:
    if node.kind != "scalar":
        return ("a list" if node.kind == "sequence" else "a mapping"), ""
    quoted = not (node.plain or node.tag or isinstance(scalar.resolve(node.text), str))
    return quote(node.text), "; take off the quotes" if quoted else ""


def _join(path: str, key: str) -> str:
    if key and not _SIMPLE_KEY.fullmatch(key):
        key = quote(key)
    return ".".join(filter(None, (path, key)))


def _is_merge(key: Node) -> bool:
    return (
        key.kind == "scalar" and key.text == "<<" and (key.plain or key.tag == "merge")
    )
