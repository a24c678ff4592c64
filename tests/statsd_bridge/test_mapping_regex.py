"""Regexes are those of Go; the first match of many is found without trying each."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.mapping.regex import MAX_DEPTH, Pattern, PatternTree

SEARCHED = [
    ("", "a", ("",)),
    (".+", "my.stats-d", ("my.stats-d",)),
    (r"foo\.(\w+)", "pre.foo.bar.baz", ("foo.bar", "bar")),
    (r"^foo", "pre.foo", None),
    (r"foo$", "foo.bar", None),
    (r"foo$", "foo\n", None),
    (r"a(b)?c", "ac", ("ac", "")),
    (r"(a|ab)(c|bcd)", "abcd", ("abcd", "a", "bcd")),
    (r"a.c", "a\nc", None),
    (r"\w+", "ü", None),
    (r"[[:alpha:]]+\d", "ab1", ("ab1",)),
    (r"\pL+", "1üa", ("üa",)),
    (r"(?i)FOO", "foo", ("foo",)),
    (r"(?U)a+", "aaa", ("a",)),
    (r"\Qa.b\E+", "a.bb", ("a.bb",)),
    (r"\Qa.b", "a.b", ("a.b",)),
    (r"(?P<x>a)(?<y>b)", "ab", ("ab", "a", "b")),
    (r"\bb\b", "a b", ("b",)),
    (r"a\z", "a", ("a",)),
    (r"[\\C]", "C", ("C",)),
    (r"\\C", "\\C", ("\\C",)),
    (r"\Q\C\E", "\\C", ("\\C",)),
    ("(.)", "\ud800", ("\ud800", "\ud800")),
    ("[(]*[])]", "((]", ("((]",)),
]


@pytest.mark.parametrize(("text", "name", "expected"), SEARCHED)
def test_the_leftmost_match_and_its_groups_are_found(
    text: str, name: str, expected: tuple[str, ...] | None
) -> None:
    """The leftmost match and its groups are found; an unused group is empty."""
    assert Pattern(text).search(name) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("*foo", "no argument for repetition operator: *"),
        ("(a", "missing ): (a"),
        ("a)", "unexpected ): a)"),
        ("[a", "missing ]: [a"),
        ("[" * 1_000, "missing ]: [[["),
        ("[" * 1_000_000, "longer than 100000 characters"),
        ("a(?!b)", "invalid perl operator: (?!"),
        ("(?=a)", "invalid perl operator: (?="),
        (r"(a)\1", r"invalid escape sequence: \\1"),
        (r"a\Z", r"invalid escape sequence: \\Z"),
        (r"a\C", r"invalid escape sequence: \C"),
        ("a{1001}", "invalid repetition size: {1001}"),
        ("a++", "bad repetition operator: ++"),
        ("(?P<n>a)(?P<n>b)", "duplicate group name: n"),
        ("(?P<n>a)(?<n>b)", "duplicate group name: n"),
        ("(" * 2000 + ")" * 2000, f"nested deeper than {MAX_DEPTH} brackets"),
        ("(?P<\n>a)", r"invalid named capture group: (?P<\n>"),
        ("((a{1000}){1000}){1000}", "invalid repetition size"),
    ],
)
def test_a_regex_that_go_refuses_is_refused_in_one_line(
    text: str, message: str
) -> None:
    """A regex that Go refuses is refused in one short line."""
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        Pattern(text)

    problem = str(caught.value)
    assert problem.startswith(message)
    assert problem.isprintable()
    assert len(problem) < 150


def test_named_groups_have_numbers() -> None:
    """Named groups have numbers."""
    pattern = Pattern("(a)(?P<x>b)(?:c)(?<y>d)")

    assert (pattern.groups, pattern.names) == (3, {"x": 2, "y": 3})


def test_a_regex_hard_for_backtracking_takes_linear_time() -> None:
    """A regex that takes exponential time with backtracking is linear."""
    assert Pattern("(a*)*b").search("a" * 5000) is None


def first(*texts: str) -> PatternTree:
    """Return a tree of patterns that are numbered from ten."""
    return PatternTree([(Pattern(text), 10 + i) for i, text in enumerate(texts)])


FIRST: list[tuple[tuple[str, ...], str, tuple[int, tuple[str, ...]] | None]] = [
    ((), "a", None),
    (("b",), "a", None),
    (("a", "a"), "a", (10, ("a",))),
    (("b", "(a)", "(.)"), "a", (11, ("a", "a"))),
    # The first pattern, and not the leftmost match.
    (("b", "a"), "ab", (10, ("b",))),
    (("(?i)B", "b"), "b", (10, ("b",))),
    (("(?i)X", "b"), "B", None),
    ((r"\Qx.", r"\Qb\E|c", "."), "c", (11, ("c",))),
    (("(?P<n>x)", "(?P<n>b)"), "b", (11, ("b", "b"))),
    (("x|", "b"), "b", (10, ("",))),
]


@pytest.mark.parametrize(("texts", "name", "expected"), FIRST)
def test_the_first_pattern_that_matches_wins(
    texts: tuple[str, ...], name: str, expected: tuple[int, tuple[str, ...]] | None
) -> None:
    """The first pattern that matches wins, with its own captures."""
    assert first(*texts).find(name) == expected


PATTERNS = st.sampled_from(
    ["a", "b", "^a", "b$", "(a)b", "a|b", "", "[ab]c", "(?i)A", r"\Qa", "a+?", "(?:c)"]
)


@given(st.lists(PATTERNS, max_size=9), st.text(alphabet="abcA", max_size=5))
def test_first_agrees_with_trying_each(texts: list[str], name: str) -> None:
    """The tree finds what trying each pattern in turn finds."""
    tried = ((10 + i, Pattern(text).search(name)) for i, text in enumerate(texts))
    expected = next((found for found in tried if found[1] is not None), None)

    assert first(*texts).find(name) == expected


def test_patterns_too_large_for_one_alternation() -> None:
    """If RE2 refuses the alternation, each half is tried."""
    huge = [f"({'abcdefghij' * 100}){{20}}{i}" for i in range(50)]

    assert first(*huge, "(x)").find("x") == (60, ("x", "x"))


@given(st.text(alphabet="ab()[]{}*+?|\\QEC.^$<>P:i1,-", max_size=15))
def test_any_regex_matches_alike_alone_and_among_others(text: str) -> None:
    """Any text is refused or matches alike alone and in an alternation."""
    try:
        pattern = Pattern(text)
    except ValueError:
        return

    expected = pattern.search("ab")
    found = PatternTree([(Pattern("nowhere"), 0), (pattern, 1)]).find("ab")
    assert found == (None if expected is None else (1, expected))
