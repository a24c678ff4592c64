"""Explanations of lines as text and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import explain, mapping
from statsd_bridge.explain import Explanation, TrialStores, as_json, as_text
from statsd_bridge.line import DEFAULT_DIALECT, Dialect
from statsd_bridge.model import (
    MetricOptions,
    MetricType,
    RejectionReason,
    Sample,
    SampleType,
    SeriesSpec,
)
from statsd_bridge.relay import Rendezvous
from statsd_bridge.series import SeriesStore

RULES = r"""
defaults: {ttl: 1m}
mappings:
- match: app.req.*
  name: app_requests_total
  match_metric_type: counter
  labels: {code: $1}
- match: app.req.*
  name: app_request_seconds
  match_metric_type: observer
  observer_type: histogram
  histogram_options: {buckets: [0.1, 1]}
  labels: {code: $1}
- {match: app.secret, name: unused, action: drop}
- {match: 'lib\.(\w)(.+)', match_type: regex, name: lib, scale: 0.5, help: Half.}
- {match: app.req.500, name: never_total}
"""


def explained(line: str | bytes, dialect: Dialect = DEFAULT_DIALECT) -> Explanation:
    """Explain a line as if it came to a new bridge."""
    raw = line.encode() if isinstance(line, str) else line
    return explain.explain(raw, dialect, mapping.parse(RULES, "f"), new_stores())


def new_stores() -> TrialStores:
    """Return empty stores."""
    return TrialStores(SeriesStore(clock=lambda: 0.0))


# Line, the explanation below it.
TEXTS = {
    "app.req.200:12|ms|#a:b": """
sample    observer "app.req.200" = 0.012, tags {a="b"}
rule      mappings[1] (line 8) "app.req.*"
capture   $1 = "200"
near      mappings[0] (line 4) "app.req.*": is for another metric type
near      mappings[4] (line 16) "app.req.500": segment 3 is '200', not '500'
series    app_request_seconds{a="b",code="200"}
kept as   histogram, ttl 60 s, buckets 0.1 1
outcome   recorded
""",
    # The first rule of the file wins.
    "app.req.500:1|c|@0.1": """
sample    counter "app.req.500" = 10
rule      mappings[0] (line 4) "app.req.*"
capture   $1 = "500"
near      mappings[1] (line 8) "app.req.*": is for another metric type
near      mappings[4] (line 16) "app.req.500": mappings[0] goes first
series    app_requests_total{code="500"}
kept as   counter, ttl 60 s
outcome   recorded
""",
    "app.secret:1|c": """
sample    counter "app.secret" = 1
rule      mappings[2] (line 14) "app.secret"
dropped   by the rule
""",
    "lib.a.b:+4|g": """
sample    gauge "lib.a.b" = +4
rule      mappings[3] (line 15) "lib\\\\.(\\\\w)(.+)"
capture   $1 = "a"
capture   $2 = ".b"
series    lib
kept as   gauge, ttl 60 s, scale 0.5
outcome   recorded
""",
    "app.rex:1|c": """
sample    counter "app.rex" = 1
rule      none matches: the name is unmapped
near      mappings[2] (line 14) "app.secret": segment 2 is 'rex', not 'secret'
series    app_rex
kept as   counter, ttl 60 s
outcome   recorded
""",
    "app.req:1|h|@0.01": """
sample    observer "app.req" = 1, stands for 100
rule      none matches: the name is unmapped
near      mappings[0] (line 4) "app.req.*": has 3 segments, the name has 2
near      mappings[1] (line 8) "app.req.*": has 3 segments, the name has 2
near      mappings[2] (line 14) "app.secret": segment 2 is 'req', not 'secret'
near      mappings[4] (line 16) "app.req.500": has 3 segments, the name has 2
series    app_req
kept as   summary, ttl 60 s, quantiles 0.5 0.9 0.99
outcome   recorded
""",
    # Samples of one line can conflict with each other.
    "foo:1|c:1|g:-1|c:x|c": """
fault     malformed_value: "x|c"

sample    counter "foo" = 1
rule      none matches: the name is unmapped
series    foo
kept as   counter, ttl 60 s
outcome   recorded

sample    gauge "foo" = 1
rule      none matches: the name is unmapped
series    foo
kept as   gauge, ttl 60 s
outcome   refused, conflict: another type owns the name, or a name that it would print

