"""YAML becomes a tree of nodes, or an error of one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.document import tree as document
from statsd_bridge.document.node import Node
from statsd_bridge.document.tree import compose, read_file
from statsd_bridge.errors import ConfigError


def shape(node: Node | None) -> object:
    """Show a tree as plain lists, pairs and text."""
    if node is None or node.kind == "scalar":
        return node and node.text
    if node.kind == "sequence":
        return [shape(child) for child in node.children]
    return [(shape(key), shape(value)) for key, value in node.pairs()]


TREES = [
    ("", None),
    ("# nothing\n", None),
    ("a", "a"),
    ("0x10", "0x10"),
    ("[007, 1.50, yes]", ["007", "1.50", "yes"]),
    ("a: {b: [c]}\nd:\n", [("a", [("b", ["c"])]), ("d", "")]),
    ("a: 1\na: 2\n", [("a", "1"), ("a", "2")]),
    ("- &x {a: b}\n- *x\n", [[("a", "b")], [("a", "b")]]),
    ("- &x a\n- &x b\n- *x\n", ["a", "b", "b"]),
    ("? [a, b]\n: c\n", [(["a", "b"], "c")]),
    ("a\n---\n[[[ of the second document nothing is read", "a"),
]


@pytest.mark.parametrize(("text", "expected"), TREES)
def test_a_node_has_its_text_as_written(text: str, expected: object) -> None:
    """A node has its text as written; repeated keys are kept."""
    assert shape(compose(text, "f")) == expected


@pytest.mark.parametrize(
    ("text", "plain", "tag"),
    [
        ("a", True, ""),
        ("'a'", False, ""),
        ('"a"', False, ""),
        ("|\n a", False, ""),
        ("!!str a", False, "str"),
        ("!mine a", False, "!mine"),
        ("! a", False, "!"),
    ],
)
def test_a_scalar_knows_its_style_and_tag(text: str, plain: bool, tag: str) -> None:
    """A scalar knows whether it is plain and how it is tagged."""
    node = compose(text, "f")

    assert node is not None
    assert (node.plain, node.tag) == (plain, tag)


def test_nodes_know_their_line() -> None:
    """Nodes count their lines from one; an alias is the node of its anchor."""
    node = compose("a:\n- b\n- &c d\n- *c\n", "f")

    assert node is not None
    items = node.children[1].children
    assert [item.line for item in items] == [2, 3, 3]


def test_text_and_bytes_are_read_alike() -> None:
    """Text and bytes are the same, and so is UTF-16 with its mark."""
    assert shape(compose("ü".encode(), "f")) == shape(compose("ü", "f")) == "ü"
    assert shape(compose("ü".encode("utf-16"), "f")) == "ü"


DEEPEST = document.MAX_DEPTH


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "f: line 2, column 1: while parsing a flow node"),
        ("a: b: c", "f: line 1, column 5: mapping values are not allowed"),
        ("\tx", "f: line 1, column 1: while scanning for the next token"),
        ("*x", "f: line 1, column 1: *x has no anchor before it"),
        ("&x [*x]", "f: line 1, column 5: *x is inside itself"),
        ("[" * (DEEPEST + 1), "f: line 1, column 101: is nested deeper than 100"),
        ("- " * 100_000, "f: line 1, column 201: is nested deeper than 100"),
        ("{a: " * 100_000, "f: line 1, column 401: is nested deeper than 100"),
        ("\0", "f: is not text: unacceptable character #x0000"),
        ("\ud800", "f: is not text: unacceptable character #xd800"),
        (b"\xff", "f: is not text: unacceptable character #x00ff"),
        (" " * (document.MAX_BYTES + 1), "f: is larger than 16777216 bytes"),
        ("[" + "a," * document.MAX_NODES, "f: holds more than 2000000 values"),
    ],
)
def test_invalid_or_excessive_yaml_is_refused_in_one_line(
    text: str | bytes, message: str
) -> None:
    """Invalid or excessive YAML is refused in one line."""
    with pytest.raises(ConfigError) as caught:
        compose(text, "f")

    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_the_greatest_depth_is_accepted() -> None:
    """MAX_DEPTH levels are accepted."""
    node = compose("[" * DEEPEST + "]" * DEEPEST, "f")

    assert node is not None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing.yml", "No such file or directory"),
        (".", "Is a directory"),
        ("a\0b", "embedded null byte"),
    ],
)
def test_a_file_that_cannot_be_read_has_the_reason(
    tmp_path: Path, path: str, reason: str
) -> None:
    """A file that cannot be read is refused with the system's reason."""
    path = str(tmp_path / path)

    with pytest.raises(ConfigError) as caught:
        read_file(path)

    assert str(caught.value) == f"{path}: cannot be read: {reason}"


def test_a_file_is_read_as_bytes(tmp_path: Path) -> None:
    """A file is read as bytes."""
    (tmp_path / "f.yml").write_bytes(b"\xff")

    assert read_file(str(tmp_path / "f.yml")) == b"\xff"


def outcome(text: str | bytes) -> Node | str | None:
    """Return the tree, or the text of the error."""
    try:
        return compose(text, "f")
    except ConfigError as error:
        return str(error)


@given(
    st.text(alphabet="ab:-?*&!|>'\"[]{},#%@ \t\n\0é\ud800", max_size=40) | st.binary()
)
def test_any_text_is_a_tree_or_an_error_of_one_line(text: str | bytes) -> None:
    """Any text gives a tree, None or an error of one line."""
    node = outcome(text)

    assert node is None or isinstance(node, Node) or "\n" not in node
