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
        "rule": {"line": 4, "match": "brief.*", "index": 1},
    }
    assert rows["t_seconds"]["buckets"] == [[1.0, 2], ["+Inf", 2]]
    assert (rows["t_seconds"]["count"], rows["t_seconds"]["sum"]) == (2, 0.006)
    assert rows["t_seconds"]["age_seconds"] is None
    assert rows["level"]["value"] == "-Inf"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"a.x.hits:1|c", "a.*.hits"),
        (b"b.x.hits:1|c", "b.*.hits"),
        (b"c.disk.size:1|g", "c.*.size"),
        (b"c.disk.size:1|ms", None),
        (b"r.one.two:1|c", "r\\.(.*)"),
        (b"other:1|c", None),
        (b"num.9:1|c", "num.*"),
        (b"h.x:1|c|#from:tag", "h.*"),
    ],
)
def test_the_rule_of_a_series(line: bytes, rule: str | None) -> None:
    """It is the rule whose templates give its name and labels; None without one."""
    path = InMemoryPath(
        r"""
mappings:
- {match: a.*.hits, name: hits, labels: {from: a, x: $1}}
- {match: b.*.hits, name: hits, labels: {from: b, x: $1}}
- {match: c.*.size, match_metric_type: gauge, name: "${1}_size"}
- {match: 'r\.(.*)', match_type: regex, name: "r_$1", labels: {all: $1}}
- {match: num.*, name: "${1}"}
- {match: h.*, name: honor, labels: {from: rule}, honor_labels: true}
"""
    )
    # Twice: the second batch puts the line into a buffer.
    for _ in range(3):
        path.feed(line, line)

    (row,) = page(path)["series"]

    assert (row["rule"] and row["rule"]["match"]) == rule


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


@given(st.data())
def test_pages_while_series_come_and_go(data: Any) -> None:
    """Nothing raises, no series comes twice, and those that stay come once."""
    path = InMemoryPath(RULES)
    stay = [("a", ""), ("b", "1"), ("zz", "x" * 600)]
    feed(path, stay)
    found, after, limit = list[Any](), None, data.draw(st.integers(1, 5))
    while after is not None or not found:
        query = SeriesQuery(limit=limit, **({"after": after} if after else {}))
        steps = path.inspector.series(query)
        while True:
            if data.draw(st.booleans()):
                feed(path, data.draw(series.map(lambda some: some[:5])))
            if data.draw(st.booleans()):
                path.feed(b"brief.%d:1|c" % data.draw(st.integers(0, 9)))
            if data.draw(st.integers(0, 3)) == 0:
                path.pass_seconds(11)
            try:
                next(steps)
            except StopIteration as ended:
                answer = ended.value
                break
        found += keys(answer["series"])
        after = Position.parse(answer["next"]) if answer["next"] else None

    assert len(found) == len({*found})
    assert {*stay} <= {*found}


@pytest.mark.parametrize("one_family", [True, False])
def test_many_series_change_during_a_search(one_family: bool) -> None:
    """In the middle of a long search, series that stay are found, each once."""
    path = InMemoryPath(
        "mappings:\n"
        "- {match: many.*, name: many, labels: {key: $1}}\n"
        "- {match: go.*, name: many, labels: {key: $1}, ttl: 5s}\n"
        "- {match: brief.*, name: zbrief_$1, ttl: 5s}\n"
    )
    gone, kept = ("go", "many") if one_family else ("brief", "kept")
    path.feed(*[b"%b.%d:1|c" % (gone.encode(), n) for n in range(50_000, 62_000)])
    path.feed(*[b"%b.%d:1|c" % (kept.encode(), n) for n in range(20_000, 45_000)])
    steps = path.inspector.series(SeriesQuery(words=("9",), limit=500))
    answer = None
    for step in range(100_000):
        if step == 30:
            path.pass_seconds(6)
        if step == 45:
            path.feed(*[b"%b.9%d:1|c" % (kept.encode(), n) for n in range(5_000)])
        try:
            next(steps)
        except StopIteration as ended:
            answer = ended.value
            break

    assert answer is not None
    found = keys(answer["series"])
    assert len(found) == len({*found}) == 500
    numbers = sorted(str(n) for n in range(20_000, 45_000) if "9" in str(n))
    shown = [row["name"] + "".join(row["labels"].values()) for row in answer["series"]]
    texts = {text.removeprefix("many").removeprefix("kept_") for text in shown}
    assert {*numbers[:200]} <= texts


def test_a_bounded_sample() -> None:
    """Without JavaScript a page shows some of many series, and says so."""
    path = InMemoryPath()
    feed(path, [("a", str(n)) for n in range(2_000)])

    sample = path.inspector.sample_series(SeriesQuery(limit=10))

    assert (len(sample["series"]), sample["complete"]) == (10, False)
    assert sample["looked_at"] < len(path.store)
    feed(path, [("b", "")])
    assert path.inspector.sample_series(SeriesQuery(name="b"))["complete"]
