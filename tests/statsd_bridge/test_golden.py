"""
Golden tables: what a running statsd_exporter 0.30.0 shows, line by line.

    packets, sent one by one   ->   series of the page   and self-metrics

Where the bridge differs on purpose, the row has the reason.  Quantiles are estimates
and left out, and so are counters of lines and samples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from statsd_bridge.model import RejectionReason
from tests.statsd_bridge.in_memory import InMemoryPath

Numbers = dict[str, float]

NEGATIVE = 'events_error_total{reason="illegal_negative_counter"}'
VALUE = 'sample_errors_total{reason="malformed_value"}'
FACTOR = 'sample_errors_total{reason="invalid_sample_factor"}'
MIXED = 'sample_errors_total{reason="mixed_tagging_styles"}'
NAN = 'events_error_total{reason="nan"}'
EMPTY = 'events_error_total{reason="empty_metric_name"}'


def conflict(kind: str, name: str) -> str:
    """Return the counter of a name's conflicts."""
    return f'events_conflict_total{{metric_name="{name}",type="{kind}"}}'


NO_MAPPING: list[tuple[str, Numbers, Numbers]] = [
    ("c1:1|c · c1:2.5|c · c1:1|c|@0.1", {"c1": 13.5}, {}),
    ("c1:1|c|@foo", {"c1": 1}, {FACTOR: 1}),
    ("c1:1|c|@-0.5", {}, {NEGATIVE: 1}),
    ("c1:1|c|@2", {"c1": 0.5}, {}),
    ("c1:1|c|@inf", {"c1": 0}, {}),
    ("c1:1|c|@1e999", {"c1": 0}, {FACTOR: 1}),
    # statsd_exporter: the counter is NaN until a restart.
    ("c1:1|c · c1:1|c|@nan · c1:NaN|c", {"c1": 1}, {NAN: 2}),
    ("t1:1|h · t1:nan|h", {"t1_sum": math.nan, "t1_count": 2}, {}),
    (",a=b:-2|c · [a=b]:-2|c", {}, {NEGATIVE: 2}),
    ("c1:inf|c · c2:-inf|c", {"c1": math.inf}, {NEGATIVE: 1}),
    ("g1:5|g · g1:+3|g · g1:-10|g", {"g1": -2}, {}),
    ("g1:-5|g", {"g1": -5}, {}),
    ("g1:nan|g · g1:+1|g", {"g1": math.nan}, {}),
    ("g1:nan|g · g1:+1|g · g1:3|g · g1:-0|g", {"g1": 3}, {}),
    # The factor of a gauge is ignored.
    ("g1:5|g · g1:-5|g|@0.1", {"g1": 0}, {}),
    ("g1:5|g|@zz", {"g1": 5}, {FACTOR: 1}),
    ("a4:1|g:2|g:+1|g", {"a4": 3}, {}),
    (
        "t1:100|ms · t1:200|ms|@0.1 · t1:300|ms|@0.3",
        {"t1_sum": 3, "t1_count": 14},
        {'events_total{type="observer"}': 14},
    ),
    ("t1:300|ms|@2 · t1:300|ms|@-1 · t1:300|ms|@nan", {}, {}),
    ("a2:1:2|ms|@0.5", {"a2_sum": 0.006, "a2_count": 4}, {}),
    (
        "a2:1:x:3|h|#k:v",
        {'a2_sum{k="v"}': 4, 'a2_count{k="v"}': 2},
        {VALUE: 1, "samples_total": 3, "tags_total": 2},
    ),
    (
        "a3:1|c · a3:200|ms:5|c:1.5|g",
        {"a3": 6},
        {conflict("observer", "a3"): 1, conflict("gauge", "a3"): 1},
    ),
    ("a1:1|c|#a.b:1,a-b:2,9x:3,ü:4", {'a1{_="4",_9x="3",a_b="2"}': 1}, {}),
    ("a1:1|c|#url:http://x:80/p", {'a1{url="http://x:80/p"}': 1}, {}),
    ("a1:1|c|#,k:v", {'a1{k="v"}': 1}, {"tag_errors_total": 1}),
    ("a1:1|c|#k:v,", {'a1{k="v"}': 1}, {}),
    # statsd_exporter: nothing.  Here a container id works without tags.
    ("a1:1|c|c:abc", {'a1{container_id="abc"}': 1}, {"samples_total": 1}),
    ("a1:1|c|#k:v|c:abc", {'a1{container_id="abc",k="v"}': 1}, {}),
    ("a1:1|c|#k:v|c:abc|T1 · a1:2|c|T2|c:abc|e:it-no|#k:v|card:low · a1:4|c|#k:v|c:x",
     {'a1{container_id="abc",k="v"}': 3, 'a1{container_id="x",k="v"}': 4},
     {"samples_total": 3}),
    ("a1:1:2|h|c:abc", {f'a1_{end}{{container_id="abc"}}': n
                        for end, n in (("sum", 3), ("count", 2))}, {}),
    ("a1:1|c|#container_id:x|c:abc", {'a1{container_id="abc"}': 1}, {}),
    ("b1[k=v]suffix:1|c", {'b1suffix{k="v"}': 1}, {}),
    ("b1[k=v:1|c", {"b1_k_v": 1}, {"tag_errors_total": 1}),
    ("b1[k=v],j=w:1|c", {'b1_j_w{k="v"}': 1}, {}),
    ("b1[k=v][j=w]:1|c", {'b1_j_w_{k="v"}': 1}, {}),
    ("foo[a=b]x]y:1|c", {'foox_y{a="b"}': 1}, {}),
    (r"b1,k\,x=v:1|c", {'b1{x="v"}': 1}, {"tag_errors_total": 1}),
    ("b1,k=v:1|c|#d:e", {}, {MIXED: 1}),
    ("b1,k:1|c|#d:e", {'b1{d="e"}': 1}, {"tag_errors_total": 1}),
    # statsd_exporter: a conflict.  Here a gauge does not block what it does not print.
    ("foo:1|g · foo_count:1|c", {"foo": 1, "foo_count": 1}, {}),
    (
        "foo_bucket:1|c · foo:1|ms",
        {"foo_bucket": 1, "foo_sum": 0.001, "foo_count": 1},
        {},
    ),
    ("1a.b-c--d---e:1|c", {"_1a_b_c_d_e": 1}, {}),
    ("foo.bar:1|c · foo_bar:1|c", {"foo_bar": 2}, {}),
    ('a:1|c|#le:1 · b:1|g|#quantile:2 · c:1|c|#job:x',
     {'a{le="1"}': 1, 'b{quantile="2"}': 1, 'c{job="x"}': 1}, {}),
    ("a:1|c · a,k=v:1|c · a,j=v:1|c", {"a": 1, 'a{k="v"}': 1, 'a{j="v"}': 1}, {}),
]  # fmt: skip

