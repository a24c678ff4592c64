"""Rules that are suggested for names without one."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import mapping
from statsd_bridge.lint import lint
from statsd_bridge.model import Action, MetricType, SampleType
from statsd_bridge.segments import Kind, kind_of
from statsd_bridge.suggest import MAX_NAMES, as_yaml, by_name, suggest
from tests.statsd_bridge.in_memory import InMemoryPath

COUNTER, GAUGE = SampleType.COUNTER, SampleType.GAUGE
OBSERVER, SET = SampleType.OBSERVER, SampleType.SET

LINES = {COUNTER: "1|c", GAUGE: "1|g", OBSERVER: "1|ms", SET: "x|s"}

SEGMENTS = st.one_of(
    st.sampled_from(
        "shop fr de orders paid api web01 web02 10-0-0-1 404 7 user 123456 time size no"
        " p99 http2 total count le job instance quantile".split()
    ),
    st.sampled_from(["d8ab4f40-9c1e-4f60-8d3e-111111111111", "", "*", "a b", "$1"]),
    st.text(st.characters(blacklist_categories=["Cs"]), max_size=8),
)
NAMES = st.lists(SEGMENTS, min_size=1, max_size=5).map(".".join).filter(bool)


@pytest.mark.parametrize(
    ("names", "match", "metric", "labels"),
    [
        (["shop.fr.orders"], "shop.fr.orders", "shop_orders_total", None),
        (["a.fr.x", "a.de.x"], "a.*.x", "a_x_total", {"a": "$1"}),
        (["a.b.fr", "a.b.de", "a.b.uk"], "a.b.*", "a_b_total", {"b": "$1"}),
        (["users.123456.login"], "users.*.login", "users_login_total", {}),
        (["users.7.login"], "users.*.login", "users_login_total", {}),
        (["shards.7.hits"], "shards.*.hits", "shards_hits_total", {"shard": "$1"}),
        (["web01.hits"], "*.hits", "hits_total", {"host": "$1"}),
        (["api.GET.hits", "api.PUT.hits"], "api.*.hits", None, {"method": "$1"}),
        (["api.status.404"], "api.status.*", "api_status_total", {"code": "$1"}),
        (["jobs.alpha.x", "jobs.beta.x"], "jobs.*.x", None, {"job_name": "$1"}),
        (["a.b.hits_total"], "a.b.hits_total", "a_b_hits_total", {}),
        (["*"], r"^\*$", "metric_total", {}),
        (["GET /.x"], r"^GET \/\.x$", "GET_x_total", {}),
        (["9.x.y"], "*.x.y", "x_y_total", {"segment_1": "$1"}),
    ],
)
def test_rules(
    names: list[str], match: str, metric: str | None, labels: dict[str, str] | None
) -> None:
    """Names that are alike have one rule, whose labels are what varies."""
    (found,) = suggest([(name, COUNTER) for name in names])
    assert found.match == match
    assert labels is None or found.labels == labels
    assert metric is None or labels is None or found.metric == metric


def test_what_is_measured_stays_a_metric() -> None:
    """A last segment that says what is measured is no label."""
    names = [(f"app.web.{what}", GAUGE) for what in ("cpu", "memory", "disk")]
    assert [each.metric for each in suggest(names)] == [
        *("app_web_cpu", "app_web_memory", "app_web_disk")
    ]


def test_actions_of_users_are_no_ids() -> None:
    """Names are ids between other segments, and words at the end are not."""
    actions = [(f"app.users.{what}", COUNTER) for what in ("login", "logout", "signup")]
    assert len(suggest(actions)) == 3
    names = [(f"app.users.{who}.login", COUNTER) for who in ("alice", "bob", "user-7")]
    (found,) = suggest(names)
    assert (found.match, found.labels) == ("app.users.*.login", {})


def test_rules_are_for_the_type_of_the_samples() -> None:
    """A timing becomes a histogram in seconds; each type has a rule of its own."""
    names = [("api.call", type) for type in (COUNTER, GAUGE, OBSERVER)]
    rules = yaml.safe_load(as_yaml(suggest(names)))["mappings"]
    assert [
        (each["match_metric_type"], each["name"], each.get("observer_type"))
        for each in rules
    ] == [
        ("counter", "api_call_total", None),
        ("gauge", "api_call", None),
        ("observer", "api_call_seconds", "histogram"),
    ]


@pytest.mark.parametrize(
    ("segment", "kind"),
    [
        *[(each, Kind.WORD) for each in ("orders", "p99", "http2", "sha256", "utf8")],
        *[(each, Kind.WORD) for each in ("deadbeef", "error-rate", "GET", "s3")],
        *[(each, Kind.HOST) for each in ("web01", "db-master-12", "node3", "10-0-0-1")],
        ("ip-10-0-0-1", Kind.HOST),
        *[(each, Kind.NUMBER) for each in ("7", "2024", "000")],
        *[(each, Kind.CODE) for each in ("200", "503")],
        *[(each, Kind.ID) for each in ("12345", "user-98765", "a@b", "x" * 41)],
        *[(each, Kind.ID) for each in ("user7", "4f9a1c22", "shop-5d4f8c7b9d-x2x9k")],
        *[(each, Kind.TEXT) for each in ("", "a b", "*", "é", "-a")],
    ],
)
def test_kinds_of_segments(segment: str, kind: Kind) -> None:
    """An id is told from a number, a number from a host, a host from a word."""
    assert kind_of(segment) is kind


@given(st.lists(st.tuples(NAMES, st.sampled_from(SampleType)), max_size=30))
def test_each_rule_maps_its_names(names: list[tuple[str, SampleType]]) -> None:
    """By itself and among all others, without a warning and without a conflict."""
    found = suggest(names)
    assert by_name(found).keys() == {*names}
    for each in found:
        table = mapping.parse(f"mappings:\n{each.yaml}", "one.yml")
        assert not table.warnings
        assert all(table.look_up(type, name).rule for name, type in each.names)

    table = mapping.parse(as_yaml(found), "all.yml")
    kinds = {each.kind for each in lint(table, "all.yml").findings}
    assert kinds <= {"overlap", "no_ttl", "unreachable"}
    for name, type in names:
        match = table.look_up(type, name)
        assert match.action is Action.MAP
        assert match.untagged.options.type is not MetricType.SUMMARY
    memory = InMemoryPath(table)
    plain = [
        f"{name}:{LINES[type]}"
        for name, type in names
        # A set and a gauge have the same rules, but cannot have the same name.
        if type is not SET
        and name.isascii()
        and name.isprintable()
        and not {*name} & set(':|#,[]"')
    ]
    memory.feed(*map(str.encode, plain))
    memory.pipeline.flush()
    assert not memory.stats.conflicts
    assert not memory.stats.event_errors


def test_bounds() -> None:
    """Many names take one look each; a name that was cut has no rule."""
    many = [(f"a{number}.x", COUNTER) for number in range(2 * MAX_NAMES)]
    assert sum(len(each.names) for each in suggest(many)) == MAX_NAMES
    assert suggest([("x" * 256, COUNTER)]) == []
    deep = [(".".join(["a"] * 120 + [str(number)]), COUNTER) for number in range(20)]
    assert len(suggest(deep)) == 20
