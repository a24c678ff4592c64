"""The quick path against the plain one: the same lines, the same results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import batch, exposition, grouping, mapping
from statsd_bridge.batch import FastPipeline
from statsd_bridge.model import Stats
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.series import SeriesStore, lanes
from tests.statsd_bridge.in_memory import ReportedBugs

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
- {match: app.brief, name: brief, ttl: 5s}
- {match: app.briefer, name: brief, ttl: 2s}
"""


TABLE = mapping.parse(RULES, "rules.yml")


class Path:
    """One path in memory, with a clock that the test moves."""

    def __init__(self, made: type[Pipeline], max_series: int = 1000) -> None:
        self.now = 1000.0
        self.failures = ReportedBugs()
        self.stats = Stats()
        self.store = SeriesStore(clock=lambda: self.now, max_series=max_series)
        self.relayed: list[bytes] = []
        self.path = made(
            table=TABLE,
            store=self.store,
            stats=self.stats,
            bugs=self.failures,
            sources=("app", "fresh"),
            relay=self,
        )

    def forward(self, lines: Sequence[bytes]) -> None:
        """Keep the lines that a relay would send."""
        self.relayed.extend(lines)

    def feed(self, *datagrams: bytes) -> None:
        """Take a batch."""
        self.path.feed(list(datagrams), "udp")

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass as the service does, which looks after series every second."""
        self.now += seconds
        self.path.flush()
        self.store.expire(self.now)

    def page(self) -> dict[str, float]:
        """Read every number of the page."""
        self.path.flush()
        slices = exposition.text.render(self.store.families(), self.now, self.failures)
        rows = b"".join(slices).decode().splitlines()
        pairs = [row.rpartition(" ") for row in rows if not row.startswith("#")]
        return {name: float(number) for name, _, number in pairs}


def same(first: dict[str, float], second: dict[str, float]) -> bool:
    """Compare two pages as sums may differ; no count is so large that one more may."""
    return first.keys() == second.keys() and all(
        math.isclose(value, second[name], rel_tol=1e-9, abs_tol=1e-12)
        or (math.isnan(value) and math.isnan(second[name]))
        for name, value in first.items()
    )


NAMES = [
    "app.hits.a",
    "app.hits.b",
    "other.hits.a",
    "app.secret",
    "app.scaled",
    "app.negated",
    "app.time.a",
    "app.time.b",
    "app.brief",
    "app",
    "hits",
    "hits,zone=eu",
    "hits[zone=eu]",
    "hits,bad",
    "depth",
    "depth_count",
    "na\u00efve",
    "",
    "_e{1,2}",
]
VALUES = [
    *("1", "2", "9", "29.5", "50", "0", "-3", "+4", "-0", "1e-3", "1e400", "007", ".5"),
    *("5.", "1_0", " 1", "inf", "nan", "0x1p3", "x", "", "1:2", "1.2.3", "-", "1|c:2"),
]
TAILS = [
    *("c", "g", "ms", "h", "s", "c|@0.1", "ms|@0.1", "ms|@0.3", "h|@0", "c|@x"),
    *("c|#zone:eu", "g|#zone:eu", "ms|#zone:eu,a:b", "c|#zone", "c|#quantile:1"),
    *("c\r", "c|c:abc", "g|T123", "c|", "x", "", "ms|@0.1|#a:b", "ms|#le:1"),
]

# Mostly lines that a lane takes, since those of the plain path are its own business.
LINES = st.one_of(
    st.builds(
        "{}:{}|{}".format,
        st.sampled_from(NAMES),
        st.sampled_from(VALUES),
        st.sampled_from(TAILS),
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
BATCHES = st.lists(
    st.one_of(st.lists(DATAGRAMS, max_size=8), st.sampled_from([0.5, 2.5])),
    max_size=12,
)


Bounds = dict[tuple[Any, str], int]

NORMAL: Bounds = {}
TIGHT: Bounds = {(lanes, "MOST"): 3, (batch, "ENOUGH"): 2, (batch, "PIECE"): 40}
"""Bounds that even a few lines reach."""
GROUPED: Bounds = {
    (batch, "GROUPED"): 0,
    (batch, "LONGEST_PAUSE"): 0,
    (grouping, "MEAN"): 1,
}
"""A few lines are grouped, too."""


@contextmanager
def bounded(bounds: Bounds) -> Iterator[None]:
    """Set bounds, and set them back."""
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), bound in bounds.items():
            patch.setattr(module, name, bound)
        yield


@given(
    BATCHES,
    st.sampled_from([3, 1000]),
    st.sampled_from([NORMAL, TIGHT, GROUPED, TIGHT | GROUPED]),
)
def test_both_paths_show_the_same(
    batches: Sequence[list[bytes] | float], max_series: int, bounds: Bounds
) -> None:
    """Pages, own counters, refusals and what is remembered of them, at every moment."""
    plain, quick = (Path(each, max_series) for each in (Pipeline, FastPipeline))
    with bounded(bounds):
        for each in batches:
            for path in (plain, quick):
                if isinstance(each, float):
                    path.pass_seconds(each)
                else:
                    path.feed(*each)
                    path.pass_seconds(0)
            assert same(quick.page(), plain.page())
            assert quick.stats == plain.stats
    assert quick.store.label_sets_total == plain.store.label_sets_total
    assert quick.relayed == plain.relayed
    assert dict(quick.path.unmapped_names.newest_first()) == dict(
        plain.path.unmapped_names.newest_first()
    )
    assert list(quick.path.rejected_lines.newest_first()) == list(
        plain.path.rejected_lines.newest_first()
    )
    assert quick.failures == plain.failures == []


@given(BATCHES)
def test_nothing_needs_to_settle_in_between(
    batches: Sequence[list[bytes] | float],
) -> None:
    """However many batches wait, the page shows them all."""
    plain, quick = Path(Pipeline), Path(FastPipeline)
    for each in batches:
        if not isinstance(each, float):
            plain.feed(*each)
            quick.feed(*each)

    assert same(quick.page(), plain.page())
    assert quick.stats == plain.stats


AGAIN = st.lists(
    st.one_of(
        st.builds(
            "{}:{}|{}".format,
            st.sampled_from(["app.hits.a", "other.hits.a", "hits", "app.secret"]),
            st.sampled_from(["1", "1", "2", "07"]),
            st.sampled_from(["c", "c|@0.1"]),
        ),
        st.builds("app.time.{}:{}|ms".format, st.sampled_from("ab"), st.integers(0)),
        st.builds("depth:{}|g".format, st.sampled_from(["1", "2.5", "3", "+1", "-2"])),
        st.sampled_from(["depth:4|g", "app.brief:1|g", "app.briefer:2|g", "", "hits"]),
    ),
    min_size=1,
    max_size=4,
)
"""What is said again and again: mostly what a group takes, and what it must not."""


@given(
    st.lists(st.tuples(AGAIN, st.integers(1, 4)), min_size=1, max_size=8),
    st.sampled_from(["", "\n", "\n\n"]),
)
def test_groups_show_the_same(batches: list[tuple[list[str], int]], end: str) -> None:
    """The same lines again and again, with others between, in groups or one by one."""
    plain, quick = Path(Pipeline), Path(FastPipeline)
    with bounded(GROUPED):
        for lines, times in batches:
            datagram = ("\n".join(lines * times) + end).encode()
            for path in (plain, quick):
                path.feed(datagram, datagram)
                path.feed(datagram)
            assert same(quick.page(), plain.page())
            assert quick.stats == plain.stats
    assert quick.failures == plain.failures == []


def test_tries_that_fail_become_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """One piece in sixteen is tried in vain, and the first good one ends that."""
    tries = 0

    def counted(data: bytes) -> list[grouping.Group] | None:
        nonlocal tries
        tries += 1
        return real(data)

    real = grouping.group
    monkeypatch.setattr(grouping, "group", counted)
    good = b"\n".join([b"hits:1|c"] * 1_000)
    bad = good + b"\nhits:0x1p1|c"
    path = Path(FastPipeline)
    for _ in range(160):
        path.feed(bad)
    in_vain, tries = tries, 0
    for _ in range(100):
        path.feed(good)

    assert 10 <= in_vain <= 15
    assert 84 <= tries <= 100


@pytest.mark.parametrize("made", [Pipeline, FastPipeline])
def test_what_touches_one_gauge_keeps_its_order(made: type[Pipeline]) -> None:
    """Values, differences, a spelling that has no lane: the last word wins."""
    path = Path(made)
    for _ in range(3):
        path.feed(b"g:1|g\ng:+2|g\ng:5|g\ng:-1|g\ng:+0x1p1|g\ng:3|g|#a:b\ng,a=b:4|g")

    assert path.page() == {"g": 6, 'g{a="b"}': 4}


@pytest.mark.parametrize("made", [Pipeline, FastPipeline])
def test_new_series_come_in_the_order_of_their_lines(made: type[Pipeline]) -> None:
    """The first type owns the name and the limit refuses the later one."""
    path = Path(made, max_series=2)
    path.feed(b"b:1|c\nb:1|c\nb:1|c")
    path.feed(b"b:1|c\na:1|g\na:1|c\nc:1|c\nb:1|c")

    assert path.page() == {"b": 5, "a": 1}
    assert dict(path.stats.conflicts) == {("counter", "a"): 1}
    assert dict(path.stats.series_refused) == {"c": 1}


def test_a_series_that_expired_comes_anew_in_its_turn() -> None:
    """Its lanes go with it, and its name is anybody's."""
    path = Path(FastPipeline)
    for _ in range(3):
        path.feed(b"app.brief:1|c")
    path.pass_seconds(6)
    assert path.page() == {}

    path.feed(b"app.brief:7|g\napp.brief:1|c")
    assert path.page() == {"brief": 7}
    assert dict(path.stats.conflicts) == {("counter", "brief"): 1}


