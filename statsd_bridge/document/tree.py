"""
Parse YAML into a tree of nodes; the only module that imports the yaml library.

Only the first document is read.  An alias is the same object as its anchor's node, so
aliases cost no memory here; an alias inside its own anchor, too much depth and too many
nodes are refused.  Nothing recurses.

The tree is built from parser events because yaml.compose refuses an anchor that is
defined twice, which Go's parser accepts, allows an alias inside its own anchor, bounds
neither depth nor the number of nodes, and loses the difference between `! y` and `y`.

It is imported when a file is read: a bridge without one needs no yaml library.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from statsd_bridge.document.node import Kind, Node
from statsd_bridge.document.pace import NO_PACE, Pace
from statsd_bridge.errors import ConfigError

MAX_BYTES = 16 * 1024 * 1024
"""100,000 rules with labels take 8 MB."""

MAX_NODES = 2_000_000
MAX_DEPTH = 100

_TAG_PREFIX = "tag:yaml.org,2002:"


def read_file(path: str) -> bytes:
    """Read a file up to the size that compose refuses; ConfigError if it fails."""
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"{path}: cannot be read: {reason}") from error


def compose(text: str | bytes, file: str, *, pace: Pace = NO_PACE) -> Node | None:
    """Parse the first document; None if there is none, ConfigError if it is invalid."""
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{file}: is larger than {MAX_BYTES} bytes")
    tree = _Tree(file)
    try:
        # libyaml, because Go's parser is a port of it; PyYAML's own parser differs from
        # it in places and is slower.
        for event in yaml.parse(text, Loader=yaml.CSafeLoader):
            if isinstance(event, yaml.DocumentEndEvent):
                break
            tree.add(event)
            pace.step()
    except yaml.MarkedYAMLError as error:
        problem = " ".join(filter(None, (error.context, error.problem)))
        place = _place(error.problem_mark or error.context_mark)
        raise ConfigError(f"{file}: {place}{problem}") from error
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{file}: is not text: {reason}") from error
    return tree.root


class _Tree:
    """
    A tree under construction.

    `_open` are the collections that have not ended, each with its children.
    """

    def __init__(self, file: str) -> None:
        self.root: Node | None = None
        self._file = file
        self._open: list[tuple[Node, list[Node]]] = []
        self._anchors: dict[str, Node] = {}
        self._count = 0

    def add(self, event: yaml.Event) -> None:
        """Add the next event of the parser."""
        if isinstance(event, yaml.ScalarEvent):
            tag = event.tag
            scalar = Node(
                kind="scalar",
                line=_line(event),
                text=event.value,
                tag=tag.removeprefix(_TAG_PREFIX) if tag else "",
                plain=tag is None and bool(event.implicit[0]),
            )
            self._append_new(event, scalar)
        elif isinstance(event, yaml.CollectionStartEvent):
            is_list = isinstance(event, yaml.SequenceStartEvent)
            children: list[Node] = []
            kind: Kind = "sequence" if is_list else "mapping"
            node = Node(kind=kind, line=_line(event), children=children)
            self._append_new(event, node)
            self._open.append((node, children))
            if len(self._open) > MAX_DEPTH:
                raise self._error(event, f"is nested deeper than {MAX_DEPTH} levels")
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._append(self._resolve_alias(event))

    def _append_new(self, event: yaml.NodeEvent, node: Node) -> None:
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._append(node)

    def _append(self, node: Node) -> None:
        self._count += 1
        if self._count > MAX_NODES:
            raise ConfigError(f"{self._file}: holds more than {MAX_NODES} values")
        if self._open:
            self._open[-1][1].append(node)
        else:
            self.root = node

    def _resolve_alias(self, event: yaml.AliasEvent) -> Node:
        node = self._anchors.get(event.anchor or "")
        if node is None:
            raise self._error(event, f"*{event.anchor} has no anchor before it")
        if any(node is each for each, _ in self._open):
            raise self._error(event, f"*{event.anchor} is inside itself")
        return node

    def _error(self, event: yaml.Event, problem: str) -> ConfigError:
        return ConfigError(f"{self._file}: {_place(event.start_mark)}{problem}")


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