sample    counter "foo" = -1
rule      none matches: the name is unmapped
series    foo
kept as   counter, ttl 60 s
outcome   refused, illegal_negative_counter: a counter must not fall
""",
    "foo:1|c|#__x:1": """
sample    counter "foo" = 1, tags {__x="1"}
rule      none matches: the name is unmapped
series    foo{__x="1"}
kept as   counter, ttl 60 s
outcome   refused, reserved_label: Prometheus reserves one of the labels
""",
    ",k=v:anna|s": """
sample    set "" = "anna", tags {k="v"}
rule      none matches: the name is unmapped
series    {k="v"}
kept as   set, ttl 60 s
outcome   refused, empty_metric_name: the metric name is empty
""",
    "foo": """fault     malformed_line: "foo"
""",
    "foo:1|c|@2|#bad,:x": """fault     tags that could not be parsed, left out: 2

sample    counter "foo" = 0.5
rule      none matches: the name is unmapped
series    foo
kept as   counter, ttl 60 s
outcome   recorded
""",
    "_e{5,4}:title|text": ("dropped   a DogStatsD event: Prometheus cannot store it\n"),
    "_sc|name|0": ("dropped   a DogStatsD service_check: Prometheus cannot store it\n"),
    "": "nothing   the line is empty\n",
}


@pytest.mark.parametrize("line", TEXTS)
def test_the_text_has_each_step(line: str) -> None:
    """The text has line, sample, rule, near misses, series and outcome."""
    head, _, rest = as_text(explained(line)).partition("\n")

    assert head == f'line      "{line}"'
    assert rest.strip("\n") == TEXTS[line].strip("\n")


def test_a_name_is_compared_with_a_bounded_number_of_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Near misses are among the first rules; the rule that matches may be any."""
    monkeypatch.setattr(explain, "MAX_COMPARED_RULES", 1)
    (sample,) = as_json(explained("app.req.200:1|ms"))["samples"]

    assert sample["rule"]["index"] == 1
    assert [near["index"] for near in sample["near"]] == [0]


def test_the_json_has_each_field() -> None:
    """The JSON has every field of a mapped sample."""
    assert as_json(explained("app.req.200:12|ms|@0.5|#a:b,bad")) == {
        "line": "app.req.200:12|ms|@0.5|#a:b,bad",
        "dogstatsd": None,
        "faults": [],
        "tag_errors": 1,
        "samples": [
            {
                "type": "observer",
                "name": "app.req.200",
                "value": 0.012,
                "relative": False,
                "weight": 2,
                "tags": {"a": "b"},
                "action": "map",
                "rule": {"index": 1, "line": 8, "match": "app.req.*"},
                "captures": ["200"],
                "near": [
                    {
                        "index": 0,
                        "line": 4,
                        "match": "app.req.*",
                        "why": "is for another metric type",
                    },
                    {
                        "index": 4,
                        "line": 16,
                        "match": "app.req.500",
                        "why": "segment 3 is '200', not '500'",
                    },
                ],
                "series": 'app_request_seconds{a="b",code="200"}',
                "kept_as": {
                    "shape": "histogram",
                    "help": "Metric autogenerated by statsd_exporter.",
                    "ttl_seconds": 60.0,
                    "buckets": [0.1, 1.0],
                },
                "refused": None,
                "why": None,
            }
        ],
        "samples_left_out": 0,
    }


# Line, path in the JSON, value.
PARTS: list[tuple[str, tuple[str | int, ...], object]] = [
    ("app.secret:1|c", ("samples", 0, "action"), "drop"),
    ("app.secret:1|c", ("samples", 0, "series"), None),
    ("app.secret:1|c", ("samples", 0, "kept_as"), None),
    ("foo:1|c", ("samples", 0, "action"), "unmapped"),
    ("foo:1|c", ("samples", 0, "rule"), {}),
    ("foo:-1|g", ("samples", 0, "relative"), True),
    ("foo:anna|s", ("samples", 0, "value"), "anna"),
    # JSON has no such numbers.
    ("foo:nan|g", ("samples", 0, "value"), "nan"),
    ("foo:inf|g", ("samples", 0, "value"), "inf"),
    ("lib.ab:1|c", ("samples", 0, "kept_as", "scale"), 0.5),
    ("lib.ab:1|c", ("samples", 0, "kept_as", "help"), "Half."),
    ("foo:1|h", ("samples", 0, "kept_as", "quantiles"), [0.5, 0.9, 0.99]),
    ("foo:-1|c", ("samples", 0, "refused"), "illegal_negative_counter"),
    ("foo:-1|c", ("samples", 0, "why"), "a counter must not fall"),
    ("foo:1|c:x|c", ("faults", 0), {"reason": "malformed_value", "text": "x|c"}),
    ("_sc|name|0", ("dogstatsd",), "service_check"),
    ("foo:" + ":".join(["1|c"] * 25), ("samples_left_out",), 5),
]