@pytest.mark.parametrize("made", [Pipeline, FastPipeline])
def test_two_rules_may_give_a_series_two_times_to_live(made: type[Pipeline]) -> None:
    """Nothing is lost, in whichever order they come, and the last one holds."""
    path = Path(made)
    for _ in range(4):
        path.feed(b"app.brief:1|c\napp.briefer:1|c\napp.brief:1|c\napp.briefer:1|c")
    assert path.page() == {"brief": 16}

    path.feed(b"app.brief:1|c")
    path.pass_seconds(4)
    assert path.page() == {"brief": 17}
    path.feed(b"app.briefer:1|c")
    path.pass_seconds(4)
    assert path.page() == {}


def test_what_waits_keeps_a_series_alive() -> None:
    """A number in a lane refreshes its series before anything expires."""
    path = Path(FastPipeline)
    for _ in range(4):
        path.feed(b"app.brief:1|c")
        path.pass_seconds(4)

    assert path.page() == {"brief": 4}


def test_a_reload_holds_from_the_next_batch() -> None:
    """What came before it goes where the old rules said."""
    path = Path(FastPipeline)
    for _ in range(3):
        path.feed(b"app.hits.a:1|c")
    path.path.table = mapping.parse("", "empty.yml")
    path.feed(b"app.hits.a:1|c")

    assert path.page() == {'app_hits_total{route="a"}': 3, "app_hits_a": 1}


