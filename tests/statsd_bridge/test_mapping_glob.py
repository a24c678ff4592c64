"""The trie finds the rule that a plain comparison finds."""

from __future__ import annotations

import itertools
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.mapping.glob import MAX_SEGMENTS, Trie, is_glob, stars

GLOBS = [
    ("a", True),
    ("*", True),
    ("*.*", True),
    ("a.b-c.d_e", True),
    ("_a.9.-", False),
    ("_a.9.a-", True),
    ("a.404", True),
    ("404.a", False),
    ("*.404", True),
    ("-a", False),
    ("a.-b", False),
    ("", False),
    (".", False),
    ("a.", False),
    (".a", False),
    ("a..b", False),
    ("foo*", False),
    ("*foo", False),
    ("**", False),
    ("a.**", False),
    ("a b", False),
    ("ä", False),
    ("a\n", False),
    ("a:b", False),
    (".".join(["*"] * MAX_SEGMENTS), True),
    (".".join(["*"] * (MAX_SEGMENTS + 1)), False),
]


@pytest.mark.parametrize(("match", "expected"), GLOBS)
def test_a_glob_is_valid_where_statsd_exporter_accepts_it(
    match: str, expected: bool
) -> None:
    """A glob is valid where statsd_exporter accepts it, up to MAX_SEGMENTS."""
    assert is_glob(match) is expected


def test_captures_are_the_indexes_of_the_stars() -> None:
    """Captures are the indexes of the stars."""
    assert stars(["a", "*", "b", "*"]) == (1, 3)


def trie(*globs: str, ordered: bool = True) -> Trie:
    """Return a trie of some globs."""
    trie = Trie(ordered=ordered)
    for index, glob in enumerate(globs):
        trie.add(glob.split("."), index)
    return trie


SHADOWING = ("a.*.c", "a.b.c", "a.b.*", "*.*.*")
BEST = ("*.*.*", "a.*.c", "a.b.*", "a.b.c")

FOUND = [
    (SHADOWING, True, "a.b.c", 0),
    (SHADOWING, True, "a.b.d", 2),
    (SHADOWING, True, "x.y.z", 3),
    (SHADOWING, True, "a.b", None),
    (SHADOWING, True, "a.b.c.d", None),
    (BEST, False, "a.b.c", 3),
    (BEST, False, "a.b.d", 2),
    (BEST, False, "a.x.c", 1),
    (BEST, False, "a.x.d", 0),
    # Dead ends are left by backtracking.
    (("a.*.*.d", "a.b.c.d", "a.b.e.f"), False, "a.b.e.d", 0),
    (("a.*.c", "a.b.d"), False, "a.b.c", 0),
    (("a.*.c", "a.b.d"), True, "a.b.c", 0),
    # A shorter glob matches beside a longer one.
    (("a.b.c", "a.b"), True, "a.b", 1),
    (("a.*.c", "a.*"), True, "a.b", 1),
    (("a.*.c", "a.*"), False, "a.b", 1),
    # Of equal globs, the first wins.
    (("a.*", "*.b", "a.*"), True, "a.b", 0),
    (("a.*", "*.b", "a.*"), False, "a.b", 0),
    (("a.b", "a.b"), False, "a.b", 0),
    # Segments are compared literally, empty ones too.
    (("a.*.*",), True, "a..b", 0),
    (("*",), True, "", 0),
    (("a",), True, "", None),
    (("a.b",), True, "A.b", None),
    (("a.*.*",), True, "a.*.x", 0),
    (("a.b",), True, "a.*", None),
    ((), True, "a", None),
]


@pytest.mark.parametrize(("globs", "ordered", "name", "expected"), FOUND)
def test_a_name_has_the_first_or_the_most_literal_rule(
    globs: tuple[str, ...], ordered: bool, name: str, expected: int | None
) -> None:
    """A name has the first rule, or the most literal one."""
    assert trie(*globs, ordered=ordered).find(name.split(".")) == expected


def matches(glob: str, name: str) -> bool:
    """Return whether a glob matches a name, by comparing segments."""
    globs, segments = glob.split("."), name.split(".")
    same_length = len(globs) == len(segments)
    return same_length and all(
        a in ("*", b) for a, b in zip(globs, segments, strict=False)
    )


def naive(globs: list[str], name: str, *, ordered: bool) -> int | None:
    """Return the rule by comparing a name with each glob."""
    found = [index for index, glob in enumerate(globs) if matches(glob, name)]
    if not ordered:
        # Literals first, from left to right; "*" is the last of its alphabet here.
        found.sort(key=lambda index: [s == "*" for s in globs[index].split(".")])
    return found[0] if found else None


SEGMENTS = st.sampled_from(["a", "b", "c", "*"])
NAMES = st.lists(st.sampled_from(["a", "b", "c", "d", "", "*"]), min_size=1, max_size=4)
RULES = st.lists(st.lists(SEGMENTS, min_size=1, max_size=4).map(".".join), max_size=12)


@given(RULES, NAMES.map(".".join), st.booleans())
def test_the_trie_agrees_with_comparing_each_rule(
    globs: list[str], name: str, ordered: bool
) -> None:
    """The trie finds what a comparison with each rule finds."""
    found = trie(*globs, ordered=ordered).find(name.split("."))

    assert found == naive(globs, name, ordered=ordered)


@pytest.mark.parametrize("ordered", [True, False])
def test_a_look_up_visits_each_node_at_most_once(ordered: bool) -> None:
    """However globs overlap, a look-up visits each node at most once."""
    globs = [".".join(glob) for glob in itertools.product("a*", repeat=10)]
    many = trie(*(f"{glob}.end" for glob in globs), ordered=ordered)
    visited = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal visited
        visited += event == "c_call"

    sys.setprofile(count)
    try:
        found = many.find(["a"] * 11)
    finally:
        sys.setprofile(None)

    assert found is None
    # Calls a node: push, pop and the look-up of a literal.
    assert visited < 5 * 2**11


def test_the_longest_glob_does_not_exhaust_the_stack() -> None:
    """A glob of MAX_SEGMENTS does not exhaust the stack."""
    longest = ["*"] * MAX_SEGMENTS

    assert trie(".".join(longest)).find(longest) == 0
    assert trie(".".join(longest)).find(["a"] * 100_000) is None


def test_a_node_lists_its_edges_with_the_star_last() -> None:
    """A node lists its edges, the star last; a final one ends a glob."""
    root = trie("*.b", "a").root

    assert [(segment, node.is_final()) for segment, node in root.edges()] == [
        ("a", True),
        ("*", False),
    ]
