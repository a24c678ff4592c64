"""Rules that stand in each other's way are told, and so is why a name went by."""

from __future__ import annotations

import pytest

from statsd_bridge import mapping
from statsd_bridge.model import SampleType


def table(*rules: str, defaults: str = "") -> mapping.MappingTable:
    """Read rules given as `match` and what follows."""
    entries = ",".join(f"{{name: x, match: {rule}}}" for rule in rules)
    return mapping.parse(f"defaults: {{{defaults}}}\nmappings: [{entries}]", "f")


COUNTER = "match_metric_type: counter"
GAUGE = "match_metric_type: gauge"
OBSERVER = "match_metric_type: observer"
REGEX = "match_type: regex"

USELESS = [
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
    # Unordered, only the same globs are in each other's way.
    (("a.*.c", "a.b.c"), "glob_disable_ordering: true", []),
    (("a.*", "a.b", "a.*"), "glob_disable_ordering: true", [(2, 0)]),
    # Of regexes, only the same are known to be.
    ((f"a, {REGEX}", f"a, {REGEX}", f"b, {REGEX}"), "", [(1, 0)]),
    ((f"a, {REGEX}", "a"), "", []),
]


@pytest.mark.parametrize(("rules", "defaults", "expected"), USELESS)
def test_useless(
    rules: tuple[str, ...], defaults: str, expected: list[tuple[int, int]]
) -> None:
    """A rule all of whose names go to earlier ones is told, with the earliest."""
    assert table(*rules, defaults=defaults).warnings == tuple(
        f"f: mappings[{useless}]: never matches: mappings[{first}] takes all its names"
        " (line 2)"
        for useless, first in expected
    )


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
def test_near_miss(rule: str, name: str, expected: list[str]) -> None:
    """A rule that nearly took a name tells what was amiss."""
    near = table(rule).candidates(SampleType.COUNTER, name)

    assert [reason for _, reason in near] == expected


def test_candidates() -> None:
    """Rules that would have taken a name tell which one goes before them."""
    rules = ("a.c", "a.*", f". , {REGEX}", "a.b", "z.*")
    near = table(*rules).candidates(SampleType.COUNTER, "a.b")

    assert [(rule.index, reason) for rule, reason in near] == [
        (0, "segment 2 is 'b', not 'c'"),
        (2, "mappings[1] goes first"),
        (3, "mappings[1] goes first"),
        (4, "segment 1 is 'a', not 'z'"),
    ]