def test_lines_that_a_lane_takes_do_not_reach_the_plain_path() -> None:
    """Third and later ones are cheap, in batches of one kind and mixed ones."""
    path = Path(FastPipeline)
    plain: list[bytes] = []
    line = path.path._line

    def noted(text: bytes) -> object:
        plain.append(text)
        return line(text)

    path.path._line = noted  # type: ignore[method-assign, assignment]
    packet = b"hits:1|c\ndepth:3|g\nwork:5|ms|@0.1\ntagged:1|c|#a:b\napp.secret:1|c"
    for _ in range(5):
        path.feed(packet)
        path.feed(packet + b"\n")

    # The rules drop the last one, so its lane need not wait for a series.
    assert len(plain) == 2 * 4 + 1


class Buggy(FastPipeline):
    """A path with a bug in one line."""

    def _line(self, text: bytes) -> object:  # type: ignore[override]
        if text == b"bug:1|c":
            raise RuntimeError("a bug")
        return super()._line(text)


def test_a_bug_costs_one_line_and_is_told() -> None:
    """The other lines of the batch go on."""
    path = Path(Buggy)
    path.feed(b"a:1|c\nbug:1|c\nb:1|c")

    assert [str(failure) for failure in path.failures] == ["a bug"]
    assert path.page() == {"a": 1, "b": 1}


def test_a_bug_in_taking_a_batch_apart_costs_no_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plain path takes the lines."""

    def broken(_: bytes) -> object:
        raise RuntimeError("a bug")

    path = Path(FastPipeline)
    monkeypatch.setattr("statsd_bridge.columns.cut", broken)
    path.feed(b"a:1|c\nb:1|c", b"c:1|c\n")

    assert [str(failure) for failure in path.failures] == ["a bug"]
    assert path.page() == {"a": 1, "b": 1, "c": 1}


def test_a_bug_in_folding_costs_one_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others are folded, and it is told."""

    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    path = Path(FastPipeline)
    for _ in range(2):
        path.feed(b"app.time.a:1|ms\nhits:1|c")
    monkeypatch.setattr("statsd_bridge.series.histogram.Histogram.observe_all", broken)
    path.feed(b"app.time.a:1|ms\nhits:1|c")

    assert path.page()["hits"] == 3
    assert [str(failure) for failure in path.failures] == ["a bug"]
