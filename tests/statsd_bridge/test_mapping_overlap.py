"""Unreachable rules are warned of, and near misses have their reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import mapping
from statsd_bridge.mapping.overlap import UnreachableRules
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.model import SampleType


def table(*rules: str, defaults: str = "") -> mapping.MappingTable:
    """Parse rules, each given as its `match` and further keys."""
    entries = ",".join(f"{{name: x, match: {rule}}}" for rule in rules)
    return mapping.parse(f"defaults: {{{defaults}}}\nmappings: [{entries}]", "f")


def near_misses(rules: mapping.MappingTable, name: str) -> list[tuple[Rule, str]]:
    """Return the near misses of a counter's name."""
    match = rules.look_up(SampleType.COUNTER, name)
    found = mapping.near_misses(
        rules.search.rules, match.rule, SampleType.COUNTER, name
    )
    return list(found)


COUNTER = "match_metric_type: counter"
GAUGE = "match_metric_type: gauge"
OBSERVER = "match_metric_type: observer"
REGEX = "match_type: regex"

UNREACHABLE = [
    (("a.*.c", "a.b.c"), "", [(1, 0)]),
    (("a.b.c", "a.*.c"), "", []),
    (("'*.*'", "a.*", "'*.b'", "a.b"), "", [(1, 0), (2, 0), (3, 0)]),
    (("a.*", "'*.b'", "a.b"), "", [(2, 0)]),
    (("a.*.c", "a.b"), "", []),
    (("a.b", "a.b"), "", [(1, 0)]),
    ((f"a.b, {COUNTER}", "a.b"), "", []),
    (("a.b", f"a.b, {COUNTER}"), "", [(1, 0)]),
    ((f"a.b, {COUNTER}", f"a.b, {GAUGE}", f"a.b, {OBSERVER}", "a.*"), "", []),
    ((f"a.*, {COUNTER}", f"a.*, {GAUGE}", f"a.*, {OBSERVER}", "a.b"), "", [(3, 0)]),
    # Unordered, only equal globs overlap.
    (("a.*.c", "a.b.c"), "glob_disable_ordering: true", []),
    (("a.*", "a.b", "a.*"), "glob_disable_ordering: true", [(2, 0)]),
    # Regexes are compared as text.
    ((f"a, {REGEX}", f"a, {REGEX}", f"b, {REGEX}"), "", [(1, 0)]),
    ((f"a, {REGEX}", "a"), "", []),
    # But for those that match all names, of which .+ leaves the empty one.
    ((f"'^(.*)$', {REGEX}", f"b, {REGEX}", "b"), "", [(1, 0)]),
    ((f".+, {REGEX}", f"b, {REGEX}", f"b*, {REGEX}", f".*, {REGEX}"), "", [(1, 0)]),
    (
        (f".+, {REGEX}, {COUNTER}", f"b, {REGEX}", f"c, {REGEX}, {COUNTER}"),
        "",
        [(2, 0)],
    ),
]


@pytest.mark.parametrize(("rules", "defaults", "expected"), UNREACHABLE)
def test_a_rule_that_never_matches_names_an_earlier_one(
    rules: tuple[str, ...], defaults: str, expected: list[tuple[int, int]]
) -> None:
    """A rule whose names all match earlier rules is unreachable; one is named."""
    assert table(*rules, defaults=defaults).warnings == tuple(
        f"f: mappings[{rule}]: never matches: mappings[{winner}] matches all its"
        " names first (line 2)"
        for rule, winner in expected
    )


SEGMENTS = st.sampled_from(["a", "b", "*"])
GLOBS = st.lists(st.lists(SEGMENTS, min_size=1, max_size=4), max_size=12)


def covers(glob: list[str], other: list[str]) -> bool:
    """Return whether a glob matches all names that another one matches."""
    pairs = zip(glob, other, strict=False)
    return len(glob) == len(other) and all(a in ("*", b) for a, b in pairs)


@given(GLOBS)
def test_the_search_agrees_with_plain_comparison(globs: list[list[str]]) -> None:
    """A rule is unreachable if an earlier glob covers its own."""
    expected = [
        (i, next(j for j in range(i) if covers(globs[j], glob)))
        for i, glob in enumerate(globs)
        if any(covers(earlier, glob) for earlier in globs[:i])
    ]
    rules = table(*(f"'{'.'.join(glob)}'" for glob in globs)).search
    found = UnreachableRules(rules.rules, rules.globs)

    assert [(rule.index, winner.index) for rule, winner in found] == expected


NEAR = [
    ("a.b.c", "a.b.c", []),
    ("a.b.c", "a.b.d", ["segment 3 is 'd', not 'c'"]),
    ("a.*.c", "x.y.c", ["segment 1 is 'x', not 'a'"]),
    ("a.b.c", "a.x.y", []),
    ("a.b.c", "a.b", ["has 3 segments, the name has 2"]),
    ("a.b", "a.b.c", ["has 2 segments, the name has 3"]),
    ("a.b", "a.x.c", []),
    ("a.b", "a.b.c.d", []),
    (f"a.b, {GAUGE}", "a.b", ["is for another metric type"]),
    (f"^x, {REGEX}", "a.b", []),
    (f"^a, {REGEX}, {GAUGE}", "a.b", ["is for another metric type"]),
    ("a.b", "a.\x1b", ["segment 2 is '\\x1b', not 'b'"]),
]


@pytest.mark.parametrize(("rule", "name", "expected"), NEAR)
def test_a_near_miss_has_its_reason(rule: str, name: str, expected: list[str]) -> None:
    """A rule that nearly matches a name has the reason why it does not."""
    assert [reason for _, reason in near_misses(table(rule), name)] == expected


def test_near_misses_of_a_mapped_name() -> None:
    """A rule that would match has as reason the rule that goes first."""
    rules = ("a.c", "a.*", f". , {REGEX}", "a.b", "z.*")
    near = near_misses(table(*rules), "a.b")

    assert [(rule.index, reason) for rule, reason in near] == [
        (0, "segment 2 is 'b', not 'c'"),
        (2, "mappings[1] goes first"),
        (3, "mappings[1] goes first"),
        (4, "segment 1 is 'a', not 'z'"),
    ]
