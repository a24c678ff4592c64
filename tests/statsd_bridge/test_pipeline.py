"""The path: what each line changes, and what is counted."""

from __future__ import annotations

from statsd_bridge import exposition, mapping, pipeline
from statsd_bridge.mapping import MappingTable
from statsd_bridge.model import Stats
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.series import SeriesStore
from tests.statsd_bridge.in_memory import NoBugs, ReportedBugs

RULES = """
mappings:
- {match: app.hits.*, name: app_hits_total, labels: {route: $1}}
- {match: app.secret, name: unused, action: drop}
"""


def path(
    rules: str = RULES, *, max_series: int = 1000, sources: tuple[str, ...] = ()
) -> tuple[Pipeline, SeriesStore, Stats, ReportedBugs]:
    """Compose a path in memory."""
    failures = ReportedBugs()
    stats = Stats()
    store = SeriesStore(clock=lambda: 0.0, max_series=max_series)
    table = mapping.parse(rules, "rules.yml")
    made = Pipeline(
        table=table, store=store, stats=stats, bugs=failures, sources=sources
    )
    return made, store, stats, failures


def page(store: SeriesStore) -> str:
    """Print the series without HELP and TYPE."""
    text = b"".join(exposition.text.render(store.families(), 0.0, NoBugs())).decode()
    return "".join(
        line for line in text.splitlines(keepends=True) if not line.startswith("#")
    )


def test_a_name_becomes_a_series_with_labels() -> None:
    """A rule's labels and the tags meet in one series; what no rule takes is kept."""
    made, store, stats, _ = path()
    made.feed(
        [b"app.hits.login:3|c|#zone:eu\nother.thing:2|g", b"app.secret:1|c"], "udp"
    )

    assert page(store) == ('app_hits_total{route="login",zone="eu"} 3\nother_thing 2\n')
    assert (stats.lines, stats.samples, stats.tags) == (3, 3, 1)
    assert (stats.unmapped, dict(stats.actions)) == (1, {"map": 1, "drop": 1})
    assert dict(stats.events) == {"counter": 1, "gauge": 1}
    assert dict(stats.packets) == {"udp": 2}


def test_events_rise_by_the_observations_of_a_sampled_timer() -> None:
    """One line that stands for a thousand observations is one step of work."""
    made, store, stats, _ = path()
    made.feed([b"t:200|ms|@0.001"], "udp")

    assert stats.events["observer"] == 1000
    assert stats.unmapped == 1000
    assert "t_count 1000\n" in page(store)


def test_every_refusal_is_counted_under_its_reason() -> None:
    """Conflicts, the limit, negative counters and empty names are told apart."""
    made, store, stats, _ = path(max_series=1)
    made.feed([b"a:1|c\na:1|g\nb:1|c\na:-1|c\n,k=v:1|c\nbroken"], "udp")

    assert page(store) == "a 1\n"
    assert dict(stats.conflicts) == {("gauge", "a"): 1}
    assert dict(stats.series_refused) == {"b": 1}
    assert dict(stats.event_errors) == {
        "illegal_negative_counter": 1,
        "empty_metric_name": 1,
    }
    assert dict(stats.sample_errors) == {"malformed_line": 1}


def test_names_that_senders_choose_are_bounded_in_our_own_metrics() -> None:
    """Beyond the bound refused names are counted as `other`."""
    made, _, stats, _ = path(max_series=0)
    names = b"\n".join(b"n%d:1|c" % number for number in range(1500))
    made.feed([names, b"n" * 60_000 + b":1|c"], "udp")

    assert len(stats.series_refused) == pipeline.MOST_NAMES + 1
    assert stats.series_refused["other"] == 501
    assert stats.series_refused.total() == 1501
    assert max(map(len, stats.series_refused)) < 256


def test_lines_of_named_sources_are_counted_apart() -> None:
    """What a sender says it sent can be compared with what came."""
    made, _, stats, _ = path(sources=("app",))
    made.feed([b"app.hits.x:1|c\napplause:1|c\napp.broken"], "udp")

    assert dict(stats.lines_by_source) == {"app": 2}


def test_a_new_table_holds_from_the_next_batch() -> None:
    """Swapping the rules is one assignment; series stay."""
    made, store, _, _ = path()
    made.feed([b"app.hits.a:1|c"], "udp")
    made.table = mapping.parse("", "empty.yml")
    made.feed([b"app.hits.a:1|c"], "udp")

    assert page(store) == 'app_hits_a 1\napp_hits_total{route="a"} 1\n'


class Broken(MappingTable):
    """A table with a bug."""

    def __init__(self) -> None:
        """Take nothing."""

    def look_up(self, *_: object) -> object:  # type: ignore[override]
        """Fail."""
        raise RuntimeError("a bug")


def test_a_bug_costs_one_line_and_is_told() -> None:
    """The other lines of the batch go on."""
    made, store, stats, failures = path()
    good = made.table
    made.table = Broken()
    made.feed([b"a:1|c\nbroken"], "udp")
    made.table = good
    made.feed([b"b:1|c"], "udp")

    assert [str(failure) for failure in failures] == ["a bug"]
    assert (stats.lines, stats.sample_errors["malformed_line"]) == (3, 1)
    assert page(store) == "b 1\n"


def test_what_kills_statsd_exporter_is_one_refused_sample() -> None:
    """Each of these ends it, or every scrape of it; an innocent line goes on."""
    made, store, stats, failures = path()
    killers = [
        b"foo]bar[:1|c",
        b"foo:1|ms|#quantile:5",
        b",a=b:1|c",
        b"[a=b]:1|c",
        b"x:1|c|#__a:b",
        b"x:1|c|#..a:b",
        b"bar:1|ms",
        b"bar_count:1|ms",
        b"a:1|ms|@0.000000001",
    ]
    made.feed(killers, "udp")
    made.feed([b"innocent:1|c"], "udp")

    assert failures == []
    assert "innocent 1\n" in page(store)
    assert stats.event_errors == {"empty_metric_name": 2, "reserved_label": 3}
    assert "a_count 9.99999999e+08\n" in page(store)
