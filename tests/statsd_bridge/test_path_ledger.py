"""Any bytes along the whole path: nothing raises, and every event is accounted for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from statsd_bridge import exposition, mapping
from statsd_bridge.batch import FastPipeline
from statsd_bridge.model import Stats
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.series import SeriesStore
from tests.statsd_bridge.in_memory import NoBugs

Made = type[Pipeline]

RULES = """
defaults: {observer_type: histogram, histogram_options: {buckets: [1, 10]}}
mappings:
- {match: a.*, name: mapped_a, labels: {k: $1}}
- {match: drop.*, name: dropped, action: drop}
- {match: '^b(.*)$', match_type: regex, name: mapped_b, scale: -1}
"""
PIECES = st.lists(
    st.sampled_from(
        "a. b a.b drop.x c foo foo_sum :1 :2 :-1 :+3 :x |c |c |g |h |d |s |@0.5"
        " |@0.001 |#k:v |#__x:1 |#le:2 ,t=u [a=b] # \\xff \\n \\n \\r é".split()
    ),
    max_size=30,
).map(lambda pieces: "".join(pieces).encode())
RAW = PIECES.map(
    lambda raw: (
        raw.replace(rb"\n", b"\n").replace(rb"\r", b"\r").replace(rb"\xff", b"\xff")
    )
)
EVENTS = st.builds(
    "{}:{}|{}{}".format,
    st.sampled_from("a.x a.y b foo foo_sum foo_count foo_bucket drop.x c".split()),
    st.sampled_from("0 1 2 -1 +3 nan".split()),
    st.sampled_from("c g h s".split()),
    st.sampled_from(["", "", "|@0.5", "|#k:v", "|#le:1"]),
).map(str.encode)
# All numbers are whole, so that their sum does not depend on its order.
DATAGRAMS = st.lists(
    st.one_of(st.binary(max_size=40), RAW, EVENTS, EVENTS), max_size=40
)


def played(made: Made, batches: list[list[bytes]]) -> tuple[str, Stats, SeriesStore]:
    """Feed batches to a fresh path; gives its page."""
    stats, store = Stats(), SeriesStore(clock=lambda: 0.0, max_series=20)
    path = made(
        table=mapping.parse(RULES, "rules.yml"), store=store, stats=stats, bugs=NoBugs()
    )
    for batch in batches:
        path.feed(batch, "udp")
    path.flush()
    slices = exposition.text.render(store.families(), 0.0, NoBugs())
    return b"".join(slices).decode(), stats, store


@pytest.mark.parametrize("made", [Pipeline, FastPipeline])
@settings(deadline=None)
@given(DATAGRAMS)
def test_every_line_and_every_event_is_accounted_for(
    made: Made, datagrams: list[bytes]
) -> None:
    """What came in is the sum of what became of it, and the page is whole."""
    page, stats, store = played(made, [[each] for each in datagrams])
    lines = sum(each.count(b"\n") + 1 for each in datagrams)
    read = sum(len(family.samples) for family in text_string_to_metric_families(page))

    assert stats.packets["udp"] == len(datagrams)
    assert stats.lines == stats.lines_by_transport["udp"] == lines
    assert stats.tags <= stats.samples
    assert stats.bugs == 0
    events = stats.unmapped + stats.actions.total()
    refused = stats.conflicts.total() + stats.event_errors.total()
    refused += stats.series_refused.total()
    assert events == stats.events.total() + refused + stats.actions["drop"]
    assert len(store) <= 20
    assert read >= len(store)


@pytest.mark.parametrize("made", [Pipeline, FastPipeline])
@settings(deadline=None)
@given(DATAGRAMS, st.lists(st.integers(1, 9), min_size=1))
def test_batches_do_not_matter(
    made: Made, datagrams: list[bytes], sizes: list[int]
) -> None:
    """However datagrams are put together on their way in, the outcome is the same."""
    batches: list[list[bytes]] = []
    rest = datagrams
    for size in sizes * len(datagrams):
        if rest:
            batches.append(rest[:size])
            rest = rest[size:]
    one_by_one, first, _ = played(made, [[each] for each in datagrams])
    together, second, _ = played(made, batches)
    at_once, third, _ = played(made, [datagrams])

    assert one_by_one == together == at_once
    assert first == second == third
