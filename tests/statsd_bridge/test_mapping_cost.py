"""A mapping file costs as much as its rules: work is counted, not timed."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from statsd_bridge import mapping
from statsd_bridge.mapping import overlap

TYPES = ("counter", "gauge", "observer")


def rules(*matches: str, more: str = "") -> str:
    """Return a file with a rule for each match."""
    entries = (f"- {{match: '{each}', name: n{more}}}\n" for each in matches)
    return "mappings:\n" + "".join(entries)


def shuffled(matches: list[str]) -> list[str]:
    """Return matches in another order, which is always the same."""
    random.Random(1).shuffle(matches)
    return matches


FILES: dict[str, Callable[[int], str]] = {
    "exact": lambda n: rules(*(f"app.service{i}.hits" for i in range(n))),
    "one star": lambda n: rules(*(f"app.service{i}.*" for i in range(n))),
    "stars first": lambda n: rules(*(f"*.*.service{i}" for i in range(n))),
    "all alike": lambda n: rules(*["a.*"] * n),
    "each hidden": lambda n: rules("*.*.*", *(f"a{i}.*.b" for i in range(n))),
    "the widest last": lambda n: rules(*(f"a{i}.*.b" for i in range(n)), "*.*.*"),
    "of growing length": lambda n: rules(
        *("*." * (i % 20) + f"z{i}" for i in range(n))
    ),
    "for one type each": lambda n: (
        "mappings:\n"
        + "".join(
            f"- {{match: a.b{i}, name: n, match_metric_type: {TYPES[i % 3]}}}\n"
            for i in range(n)
        )
    ),
    "regexes": lambda n: rules(
        *(f"^app{i}[.](x+)$" for i in range(n)), more=", match_type: regex"
    ),
    "regexes and globs": lambda n: (
        rules(*(f"a.b{i}" for i in range(n // 2)))
        + "".join(
            f"- {{match: '^b{i}', name: n, match_type: regex}}\n" for i in range(n // 2)
        )
    ),
    "with labels and options": lambda n: rules(
        *(f"a.*.b{i}" for i in range(n)),
        more=", labels: {a: $1, b: x$1}, help: text, ttl: 1h, observer_type: histogram,"
        " histogram_options: {buckets: [1, 2, 3]}",
    ),
    "unknown keys": lambda n: rules(*(f"a.b{i}" for i in range(n)), more=", nam: x"),
    "through an alias": lambda n: (
        "x: &x {name: n, labels: {k: v}}\nmappings:\n"
        + "".join(f"- {{<<: *x, match: a.b{i}}}\n" for i in range(n))
    ),
    "unordered": lambda n: (
        "defaults: {glob_disable_ordering: true}\n"
        + rules(*(f"a{i % 7}.*.b{i}" for i in range(n)))
    ),
}


def steps(text: str) -> int:
    """Return how many lines of Python the reading of a file runs."""
    count = 0

    def step(_: FrameType, event: str, __: Any) -> Any:
        nonlocal count
        count += event == "line"
        return step

    before = sys.gettrace()
    sys.settrace(step)
    try:
        mapping.parse(text, "f")
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("name", FILES)
def test_twice_the_rules_are_no_more_than_twice_the_work(name: str) -> None:
    """Apart from work that does not depend on their number."""
    once, twice = (steps(FILES[name](n)) for n in (200, 400))

    assert twice <= 2.2 * once + 1_000


HARD = shuffled([".".join(glob) for glob in itertools.product("a*", repeat=9)])
"""Globs for which the search for unreachable rules visits 3 ** 9 nodes."""


@pytest.mark.parametrize(
    ("max_visits", "is_complete"), [(overlap.MAX_VISITS, True), (1_000, False)]
)
def test_the_search_for_unreachable_rules_is_bounded(
    max_visits: int, is_complete: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound a warning says so, and all rules work."""
    monkeypatch.setattr(overlap, "MAX_VISITS", max_visits)
    table = mapping.parse(rules(*HARD), "f")
    is_warned = any("not all are checked" in each for each in table.warnings)

    assert is_warned is not is_complete
    assert len(table) == len(HARD)