@pytest.mark.parametrize(("line", "path", "wanted"), PARTS)
def test_a_part_of_the_json(
    line: str, path: tuple[str | int, ...], wanted: object
) -> None:
    """A field has its value, and the whole is valid JSON."""
    part: Any = as_json(explained(line))
    json.dumps(part, allow_nan=False)
    for step in path:
        part = part[step]

    assert part == wanted


def test_text_from_senders_is_escaped() -> None:
    """No control character reaches a terminal."""
    text = as_text(explained(b"\x1b[31m\xe2\x80\xaered:1|c|#k:\x07\r\n:v,l:\x9b\xff"))
    colour = as_text(explained("\x1b[31m\u202ered\x85:1|c|#k:\x07v:x|c"))

    assert '"\\u001b[31m' in text
    assert all(line.isascii() and line.isprintable() for line in text.splitlines())
    assert all(line.isascii() and line.isprintable() for line in colour.splitlines())


@given(st.binary() | st.text(alphabet="a.1:|@#,=[]cgmsh\x1b\u202e", max_size=40))
def test_any_line_has_a_printable_explanation(line: str | bytes) -> None:
    """Any line has an explanation that is printable and valid JSON."""
    explanation = explained(line)
    rows = as_text(explanation).splitlines()

    assert all(row.isascii() and row.isprintable() for row in rows)
    json.dumps(as_json(explanation), allow_nan=False)


def test_a_disabled_tagging_style() -> None:
    """The dialect of the flags applies."""
    (sample,) = as_json(explained("a#k=v:1|c", Dialect(librato=False)))["samples"]

    assert (sample["tags"], sample["series"]) == ({}, "a_k_v")


def test_near_misses_are_bounded() -> None:
    """An explanation has at most MAX_NEAR_MISSES of a sample."""
    rules = "\n".join(f"- {{match: a.b{i}, name: x}}" for i in range(50))
    table = mapping.parse(f"mappings:\n{rules}", "f")
    explanation = explain.explain(b"a.c:1|c", DEFAULT_DIALECT, table, new_stores())

    assert as_text(explanation).count("\nnear ") == explain.MAX_NEAR_MISSES


def test_the_mapping_cache_is_unaffected() -> None:
    """Explanations neither fill the cache nor count as look-ups."""
    table = mapping.parse(RULES, "f")
    for line in TEXTS:
        explain.explain(line.encode(), DEFAULT_DIALECT, table, new_stores())

    assert table.cache == (0, 0, 0)


def test_a_running_bridge_has_conflicts_of_its_own() -> None:
    """The live store rejects what it would reject now, and records nothing."""
    live = SeriesStore(clock=lambda: 0.0)
    options = MetricOptions(MetricType.GAUGE, "h")
    live.record(SeriesSpec("foo", (), options), Sample(SampleType.GAUGE, "foo", 1))
    stores = TrialStores(SeriesStore(clock=lambda: 0.0), live)
    steps = explain.explain(
        b"foo:1|c:2|g", DEFAULT_DIALECT, mapping.parse("", ""), stores
    ).steps

    assert [step.rejected for step in steps] == [
        RejectionReason.CONFLICT,
        RejectionReason.CONFLICT,
    ]
    assert len(live) == 1


def test_a_sharding_bridge_names_the_target() -> None:
    """That of the metric name, in the text and in JSON; a dropped sample has none."""
    targets = Rendezvous(["a:1", "b:1", "c:1"])
    for line, metric in ((b"app.x.hits:1|c", "app_x_hits"), (b"new_count:1|c", "new")):
        table = mapping.parse("mappings: [{match: drop, name: d, action: drop}]", "f")
        explained = explain.explain(line, DEFAULT_DIALECT, table, new_stores(), targets)
        address = targets.target_of(metric)
        assert f"\ntarget    {address}\n" in explain.as_text(explained)
        assert explain.as_json(explained)["samples"][0]["target"] == address
    dropped = explain.explain(
        b"drop:1|c", DEFAULT_DIALECT, table, new_stores(), targets
    )
    assert "target" not in explain.as_text(dropped)
