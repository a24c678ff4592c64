"""
The text of a YAML file in, a tree of nodes out; the only place that knows YAML.

A node keeps its text as it was written and the number of its line, because
`007` is a good label value and a message must say where.  What a scalar means is
scalar.py's affair.

Only the first document is read.  An alias is the very node of its anchor, so nothing
grows here; an alias inside its own anchor, too much depth and too many nodes are
refused.  Nothing recurses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import yaml

from statsd_bridge.errors import ConfigError

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 1_000_000
MAX_DEPTH = 100

_TAG = "tag:yaml.org,2002:"


@dataclass(slots=True, eq=False)
class Node:
    """
    A scalar, a sequence of nodes, or a mapping: its keys and values in turn.

    `plain` is a scalar without quotes; `tag` is short for the standard ones ("str").
    """

    kind: Literal["scalar", "sequence", "mapping"]
    line: int
    text: str = ""
    tag: str = ""
    plain: bool = False
    children: list[Node] = field(default_factory=list)

    def pairs(self) -> Iterator[tuple[Node, Node]]:
        """Yield the keys of a mapping, each with its value, in the order written."""
        keys = iter(self.children)
        return zip(keys, keys, strict=True)


class _Mark(Protocol):
    line: int
    column: int


def read(path: str) -> bytes:
    """Read a file, or tell why that cannot be done."""
    try:
        with open(path, "rb") as file:
            text = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}") from error
    return text


def compose(text: str | bytes, file: str) -> Node | None:
    """Read the first document; None when there is none."""
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{file}: is larger than {MAX_BYTES} bytes")
    tree = _Tree(file)
    try:
        # Go's parser is a port of libyaml; PyYAML's own differs in places and is slow.
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentEndEvent):
                break
            tree.add(event)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{file}: {_problem(error)}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{file}: is not text: {_one_line(error)}") from error
    return tree.root


def _problem(error: yaml.MarkedYAMLError) -> str:
    what = " ".join(filter(None, (error.context, error.problem)))
    return _place(error.problem_mark or error.context_mark) + what


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class _Tree:
    """The tree as far as it has grown: `open` are the collections not yet closed."""

    def __init__(self, file: str) -> None:
        self.root: Node | None = None
        self._file = file
        self._open: list[Node] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def add(self, event: yaml.Event) -> None:
        """Take in what comes next in the text."""
        if isinstance(event, yaml.AliasEvent):
            self._grow(self._anchored(event))
        elif isinstance(event, yaml.ScalarEvent):
            plain = bool(event.implicit[0]) and event.tag is None
            node = Node("scalar", _line(event), event.value, _short(event.tag), plain)
            self._name(event, node)
            self._grow(node)
        elif isinstance(event, yaml.CollectionStartEvent):
            is_list = isinstance(event, yaml.SequenceStartEvent)
            node = Node("sequence" if is_list else "mapping", _line(event))
            self._name(event, node)
            self._grow(node)
            self._open.append(node)
            if len(self._open) > MAX_DEPTH:
                raise self._refusal(event, f"is nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()

    def _grow(self, node: Node) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise ConfigError(f"{self._file}: holds more than {MAX_NODES} values")
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node

    def _name(self, event: yaml.NodeEvent, node: Node) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = node

    def _anchored(self, event: yaml.AliasEvent) -> Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise self._refusal(event, f"*{event.anchor} has no anchor before it")
        if node in self._open:
            raise self._refusal(event, f"*{event.anchor} stands inside itself")
        return node

    def _refusal(self, event: yaml.Event, problem: str) -> ConfigError:
        return ConfigError(f"{self._file}: {_place(event.start_mark)}{problem}")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _place(mark: _Mark | None) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _short(tag: str | None) -> str:
    return tag.removeprefix(_TAG) if tag else ""
