"""The fast path against the plain one: the same lines, the same results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import fastpath, mapping
from statsd_bridge.fastpath import buffers, resolve, split
from statsd_bridge.pipeline import RecordedLine
from tests.statsd_bridge.in_memory import (
    BOTH_PATHS,
    InMemoryPath,
    MakePipeline,
    ReportedBugs,
    assert_same_results,
    quota_table,
)

RULES = """
mappings:
- {match: app.hits.*, name: app_hits_total, labels: {route: $1}}
- {match: other.hits.*, name: app_hits_total, labels: {route: $1}}
- {match: app.secret, name: unused, action: drop}
- {match: app.scaled, name: scaled, scale: 0.5}
- {match: app.negated, name: negated, scale: -1}
- match: app.time.*
  name: app_seconds
  labels: {route: $1}
  observer_type: histogram
  histogram_options: {buckets: [0.009, 0.05, 1]}
- match: app.few.*
  name: few_seconds
  labels: {route: $1}
  observer_type: histogram
  histogram_options:
    native_histogram_bucket_factor: 1.005
    native_histogram_max_buckets: 3
- {match: other.few.*, name: few_seconds, labels: {route: $1}, observer_type: histogram}
- {match: app.brief, name: brief, ttl: 5s}
- {match: app.briefer, name: brief, ttl: 2s}
"""
TABLE = mapping.parse(RULES, "rules.yml")


def both(max_series: int = 1000, quota_file: str = "") -> list[InMemoryPath]:
    """Return the plain path and the fast one."""
    return [
        InMemoryPath(
            TABLE,
            make_pipeline=each,
            max_series=max_series,
            quota_file=quota_file,
            sources=("app", "fresh"),
        )
        for each in BOTH_PATHS
    ]


NAMES = [
    *("app.hits.a", "app.hits.b", "other.hits.a", "app.secret", "app.scaled"),
    *("app.negated", "app.time.a", "app.time.b", "app.brief", "app.briefer", "app"),
    *("app.few.a", "app.few.b", "other.few.a"),
    *("hits", "hits,zone=eu", "hits[zone=eu]", "hits,bad", "depth", "depth_count"),
    *("na\u00efve", "", "_e{1,2}"),
]
VALUES = [
    *("1", "2", "9", "29.5", "50", "0", "-3", "+4", "-0", "1e-3", "1e400", "007", ".5"),
    *("5.", "1_0", " 1", "inf", "nan", "0x1p3", "x", "", "1:2", "1.2.3", "-", "1|c:2"),
]
SUFFIXES = [
    *("c", "g", "ms", "h", "s", "c|@0.1", "ms|@0.1", "ms|@0.3", "h|@0", "c|@x"),
    *("c|#zone:eu", "g|#zone:eu", "ms|#zone:eu,a:b", "c|#zone", "c|#quantile:1"),
    *("c\r", "c|c:abc", "g|T123", "c|", "x", "", "ms|@0.1|#a:b", "ms|#le:1"),
    *("c|@0.1|@0.5", "c|@-1", "c|#zone:eu|c:abc", "g|c:abc|#zone:eu", "c|#", "c|e:x"),
    *(
        "ms|@0.1|#a:b|c:abc|T123",
        "c|c:1|T2",
        "c|c:abc|T2|card:low",
        "c|#container_id:x",
    ),
    *("c|c:a,b:c|#a:b", "g|#zone:eu|T1|e:it-false", "c|#container.id:y|c:x", "c|c:"),
]
# Mostly lines that are buffered, since the others are up to the plain path.
LINES = st.one_of(
    st.builds(
        "{}:{}|{}".format,
        st.sampled_from(NAMES),
        st.sampled_from(VALUES),
        st.sampled_from(SUFFIXES),
    ),
    st.builds(
        "{}:{}|{}".format,
        st.sampled_from(NAMES),
        st.integers(0, 99),
        st.sampled_from(["c", "g", "ms"]),
    ),
    st.sampled_from(["", "broken", "depth:+3|g", "depth:7|g", "hits:1|c"]),
).map(str.encode)
DATAGRAMS = st.lists(LINES, max_size=6).map(b"\n".join)
REPEATED = st.lists(
    st.one_of(
        st.builds(
            "{}:{}|{}".format,
            st.sampled_from(["app.hits.a", "other.hits.a", "hits", "app.secret"]),
            st.sampled_from(["1", "1", "2", "07"]),
            st.sampled_from(["c", "c|@0.1"]),
        ),
        st.builds("app.time.{}:{}|ms".format, st.sampled_from("ab"), st.integers(0)),
        st.builds(
            "app.few.a:{}|{}".format,
            st.integers(-99, 99),
            st.sampled_from(["ms", "h|@0.1"]),
        ),
        st.builds("depth:{}|g".format, st.sampled_from(["1", "2.5", "3", "+1", "-2"])),
        st.sampled_from(["depth:4|g", "app.brief:1|g", "app.briefer:2|g", "", "hits"]),
    ),
    min_size=1,
    max_size=4,
)
"""Lines that come again and again: mostly those that can be grouped."""
REPEATED_DATAGRAMS = st.builds(
    lambda lines, times, end: ("\n".join(lines * times) + end).encode(),
    REPEATED,
    st.integers(1, 4),
    st.sampled_from(["", "\n", "\n\n"]),
)
BATCHES = st.lists(
    st.one_of(
        st.lists(DATAGRAMS, max_size=8),
        REPEATED_DATAGRAMS.map(lambda datagram: [datagram, datagram]),
        # Seconds that pass.
        st.sampled_from([0.5, 2.5]),
        # Quota files that are in force from now on.
        st.sampled_from(
            [
                "quotas: [{match: app_*, max_series: 1}]",
                "quotas: [{match: few*, max_series: 0}, {match: '*', max_series: 2}]",
                "",
            ]
        ),
    ),
    max_size=12,
)

Bounds = dict[tuple[ModuleType, str], int]
NORMAL: Bounds = {}
TIGHT: Bounds = {
    (buffers, "MAX_BUFFERS"): 3,
    (resolve, "MAX_SHAPES"): 3,
    (resolve, "MAX_TAGGED_NAMES"): 2,
    (fastpath, "FLUSH_THRESHOLD"): 2,
    (fastpath, "MAX_PIECE_BYTES"): 40,
}
"""Bounds that even a few lines reach."""
GROUPED: Bounds = {
    (fastpath, "MIN_GROUPED_BYTES"): 0,
    (fastpath, "MAX_SKIPPED_PIECES"): 0,
    (split, "MIN_LINES_PER_GROUP"): 1,
}
"""Even a few lines are grouped."""


@contextmanager
def bounded(bounds: Bounds) -> Iterator[None]:
    """Set bounds, and restore them."""
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), bound in bounds.items():
            patch.setattr(module, name, bound)
        yield


@given(
    BATCHES,
    st.sampled_from([3, 1000]),
    st.sampled_from(["", "quotas: [{match: '*', max_series: 1}]"]),
    st.sampled_from([NORMAL, TIGHT, GROUPED, TIGHT | GROUPED]),
    st.booleans(),
)
def test_both_paths_show_the_same(
    batches: Sequence[list[bytes] | float | str],
    max_series: int,
    quota_file: str,
    bounds: Bounds,
    flush_each: bool,
) -> None:
    """Pages, counters and the lists of recent problems are equal after any batches."""
    plain, fast = both(max_series, quota_file)
    with bounded(bounds):
        for each in batches:
            for memory in (plain, fast):
                if isinstance(each, float):
                    memory.pass_seconds(each)
                elif isinstance(each, str):
                    memory.store.quotas.replace(quota_table(each))
                else:
                    memory.feed(*each)
            if flush_each:
                assert_same_results(fast, plain)
        assert_same_results(fast, plain)


def test_lines_apply_in_their_order(make_pipeline: MakePipeline) -> None:
    """To gauges, to new series of several types, to the limit of series."""
    memory = InMemoryPath(TABLE, make_pipeline=make_pipeline, max_series=3)
    for _ in range(3):
        memory.feed(b"g:1|g\ng:+2|g\ng:5|g\ng:-1|g\ng:+0x1p1|g\nb:1|c\ng,a=b:4|g")
    memory.feed(b"a:1|g\na:1|c\nb:1|g\nb:1|c")

    assert memory.values() == {"g": 6, 'g{a="b"}': 4, "b": 4}
    assert memory.stats.series_refused == {("series", "a"): 2}
    assert memory.stats.conflicts == {("gauge", "b"): 1}


def test_failed_grouping_is_retried_rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """One piece in sixteen is tried in vain; the first success ends the pauses."""
    tries = 0

    def counted(data: bytes) -> list[split.Group] | None:
        nonlocal tries
        tries += 1
        return split.group_lines(data)

    monkeypatch.setattr(fastpath, "group_lines", counted)
    uniform = b"\n".join([b"hits:1|c"] * 1_000)
    memory = InMemoryPath()
    for _ in range(160):
        memory.feed(uniform + b"\nhits:0x1p1|c")
    in_vain, tries = tries, 0
    for _ in range(100):
        memory.feed(uniform)

    assert 10 <= in_vain <= 15
    assert 84 <= tries <= 100


def test_buffers_go_with_their_series() -> None:
    """After expiry the name may get another type."""
    memory = InMemoryPath(TABLE)
    for _ in range(4):
        # A buffered number keeps its series alive.
        memory.feed(b"app.brief:1|c")
        memory.pass_seconds(4)
    assert memory.values() == {"brief": 4}
    memory.pass_seconds(6)
    memory.feed(b"app.brief:7|g\napp.brief:1|c")

    assert memory.values() == {"brief": 7}
    assert memory.stats.conflicts == {("counter", "brief"): 1}


def test_no_counter_of_the_cache_falls(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when the mapping is reloaded nor when buffers are dropped as stale."""
    monkeypatch.setattr(buffers, "MAX_BUFFERS", 2)
    memory = InMemoryPath(RULES, make_pipeline=make_pipeline)
    shown = [(0, 0)]
    for _ in range(3):
        for size in (5, 10, 15):
            memory.feed(*[b"n%d:1|c" % number for number in range(size)] * 3)
            memory.pipeline.flush()
            shown.append(memory.plain.cache[1:])
        memory.pipeline.replace_table(mapping.parse(RULES, "rules.yml"))
        shown.append(memory.plain.cache[1:])

    assert shown == sorted(shown)
    assert sorted(hits for _, hits in shown) == [hits for _, hits in shown]
    assert shown[-1][0] == memory.stats.samples