GLOB = """
mappings:
- match: a.*.*
  name: x_${1}_y
  labels:
    one: $1
    both: $1-$2-$1
    suf: $1_x
    suf2: ${1}_x
    none: $3
"""
REGEX = "mappings: [{match: .+, match_type: regex, name: $0, labels: {nm: $0}}]"
ORDER = """
mappings:
- {match: a.*.c, name: first}
- {match: a.b.c, name: second}
- {match: a.b.*, name: third}
- {match: "*.*.*", name: fourth}
"""
CLASHING = """
mappings:
- {match: t.*, match_metric_type: counter, name: x, labels: {one: "1"}}
- {match: t.*, match_metric_type: gauge, name: y, labels: {two: "2"}}
"""
SCALE = """
mappings:
- {match: half, name: half, scale: 0.5}
- {match: turned, name: turned, scale: -1}
- {match: nothing, name: nothing, scale: 0}
- {match: unset, name: unset, scale: ~}
"""
MAPPED: list[tuple[str, str, Numbers, Numbers]] = [
    (
        GLOB,
        "a.foo.bar:1|c · a..bar:1|c",
        {
            'x_foo_y{both="foo-bar-foo",none="",one="foo",suf="",suf2="foo_x"}': 1,
            'x__y{both="-bar-",none="",one="",suf="",suf2="_x"}': 1,
        },
        {},
    ),
    # statsd_exporter 0.30.0: $0 is empty.
    (
        "mappings: [{match: a.*, name: x_$0, labels: {all: $0}}]",
        "a.b-c:1|c",
        {'x_a_b_c{all="a.b-c"}': 1},
        {},
    ),
    (REGEX, "my.stats-d:1|c", {'my_stats_d{nm="my.stats-d"}': 1}, {}),
    (
        ORDER,
        "a.b.c:1|c · a.b.d:1|c · x.y.z:1|c · a.b:1|c · a.b.c.d:1|c",
        {"first": 1, "third": 1, "fourth": 1, "a_b": 1, "a_b_c_d": 1},
        {"events_unmapped_total": 2, 'events_actions_total{action="map"}': 3},
    ),
    # statsd_exporter: y has the label of x, too.
    (CLASHING, "t.a:1|c:5|g", {'x{one="1"}': 1, 'y{two="2"}': 5}, {}),
    (
        SCALE,
        "half:0|g · half:+4|g · turned:-5|c · nothing:9|g · unset:2|c",
        {"half": 2, "turned": 5, "nothing": 0, "unset": 2},
        {},
    ),
    (
        "mappings: [{match: a.*, name: $1}]",
        "a.:1|c · a.:-1|c · a.:nan|c",
        {},
        {EMPTY: 3},
    ),
    (
        "mappings: [{match: a.*, name: $1, action: drop}]",
        "a.:1|c · a.b:1|h|@0.5",
        {},
        {'events_actions_total{action="drop"}': 3},
    ),
    # A mapped event counts as mapped even if it is rejected.
    (
        "mappings: [{match: a.*, name: aa}]",
        "a.b:1|c · a.c:1|g · a.d:-1|c",
        {"aa": 1},
        {
            'events_actions_total{action="map"}': 3,
            conflict("gauge", "aa"): 1,
            NEGATIVE: 1,
        },
    ),
]


