"""The path: what each line changes, and what is counted.  Both paths do the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from statsd_bridge import mapping, pipeline
from statsd_bridge.series import MetricFamily, Series, store
from statsd_bridge.series.family import SeriesKind
from tests.statsd_bridge.in_memory import (
    InMemoryPath,
    MakePipeline,
    ReportedBugs,
)

RULES = """
mappings:
- {match: app.hits.*, name: app_hits_total, labels: {route: $1}}
- {match: app.secret, name: unused, action: drop}
"""


def test_events_rise_by_the_observations_of_a_sampled_timer(
    make_pipeline: MakePipeline,
) -> None:
    """One line that stands for a thousand observations is recorded once."""
    memory = InMemoryPath(make_pipeline=make_pipeline)
    memory.feed(b"t:200|ms|@0.001")

    assert memory.values()["t_count"] == 1000
    assert memory.stats.events["observer"] == memory.stats.unmapped == 1000


def test_every_rejection_is_counted_under_its_reason(
    make_pipeline: MakePipeline,
) -> None:
    """Conflicts, the limit, negative counters and empty names have their counters."""
    memory = InMemoryPath(make_pipeline=make_pipeline, max_series=1)
    memory.feed(b"a:1|c\na:1|g\nb:1|c\na:-1|c\n,k=v:1|c\nbroken\na:nan|c")
    memory.feed(b"n" * 1025 + b":1|c")
    for tag in ("k" * 257 + ":v", "k:" + "v" * 4097, "k:" + "é" * 2049):
        memory.feed(b"a:1|c|#" + tag.encode())
    stats = memory.stats

    assert memory.values() == {"a": 1}
    assert stats.conflicts == {("gauge", "a"): 1}
    assert stats.series_refused == {("series", "b"): 1}
    assert stats.event_errors == {
        "illegal_negative_counter": 1,
        "empty_metric_name": 1,
        "nan": 1,
        "name_too_long": 1,
        "label_too_long": 3,
    }
    assert stats.sample_errors == {"malformed_line": 1}


def test_label_values_that_senders_choose_are_bounded() -> None:
    """Beyond the bound, rejected names are counted as `other`."""
    memory = InMemoryPath(max_series=0)
    names = b"\n".join(b"n%d:1|c" % number for number in range(1500))
    memory.feed(names, b"n" * 300 + b":1|c")
    refused = memory.stats.series_refused

    assert len(refused) == pipeline.MAX_LABEL_VALUES + 1
    assert (refused["series", "other"], refused.total()) == (501, 1501)
    assert max(len(name) for _, name in refused) < 256


def test_lines_of_configured_sources_are_counted(make_pipeline: MakePipeline) -> None:
    """By the first segment of the name, whether the line can be parsed or not."""
    memory = InMemoryPath(RULES, make_pipeline=make_pipeline, sources=("app",))
    for _ in range(3):
        memory.feed(b"app.hits.x:1|c\napplause:1|c\napp:1.5|c\napp.broken")
    memory.pipeline.flush()

    assert memory.stats.lines_by_source == {"app": 6}


def test_a_new_table_applies_from_the_next_batch(make_pipeline: MakePipeline) -> None:
    """Series of the old rules stay."""
    memory = InMemoryPath(RULES, make_pipeline=make_pipeline)
    for _ in range(3):
        memory.feed(b"app.hits.a:1|c")
    memory.pipeline.replace_table(mapping.parse("", "empty.yml"))
    memory.feed(b"app.hits.a:1|c")

    assert memory.values() == {"app_hits_a": 1, 'app_hits_total{route="a"}': 3}


def test_a_bug_costs_one_line(
    make_pipeline: MakePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is reported by each path, and the other lines of the batch are recorded."""
    memory = InMemoryPath(make_pipeline=make_pipeline, bugs=ReportedBugs())

    def broken(name: str, kind: SeriesKind, first: tuple[str, Series]) -> MetricFamily:
        if name == "bug":
            raise RuntimeError("a bug")
        return MetricFamily(name, kind, first)

    monkeypatch.setattr(store, "MetricFamily", broken)
    memory.feed(b"a:1|c\nbug:1|c\nbroken\nb:1|c")

    assert {str(bug) for bug in memory.bugs} == {"a bug"}
    assert memory.stats.lines == 4
    assert memory.values() == {"a": 1, "b": 1}


LEDGER_RULES = """
defaults: {observer_type: histogram, histogram_options: {buckets: [1, 10]}}
mappings:
- {match: a.*, name: mapped_a, labels: {k: $1}}
- {match: drop.*, name: dropped, action: drop}
- {match: '^b(.*)$', match_type: regex, name: mapped_b, scale: -1}
"""
ANY_TEXT = st.lists(
    st.sampled_from(
        b"a. b a.b drop.x c foo foo_sum :1 :2 :-1 :+3 :x |c |c |g |h |d |s |@0.5"
        b" |@0.001 |#k:v |#__x:1 |#le:2 ,t=u [a=b] # \xff \n \n \r \xc3\xa9".split(b" ")
    ),
    max_size=30,
).map(b"".join)
EVENTS = st.builds(
    "{}:{}|{}{}".format,
    st.sampled_from("a.x a.y b foo foo_sum foo_count foo_bucket drop.x c".split()),
    st.sampled_from("0 1 2 -1 +3 nan".split()),
    st.sampled_from("c g h s".split()),
    st.sampled_from(["", "", "|@0.5", "|#k:v", "|#le:1"]),
).map(str.encode)
# All numbers are whole, so their sum does not depend on the order.
DATAGRAMS = st.lists(
    st.one_of(st.binary(max_size=40), ANY_TEXT, EVENTS, EVENTS), max_size=40
)


@given(DATAGRAMS, st.integers(2, 9))
def test_every_line_and_every_event_is_accounted_for(
    make_pipeline: MakePipeline, datagrams: list[bytes], size: int
) -> None:
    """Whatever bytes arrive, in whichever batches, the counters add up."""
    memories = [
        InMemoryPath(LEDGER_RULES, make_pipeline=make_pipeline, max_series=20)
        for _ in range(3)
    ]
    for memory, batch in zip(memories, (1, size, len(datagrams) or 1), strict=True):
        for start in range(0, len(datagrams), batch):
            memory.feed(*datagrams[start : start + batch])
    memory, *others = memories
    page, stats, series = memory.page(), memory.stats, len(memory.store)

    for other in others:
        assert (other.page(), other.stats) == (page, stats)
    lines = sum(each.count(b"\n") + 1 for each in datagrams)
    assert stats.lines == stats.lines_by_transport["udp"] == lines
    assert stats.packets["udp"] == len(datagrams)
    assert stats.tags <= stats.samples
    rejected = stats.conflicts.total() + stats.event_errors.total()
    rejected += stats.series_refused.total() + stats.actions["drop"]
    assert stats.unmapped + stats.actions.total() == stats.events.total() + rejected
    families = text_string_to_metric_families(page)
    assert sum(len(each.samples) for each in families) >= series <= 20
