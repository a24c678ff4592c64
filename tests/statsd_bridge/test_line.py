"""The grammar of statsd lines as tables: samples, errors and their reasons."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import line
from statsd_bridge.line import Dialect
from statsd_bridge.model import ParseError, ParseErrorReason, Sample, SampleType

C, G, T, S = SampleType.COUNTER, SampleType.GAUGE, SampleType.OBSERVER, SampleType.SET


def sample(sample_type: SampleType, name: str, value: float, **more: Any) -> Sample:
    """Return a sample; labels are a dict."""
    labels = tuple(sorted(more.pop("labels", {}).items()))
    return Sample(sample_type, name, value, labels, **more)


PARSED = [
    # Types and values.
    ("a:1|c", [sample(C, "a", 1)]),
    ("a:2.5|c\r", [sample(C, "a", 2.5)]),
    ("a:-1|c", [sample(C, "a", -1)]),
    ("a:5|g", [sample(G, "a", 5)]),
    ("a:-5|g|@0.1", [sample(G, "a", -5, relative=True)]),
    ("a:+3|g", [sample(G, "a", 3, relative=True)]),
    ("a:-0|g", [sample(G, "a", -0.0, relative=True)]),
    ("a:+inf|g", [sample(G, "a", float("inf"), relative=True)]),
    ("a:0x1p4|c", [sample(C, "a", 16)]),
    ("a:1_000|c", [sample(C, "a", 1000)]),
    ("a:320|ms", [sample(T, "a", 0.32)]),
    ("a:320|h", [sample(T, "a", 320)]),
    ("a:42|s", [sample(S, "a", 0, member="42")]),
    ("a:anna|s", [sample(S, "a", 0, member="anna")]),
    # Rates: a counter is divided by each, an observation repeated by the last.
    ("a:1|c|@0.1", [sample(C, "a", 10)]),
    ("a:1|c|@0.5|@0.5", [sample(C, "a", 4)]),
    ("a:1|c|@0", [sample(C, "a", 1)]),
    ("a:1|c|@2", [sample(C, "a", 0.5)]),
    ("a:1|c|@inf", [sample(C, "a", 0)]),
    ("a:1|c|@-1", [sample(C, "a", -1)]),
    ("a:4|g|@0.5", [sample(G, "a", 4)]),
    ("a:x|s|@0.5", [sample(S, "a", 0, member="x")]),
    ("a:3|d|@0.3", [sample(T, "a", 3, weight=3)]),
    ("a:3|ms|@0.000001", [sample(T, "a", 0.003, weight=1_000_000)]),
    ("a:3|ms|@2", []),
    ("a:3|ms|@-1", []),
    ("a:3|ms|@1e-30", []),
    ("a:3|ms|@nan", []),
    ("a:3|ms|@inf", []),
    ("a:3|ms|@0.5|@0.25", [sample(T, "a", 0.003, weight=4)]),
    # Several samples of a name; several values of a timer.
    ("a:1|g:2|g:+1|g", [sample(G, "a", 1), sample(G, "a", 2),
                        sample(G, "a", 1, relative=True)]),
    ("a:1|c|T1:2|g", [sample(C, "a", 1), sample(G, "a", 2)]),
    ("a:1|c|e:x:2|g", [sample(C, "a", 1), sample(G, "a", 2)]),
    ("a:1|c|card:low:2|g", [sample(C, "a", 1), sample(G, "a", 2)]),
    ("a:1:2|h|@0.5", [sample(T, "a", 1, weight=2), sample(T, "a", 2, weight=2)]),
    # DogStatsD tags.
    ("a:1|c|#", [sample(C, "a", 1)]),
    ("a:1|c|#k:v", [sample(C, "a", 1, labels={"k": "v"})]),
    ("a:1|c|#k:v,", [sample(C, "a", 1, labels={"k": "v"})]),
    ("a:1|c|##k:v,#l:w", [sample(C, "a", 1, labels={"k": "v", "l": "w"})]),
    ("a:1|c|#k:v|#l:w", [sample(C, "a", 1, labels={"k": "v", "l": "w"})]),
    ("a:1|c|#k:v,k:w", [sample(C, "a", 1, labels={"k": "w"})]),
    ("a:1|c|#url:http://x:80/p",
     [sample(C, "a", 1, labels={"url": "http://x:80/p"})]),
    ("a:1|c|#a.b:1,a-b:2,9x:3,ü:4",
     [sample(C, "a", 1, labels={"a_b": "2", "_9x": "3", "_": "4"})]),
    # InfluxDB, Librato and SignalFX tags.
    ("a,k=v,j=w:1|c", [sample(C, "a", 1, labels={"k": "v", "j": "w"})]),
    ("a#k=v#j=w:1|c", [sample(C, "a", 1, labels={"k": "v#j=w"})]),
    ("a[k=v]b:1|c", [sample(C, "ab", 1, labels={"k": "v"})]),
    ("a[k=v],j=w:1|c", [sample(C, "a,j=w", 1, labels={"k": "v"})]),
    ("a#k=v,#j=w:1|c", [sample(C, "a", 1, labels={"k": "v", "_j": "w"})]),
    ("a[k=v][j=w]:1|c", [sample(C, "a[j=w]", 1, labels={"k": "v"})]),
    ("a[k=v]x]y:1|c", [sample(C, "ax]y", 1, labels={"k": "v"})]),
    ("a#:1|c", [sample(C, "a", 1)]),
    ("a[]:1|c", [sample(C, "a", 1)]),
    (",k=v:1|c", [sample(C, "", 1, labels={"k": "v"})]),
    ("a,k=v:1:2|ms", [sample(T, "a", 0.001, labels={"k": "v"}),
                      sample(T, "a", 0.002, labels={"k": "v"})]),
    # Container ids and sections without effect.
    ("a:1|c|#k:v|c:abc",
     [sample(C, "a", 1, labels={"k": "v", "container_id": "abc"})]),
    ("a:1|c|c:abc", [sample(C, "a", 1, labels={"container_id": "abc"})]),
    ("a:1|c|@0.5|c:abc|T1656581400",
     [sample(C, "a", 2, labels={"container_id": "abc"})]),
    ("a:1|c|T1656581400|e:it-false|card:low", [sample(C, "a", 1)]),
    ("a:1|c|c:x:y|#k:v",
     [sample(C, "a", 1, labels={"k": "v", "container_id": "x:y"})]),
]  # fmt: skip

# Line, reasons of its errors, samples attempted, samples parsed.
ERRORS = [
    # The whole line.
    ("foo", ["malformed_line"], 0, 0),
    (":1|c", ["malformed_line"], 0, 0),
    ("foo:1", ["not_enough_parts_after_colon"], 0, 0),
    ("foo:", ["not_enough_parts_after_colon"], 0, 0),
    ("a,k=v:1|c|#d:e", ["mixed_tagging_styles"], 0, 0),
    ("a:1:2|c", ["invalid_extended_aggregate_type"], 0, 0),
    ("a:1:2|ms:3|ms", ["invalid_extended_aggregate_type"], 0, 0),
    # A sample.
    ("a:|c", ["malformed_value"], 1, 0),
    ("a:1|", ["illegal_event"], 1, 0),
    ("a:1|c|", ["malformed_component"], 1, 0),
    ("a:1|c||#k:v", ["malformed_component"], 1, 0),
    ("a:x|c", ["malformed_value"], 1, 0),
    ("a:1:x:3|h|#k:v", ["malformed_value"], 3, 2),
    ("a::1|h", ["malformed_value"], 2, 1),
    ("a:1|c|@", ["invalid_sample_factor"], 1, 1),
    ("a:5|g|@x", ["invalid_sample_factor"], 1, 1),
    ("a:1|c|@foo", ["invalid_sample_factor"], 1, 1),
    ("a:1|c|@1e999", ["invalid_sample_factor"], 1, 1),
    ("a:1|ms|@1e999", ["invalid_sample_factor"], 1, 0),
    ("a:1|ms|@0x1p9999", ["invalid_sample_factor"], 1, 0),
    ("a:1|c|garbage", ["invalid_sample_factor"], 1, 0),
    ("a:1|c|!", ["invalid_sample_factor"], 1, 0),
    ("a:1|c|#k:v|c:", ["malformed_container_id"], 1, 0),
    ("a:1|kv", ["illegal_event"], 1, 0),
    ("a:1|C", ["illegal_event"], 1, 0),
    # The value is checked before the type; empty sections before other sections.
    ("a:x|s:y|C", ["malformed_value"], 2, 1),
    ("a:x|c|", ["malformed_value"], 1, 0),
    ("a:1|c|@x|", ["malformed_component"], 1, 0),
    # Other samples of the line are kept.
    ("a:1|c:x|ms:3|g", ["malformed_value"], 3, 2),
    ("a:1|c:2", ["malformed_component"], 2, 1),
    ("a:1|c" + "|T1" * 7, ["malformed_component"], 1, 0),
]

TAG_ERRORS = [
    ("a:1|c|#,k:v", 1),
    ("a:1|c|#prod", 1),
    ("a:1|c|#k:,:v", 2),
    ("a:1|c|#k:v,", 0),
    ("a:1|c|#", 0),
    ("a[k=v:1|c", 1),
    ("foo]bar[:1|c", 1),
    ("a,k:1|c|#d:e", 1),
]


@pytest.mark.parametrize(("text", "samples"), PARSED)
def test_samples(text: str, samples: list[Sample]) -> None:
    """A line gives the samples of the table and no errors."""
    parsed = line.parse_line(text.encode())

    # How a value was divided is not in the table.
    assert [each._replace(divisor=1.0) for each in parsed.samples] == samples
    assert list(parsed.errors) == []


@pytest.mark.parametrize(("text", "reasons", "attempted", "samples"), ERRORS)
def test_errors(text: str, reasons: list[str], attempted: int, samples: int) -> None:
    """An error has its reason; valid samples of the same line are kept."""
    parsed = line.parse_line(text.encode())

    assert [error.reason for error in parsed.errors] == reasons
    assert (parsed.attempted, len(parsed.samples)) == (attempted, samples)


@pytest.mark.parametrize(("text", "errors"), TAG_ERRORS)
def test_a_malformed_tag_is_counted_and_left_out(text: str, errors: int) -> None:
    """The sample is kept without its malformed tags."""
    parsed = line.parse_line(text.encode())

    assert parsed.tag_errors == errors
    assert len(parsed.samples) == 1


def test_bytes_that_are_not_utf8_are_a_malformed_line() -> None:
    """A line must be UTF-8."""
    parsed = line.parse_line(b"a:1|c|#k:\xff")

    assert [error.reason for error in parsed.errors] == [
        ParseErrorReason.MALFORMED_LINE
    ]


def test_samples_of_one_line_do_not_share_labels() -> None:
    """The container id of one sample is not a label of the other."""
    parsed = line.parse_line(b"a:1|c|c:abc|T1:2|c")

    assert all(len(each.labels) <= 1 for each in parsed.samples)


def test_the_tags_of_a_name_are_not_multiplied_by_containers() -> None:
    """A second container id in a line is an error."""
    parsed = line.parse_line(b"a,k=v:1|c:2|c|c:x:3|c|c:x:4|c|c:y:5|c")

    assert [(each.value, dict(each.labels)) for each in parsed.samples] == [
        (1, {"k": "v"}),
        (2, {"k": "v", "container_id": "x"}),
        (3, {"k": "v", "container_id": "x"}),
        (5, {"k": "v"}),
    ]
    assert [each.reason for each in parsed.errors] == ["malformed_container_id"]
    assert parsed.attempted == 5


def test_details_of_many_errors_are_bounded() -> None:
    """Details of a thousand errors do not hold a thousand copies of long tags."""
    parsed = line.parse_line(b"a" + b":x" * 1_000 + b"|ms|#k:" + b"v" * 10_000)

    assert len(parsed.errors) == 1_000
    assert max(len(each.detail) for each in parsed.errors) < 1_100


@pytest.mark.parametrize(
    ("text", "message_type"),
    [("_e{5,4}:title|text|#k:v", "event"), ("_sc|name|0|#env:x", "service_check")],
)
def test_events_and_service_checks_are_recognised(text: str, message_type: str) -> None:
    """They are not errors, unless DogStatsD tags are disabled."""
    parsed = line.parse_line(text.encode())
    off = line.parse_line(text.encode(), Dialect(dogstatsd=False))

    assert (parsed.dogstatsd, list(parsed.errors)) == (message_type, [])
    assert off.dogstatsd == ""


@pytest.mark.parametrize(
    ("text", "dialect", "name"),
    [
        ("a#k=v:1|c", Dialect(librato=False), "a#k=v"),
        ("a,k=v:1|c", Dialect(influxdb=False), "a,k=v"),
        ("a[k=v]:1|c", Dialect(signalfx=False), "a[k=v]"),
        ("a:1|c|#k:v", Dialect(dogstatsd=False), "a"),
    ],
)
def test_a_disabled_tagging_style_is_ordinary_text(
    text: str, dialect: Dialect, name: str
) -> None:
    """The name keeps its characters and there are no labels."""
    (found,) = line.parse_line(text.encode(), dialect).samples

    assert (found.name, found.labels) == (name, ())


def test_an_empty_line() -> None:
    """An empty line has neither samples nor errors."""
    assert line.parse_line(b"") == line.parse_line(b"\r") == ((), (), 0, 0, 0, "")


ALPHABET = st.sampled_from(list("a1.:|@#,=[]c gmshTe+-_\r\xff"))
PIECES = st.lists(ALPHABET, max_size=40).map(
    lambda each: "".join(each).encode("latin-1")
)


@given(st.one_of(st.binary(), PIECES))
def test_any_bytes(raw: bytes) -> None:
    """No bytes raise, and samples and errors are well-formed."""
    parsed = line.parse_line(raw)

    for found in parsed.samples:
        names = [name for name, _ in found.labels]
        assert names == sorted(set(names))
        assert isinstance(found.value, float)
        assert found.weight > 0
    assert all(isinstance(error, ParseError) for error in parsed.errors)
    assert parsed.attempted >= len(parsed.samples)