def check(outcome: Any, series: Numbers, counters: Numbers) -> None:
    """Compare series and counters with the expected ones."""
    found = {k: v for k, v in outcome.series.items() if 'quantile="0.' not in k}
    assert found == pytest.approx(series, nan_ok=True)
    shown = outcome.self_metrics
    assert {name: shown.get(name) for name in counters} == counters
    failures = {name for name in shown if "error" in name or "conflict" in name}
    assert failures <= set(counters)


@pytest.mark.parametrize(("packets", "series", "counters"), NO_MAPPING)
def test_lines_without_a_mapping(
    play: Callable[..., Any], packets: str, series: Numbers, counters: Numbers
) -> None:
    """Series and errors are those of the table, and no others."""
    check(play([each.encode() for each in packets.split(" · ")]), series, counters)


@pytest.mark.parametrize(("rules", "packets", "series", "counters"), MAPPED)
def test_lines_with_a_mapping(
    play: Callable[..., Any],
    rules: str,
    packets: str,
    series: Numbers,
    counters: Numbers,
) -> None:
    """Series and errors are those of the table, and no others."""
    check(
        play([each.encode() for each in packets.split(" · ")], rules), series, counters
    )


def test_a_series_is_gone_after_its_ttl_and_its_name_is_free() -> None:
    """In statsd_exporter the name stays a counter's until a restart."""
    memory = InMemoryPath("defaults: {ttl: 1s}")
    memory.feed(b"foo:1|c")
    memory.pass_seconds(1.0)
    assert memory.values() == {"foo": 1}
    memory.pass_seconds(1.5)
    assert memory.values() == {}

    memory.feed(b"foo:5|g")
    assert memory.values() == {"foo": 5}
    assert not memory.stats.conflicts


def test_the_first_help_of_a_name_is_shown(play: Callable[..., Any]) -> None:
    """In statsd_exporter two help texts for one name break every scrape."""
    rules = (
        "mappings: [{match: a.*, name: x, help: 'First \"one\" \\'},"
        " {match: b.*, name: x, labels: {k: $1}, help: second}]"
    )
    outcome = play(["a.1:1|c", "b.1:1|c", "x:1|c"], rules)

    assert outcome.helps == {"x": 'First "one" \\\\'}
    assert outcome.series == {"x": 2, 'x{k="1"}': 1}


def test_reserved_labels_cost_one_sample(play: Callable[..., Any]) -> None:
    """In statsd_exporter the first two end the process, the others break scrapes."""
    packets = ["a:1|ms|#quantile:5", "b:1|c|#__a:b", "b:1|c|#..a:b", "ok:1|c"]
    outcome = play(packets)
    histogram = play(["a:1|h|#le:5", "ok:1|c"], "defaults: {observer_type: histogram}")

    reserved = f'events_error_total{{reason="{RejectionReason.RESERVED_LABEL}"}}'
    assert (outcome.series, outcome.self_metrics[reserved]) == ({"ok": 1}, 3)
    assert (histogram.series, histogram.self_metrics[reserved]) == ({"ok": 1}, 1)


def test_lines_that_break_a_page_of_statsd_exporter(play: Callable[..., Any]) -> None:
    """Empty names and names of self-metrics are rejected; the page is complete."""
    names = [",a=b", "#a=b", "[a=b]", "[]", "foo]bar["]
    outcome = play([f"{name}:1|c" for name in names])
    page = play(["statsd_exporter_lines_total:1|c", "process_open_fds:1|g", "ok:1|c"])

    assert outcome.series == {"foo_bar_": 1}
    assert outcome.self_metrics[EMPTY] == 4
    assert page.series == {"ok": 1}
    assert page.self_metrics[conflict("counter", "statsd_exporter_lines_total")] == 1
