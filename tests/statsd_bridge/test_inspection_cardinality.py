"""The names with the most series, and their growth."""

from __future__ import annotations

from typing import Any

import pytest

from statsd_bridge.inspection import CardinalityQuery
from statsd_bridge.inspection.distinct import MAX_KEPT, DistinctCount
from statsd_bridge.inspection.growth import GROWTH_SAMPLES
from statsd_bridge.inspection.steps import run_at_once
from tests.statsd_bridge.in_memory import InMemoryPath

RULES = """
mappings:
- {match: few.*, name: few, labels: {key: $1}}
- {match: many.*.*, name: many, labels: {user: $1, zone: $2}}
"""


def ask(path: InMemoryPath, **query: Any) -> Any:
    """Return the answer of the API."""
    return run_at_once(path.inspector.cardinality(CardinalityQuery(**query)))


def filled(quota_file: str = "") -> InMemoryPath:
    """Return a path with names of several sizes."""
    path = InMemoryPath(RULES, quota_file=quota_file)
    path.feed(*[b"many.u%d.z%d:1|c" % (n, n % 3) for n in range(30)])
    path.feed(
        *[b"few.%b:1|c" % (b"x" * 500 + b"%d" % n) for n in range(20)], b"one:1|g"
    )
    return path


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({}, ["many", "few", "one"]),
        ({"sort": "bytes"}, ["few", "many", "one"]),
        ({"sort": "growth"}, ["many", "few", "one"]),
        ({"limit": 1}, ["many"]),
    ],
)
def test_families_are_ranked(query: Any, names: list[str]) -> None:
    """By series, by bytes, or by growth."""
    assert [row["name"] for row in ask(filled(), **query)["families"]] == names


def test_a_family() -> None:
    """It has its labels by number of values, its bytes, and what a limit would cut."""
    path = filled()
    answer = ask(path, max_series=25)
    row, total = answer["families"][0], answer["total"]

    assert row["labels"] == [
        {"name": "user", "values": 30, "exact": True},
        {"name": "zone", "values": 3, "exact": True},
    ]
    assert (row["type"], row["series"], row["over"]) == ("counter", 30, 5)
    assert total["over"] == {"families": 1, "series": 5}
    assert (total["families"], total["series"]) == (3, 51)
    assert sum(row["bytes"] for row in answer["families"]) == total["bytes"]
    assert row["quota"] is None


def test_a_quota() -> None:
    """A family with a quota has its limit, and the samples that it refused."""
    row = ask(filled("quotas: [{match: many, max_series: 10}]"))["families"][1]

    assert (row["name"], row["series"]) == ("many", 10)
    assert row["quota"] == {"max_series": 10, "refused": 20}


def test_growth_is_that_of_ten_minutes() -> None:
    """What a family had ten minutes ago is subtracted; new families grew by all."""
    path = filled()

    def growth() -> dict[str, int]:
        return {row["name"]: row["growth"] for row in ask(path)["families"]}

    assert growth() == {"many": 30, "few": 20, "one": 1}
    for minute in range(GROWTH_SAMPLES + 1):
        path.now += 60
        run_at_once(path.inspector.sample_growth())
        if minute == 5:
            path.feed(b"many.new.z:1|c\nfresh:1|c")
    assert growth() == {"many": 1, "fresh": 1, "few": 0, "one": 0}
    assert ask(path)["growth_seconds"] == 600
    assert ask(path)["total"]["growth"] == 2


def test_a_small_family_is_not_in_a_sample() -> None:
    """Of more families than a sample holds, small ones have no growth they lack."""
    path = InMemoryPath(RULES)
    path.feed(*[b"name%d:1|c" % n for n in range(1_500)])
    path.feed(*[b"many.u%d.z:1|c" % n for n in range(5)])
    for _ in range(GROWTH_SAMPLES + 1):
        run_at_once(path.inspector.sample_growth())
    path.feed(b"many.new.z:1|c")

    rows = ask(path, sort="growth", limit=2)["families"]
    assert [(row["name"], row["growth"]) for row in rows] == [("many", 1), ("name0", 0)]


@pytest.mark.parametrize("count", [0, 1, MAX_KEPT, 50_000])
def test_distinct_texts_are_counted(count: int) -> None:
    """Exactly as long as all are kept, about beyond that."""
    distinct = DistinctCount()
    for _ in range(2):
        distinct.add(f"value {number}" for number in range(count))

    assert distinct.is_exact == (count <= MAX_KEPT)
    assert abs(distinct.count - count) <= (0 if distinct.is_exact else count // 10)
