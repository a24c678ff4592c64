"""Searching series, in pages, while series come and go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.inspection import Position, SeriesQuery
from statsd_bridge.inspection.steps import run_at_once
from statsd_bridge.model import MetricType
from tests.statsd_bridge.in_memory import InMemoryPath

RULES = """
mappings:
- {match: api.*.hits, name: api_hits, labels: {route: $1}}
- {match: brief.*, name: brief, labels: {key: $1}, ttl: 10s}
- {match: t.*, name: t_seconds, observer_type: histogram, labels: {k: $1}, buckets: [1]}
- {match: s.*, name: s_seconds, observer_type: summary}
"""


def page(path: InMemoryPath, **query: Any) -> Any:
    """Return a page of series."""
    return run_at_once(path.inspector.series(SeriesQuery(**query)))


def all_pages(path: InMemoryPath, **query: Any) -> list[Any]:
    """Return the series of all pages."""
    found = page(path, **query)
    rows = found["series"]
    while found["next"]:
        found = page(path, after=Position.parse(found["next"]), **query)
        rows += found["series"]
    return list(rows)


def keys(rows: list[Any]) -> list[tuple[str, str]]:
    """Return name and label values of rows."""
    return [(row["name"], ",".join(row["labels"].values())) for row in rows]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"words": ("api",)}, [("api_hits", "a"), ("api_hits", "b")]),
        ({"words": ("api", "b")}, [("api_hits", "b")]),
        ({"words": ('route="a"',)}, [("api_hits", "a")]),
        ({"words": ("nothing",)}, []),
        ({"name": "brief"}, [("brief", "A")]),
        ({"name": "brief", "words": ("a",)}, [("brief", "A")]),
        ({"name": "brie"}, []),
        ({"type": MetricType.GAUGE}, [("level", "")]),
        ({"limit": 1}, [("api_hits", "a")]),
    ],
)
def test_a_search(query: Any, found: list[tuple[str, str]]) -> None:
    """All words are in name or labels, in any case; name and type are exact."""
    path = InMemoryPath(RULES)
    path.feed(b"api.b.hits:1|c\napi.a.hits:1|c\nbrief.A:1|c\nlevel:1|g")

    assert keys(page(path, **query)["series"]) == found


def test_rows() -> None:
    """A row has the numbers of its type, its age and when it expires."""
    path = InMemoryPath(RULES)
    path.feed(b"brief.a:2|c\nt.x:3|ms|@0.5\ns.y:1|s\nlevel:-inf|g")
    path.now += 4

    rows = {row["name"]: row for row in page(path)["series"]}

    assert rows["brief"] == {
        "name": "brief",
        "labels": {"key": "a"},
        "type": "counter",
        "value": 2.0,
        "age_seconds": 4.0,
        "created": path.created,
        "ttl": 10.0,
        "expires_in": 6.0,
    }
    assert rows["t_seconds"]["buckets"] == [[1.0, 2], ["+Inf", 2]]
    assert (rows["t_seconds"]["count"], rows["t_seconds"]["sum"]) == (2, 0.006)
    assert rows["t_seconds"]["age_seconds"] is None
    assert rows["level"]["value"] == "-Inf"


names = st.sampled_from(["a", "a_b", "b", "zz"])
labels = st.sampled_from(["", "1", "2", "x" * 600, "x" * 601, "\u00e9;=", '"\\'])
series = st.lists(st.tuples(names, labels), max_size=60)


def feed(path: InMemoryPath, wanted: list[tuple[str, str]]) -> None:
    """Send a counter for each name and label value."""
    for name, value in wanted:
        path.feed(
            f"{name}:1|c|#v:{value}".encode() if value else f"{name}:1|c".encode()
        )


@given(series, st.integers(1, 7))
def test_pages_have_every_series_once(wanted: Any, limit: int) -> None:
    """While nothing changes, all pages together have each series once, in order."""
    path = InMemoryPath()
    feed(path, wanted)

    rows = all_pages(path, limit=limit)

    assert sorted(keys(rows)) == sorted({*wanted})
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)