def test_plain_lines_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others pass the plain path twice: to create the series, and to add the buffer."""
    memory = InMemoryPath(RULES)
    plain: list[bytes] = []
    feed_line = memory.plain.feed_line

    def noted(text: bytes) -> RecordedLine | None:
        plain.append(text)
        return feed_line(text)

    monkeypatch.setattr(memory.plain, "feed_line", noted)
    packet = b"hits:1|c\ndepth:3|g\nwork:5|ms|@0.1\ntagged:1|c|#a:b|c:x\napp.secret:1|c"
    for _ in range(5):
        memory.feed(packet)
        memory.feed(packet + b"\ncaf\xc3\xa9:1|c\n")

    assert plain == ["caf\u00e9:1|c".encode()] * 2
    assert memory.plain.table.cache.gets == 5 + len(plain)


ONCE = b"a:1|c\nt:1|ms\n"
TWICE = b"a:1|c\nt:1|ms\nt:1|ms\n"


@pytest.mark.parametrize(
    ("broken", "packet", "values", "bugs"),
    [
        ("fastpath.split_lines", ONCE, {"a": 3, "t_sum": 0.003}, 3),
        ("fastpath.resolve.LineResolver.resolve", ONCE, {"a": 3, "t_sum": 0.003}, 4),
        ("fastpath.each.LineRecorder._promote", TWICE, {"a": 3, "t_sum": 0.003}, 3),
        # It costs the numbers of a line, or of a buffer.
        ("series.histogram.Histogram.add_first", ONCE, {"a": 3, "t_sum": 0.002}, 1),
        ("series.histogram.Histogram.add", ONCE, {"a": 3, "t_sum": 0.001}, 2),
        ("series.histogram.Histogram.record_all", TWICE, {"a": 3, "t_sum": 0.001}, 1),
    ],
)
def test_a_bug_is_reported_and_costs_little(
    broken: str,
    packet: bytes,
    values: dict[str, float],
    bugs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other lines of the batch are recorded."""

    def fail(*_: object) -> object:
        raise RuntimeError("a bug")

    memory = InMemoryPath("defaults: {observer_type: histogram}", bugs=ReportedBugs())
    monkeypatch.setattr(f"statsd_bridge.{broken}", fail)
    for _ in range(3):
        memory.feed(packet)

    assert {name: memory.values()[name] for name in values} == pytest.approx(values)
    assert [str(bug) for bug in memory.bugs] == ["a bug"] * bugs
    assert memory.stats.lines == 3 * (packet.count(b"\n") + 1)


@pytest.mark.parametrize("end", [b"", b"\nb"], ids=["grouped", "in columns"])
def test_lines_count_once_after_a_bug(
    end: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are in their buffers are not processed again."""
    memory = InMemoryPath()
    memory.feed(b"a:1|c\na:1|c")
    with monkeypatch.context() as patch:
        patch.setattr(fastpath.SampleBuffers, "flush", None)
        with pytest.raises(TypeError):
            memory.feed(b"\n".join([b"a:1|c"] * 5_000) + end)

    assert memory.values() == {"a": 5_002}
    assert memory.stats.lines == 5_002 + len(end) // 2
