"""Files of lines and of what each must become: their form, and what holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import expect, mapping
from statsd_bridge.errors import ConfigError
from statsd_bridge.expect import Failure, Report, as_json, as_text
from statsd_bridge.line import DEFAULT_DIALECT
from statsd_bridge.series import SeriesStore

DOCS = Path(__file__).parents[2] / "docs"
RULES = r"""
mappings:
- {match: app.req.*, name: app_requests_total, labels: {code: $1}}
- match: app.wait.*
  name: app_wait_seconds
  observer_type: histogram
  histogram_options: {buckets: [0.1, 1]}
- {match: app.secret.*, name: unused, action: drop}
- {match: app.empty.*, name: $2}
"""


def failures(text: str, rules: str = RULES) -> tuple[Failure, ...]:
    """Return the expectations of a file that do not hold."""
    table, store = mapping.parse(rules, "rules.yml"), SeriesStore(clock=lambda: 0.0)
    return expect.check(expect.parse(text, "f"), DEFAULT_DIALECT, table, store)


def output(text: str) -> str:
    """Return what a file prints."""
    expectations = expect.parse(text, "f")
    return as_text(Report(file="f", total=len(expectations), failures=failures(text)))


@pytest.mark.parametrize(
    "text",
    [
        'app.req.200:1|c => app_requests_total{code="200"} 1',
        '\tapp.req.200:3|c\t=>\tapp_requests_total{code="200"}\t3e+00 \r',
        'app.req.200:1|c => app_requests_total{ code = "200" , } 1 # a reason',
        # Labels in any order, values as on the page.
        'x:1|c|#a:1,b:2 => x{b="2",a="1"} 1',
        'x:1|c|#a:"q\\ => x{a="\\"q\\\\"} 1',
        'x:1|c|#a:c#d => x{a="c#d"} 1',
        'x:1|c|#a:y => z => x{a="y => z"} 1',
        "a => b:1|c => a____b 1",
        'x:1|c|#a:\x85 => x{a="\x85"} 1',
        "refused:7|g => refused 7",
        "refused:NaN|g => refused NaN",
        "x:-Inf|g => x -Inf",
        # In order, in one store.
        "x:0.1|c => x 0.1\nx:0.2|c => x 0.3\n\n# no line\nx:1|c|@0.5 => x 2.3",
        "app.wait.a:250|ms => app_wait_seconds_count 1\n"
        '=> app_wait_seconds_bucket{le="0.1"} 0\n'
        '  => app_wait_seconds_bucket{le="+Inf"} 1\n => app_wait_seconds_sum 0.25',
        "x:1|c:2|c:x|c => x 3\n=> refused malformed_value\n=> unmapped",
        "x:1" + ":1" * 50 + "|ms => x_count 51",
        "x:1|g => x 1\nx:+2|g => x 3\nx:a|s => refused conflict",
        "x:-1|c => refused illegal_negative_counter",
        "x:1|c => unmapped # no rule",
        "app.secret.a:1|c => dropped\t# on purpose",
        "app.empty.a:1|c => refused empty_metric_name",
        "_e{1,1}:a|b => dropped",
        "x:nan|c => refused nan",
        "x => refused",
    ],
)
def test_an_expectation_holds(text: str) -> None:
    """Rows of counters, gauges and histograms, dropped and refused lines."""
    assert output(text) == ""


@pytest.mark.parametrize(
    ("text", "came"),
    [
        ("x:1|c => x 2", "1: expected x 2, came x 1"),
        ("\n# two\nx:1|c => y 1", "3: expected y 1, came x 1; unmapped"),
        ('x:1|c => x{a="b"} 1', '1: expected x{a="b"} 1, came x 1; unmapped'),
        ("x:1|c => dropped", "1: expected dropped, came x 1; unmapped"),
        ("x:1|c => refused", "1: expected refused, came x 1; unmapped"),
        ("x:y|c => refused nan", "1: expected refused nan, came refused malformed_"),
        ("app.secret.a:1|c => unused 1", "1: expected unused 1, came dropped"),
        ("app.req.1:1|c => unmapped", "1: expected unmapped, came app_requests_total{"),
        (
            "app.wait.a:1|ms => app_wait_seconds_sum 1",
            "1: expected app_wait_seconds_sum 1, came app_wait_seconds_sum 0.001\n",
        ),
        (
            "app.wait.a:1|ms => y 1",
            '1: expected y 1, came app_wait_seconds_bucket{le="0.1"} 1;'
            ' app_wait_seconds_bucket{le="1"} 1;'
            ' app_wait_seconds_bucket{le="+Inf"} 1; app_wait_seconds_sum 0.001;'
            " app_wait_seconds_count 1\n",
        ),
        # Only rows of the line's own series.
        ("x:1|c => x 1\ny:1|c => x 1", "2: expected x 1, came y 1"),
        ("x:1|c => x 1\nx:y|c => x 1", "2: expected x 1, came refused malformed_value"),
        ("x:1|c|#a:\x1b[1m => y 1", '1: expected y 1, came x{a="\\x1b[1m"} 1'),
    ],
)
def test_a_failure_is_one_line(text: str, came: str) -> None:
    """It has file and line, what was expected and what came, without control codes."""
    printed = output(text)

    assert printed.startswith(f"f:{came}")
    assert printed.count("\n") == 1
    assert "\x1b" not in printed


def test_many_outcomes_are_shortened() -> None:
    """Text has their number; JSON too."""
    text = "x:1|ms|#a:b => y 1"
    rules = "defaults: {observer_type: histogram}"
    report = Report(file="f", total=1, failures=failures(text, rules))

    # 11 buckets, +Inf, sum, count and unmapped, without the 5 that are shown.
    assert as_text(report).endswith("; 10 more\n")
    (failure,) = json.loads(json.dumps(as_json(report)))["failures"]
    assert (failure["line"], failure["input"]) == (1, "x:1|ms|#a:b")
    assert (failure["expected"], failure["came_left_out"]) == ("y 1", 10)
    assert failure["came"][0] == 'x_bucket{a="b",le="0.005"} 1'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x:1|c", "f:1: 'x:1|c' has no expectation; write LINE => SERIES VALUE"),
        ("\n\nx:1|c=>x 1", "f:3: 'x:1|c=>x 1' has no expectation"),
        ("x:1|c =>", "f:1: '' is not an expectation; write LINE =>"),
        ("x:1|c => x", "f:1: 'x' is not an expectation; write LINE =>"),
        ("x:1|c => x y", "f:1: 'y' is not a number; write LINE =>"),
        ("x:1|c => x 1 2", "f:1: 'x 1 2' is not an expectation"),
        ("x:1|c => x{a} 1", "f:1: 'x{a} 1' is not an expectation"),
        ('x:1|c => x{a="b} 1', "f:1: 'x{a=\"b} 1' is not an expectation"),
        ("x:1|c => a.b 1", "f:1: 'a.b 1' is not an expectation"),
        ("x:1|c => dropped twice", "f:1: 'twice' is not a number"),
        ("x:1|c => refused never", "f:1: 'never' is not a reason; write one of conf"),
        ("", "f: has no expectation; write LINE => SERIES VALUE"),
        ("\n# x:1|c => x 1\n", "f: has no expectation"),
        ("# first\n => x 1", "f:2: there is no statsd line before the =>"),
        ("x" * 70_000, "f:1: the line has more than 65535 characters"),
    ],
)
def test_a_line_in_another_form_is_refused(text: str, error: str) -> None:
    """The error has file and line, and what would be right."""
    with pytest.raises(ConfigError) as caught:
        expect.parse(text, "f")

    assert str(caught.value).startswith(error)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "--expect: {}: cannot be read: No such file or directory"),
        (b"#" * (expect.MAX_FILE_BYTES + 1), "{}: has more than 1 MiB"),
    ],
)
def test_a_file_that_cannot_be_used(
    tmp_path: Path, content: bytes | None, error: str
) -> None:
    """It is missing or too large."""
    file = tmp_path / "f"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        expect.read(str(file))

    assert str(caught.value).startswith(error.format(file))


def test_bytes_that_are_not_utf_8_reach_the_bridge(tmp_path: Path) -> None:
    """A byte order mark is no part of the first line."""
    file = tmp_path / "f"
    file.write_bytes(b"\xef\xbb\xbfx\xff:1|c => x_ 1\n")

    (expectation,) = expect.read(str(file))
    assert expectation.line == b"x\xff:1|c"


NAMES = st.text("ab.=>#", min_size=1, max_size=6) | st.sampled_from(
    ["app.req.x", "app.wait.x", "app.secret.x", "_e{1,1}"]
)
TAGS = st.text('ab:,="\\#{} =>\t', max_size=12)
LINES = st.builds(
    "{}:{}|{}|#a:{}".format,
    NAMES,
    st.sampled_from(["1", "-1", "0.1", "x", "nan", "1:2:x", "+3"]),
    st.sampled_from(["c", "g", "ms", "h", "s", "z"]),
    TAGS,
).filter(lambda line: not line.startswith(("#", "=>")))


@given(st.lists(LINES, min_size=1, max_size=8))
def test_whatever_came_holds_as_the_expectation(lines: list[str]) -> None:
    """What a failure prints can be copied into the file."""
    never = "".join(f"{line} => never_there 1\n" for line in lines)
    came = [
        [each.text for each in failure.outcomes if "=>" not in each.text]
        for failure in failures(never)
    ]
    rows = [
        f"{line if not number else ''} => {text}\n"
        for line, outcomes in zip(lines, came, strict=True)
        for number, text in enumerate(outcomes or ["never_there 1"])
    ]

    failed = [each.line for each in failures("".join(rows))]
    nothing = [not outcomes for outcomes in came]
    assert len(failed) == sum(nothing)


@given(st.text() | st.text('a1:|c =>{}"\\#\n\t'))
def test_any_text_is_expectations_or_one_error(text: str) -> None:
    """No other exception, and none while the lines are processed."""
    try:
        expectations = expect.parse(text, "f")
    except ConfigError as error:
        assert str(error).startswith("f:")
        assert "\n" not in str(error)
        return
    numbers = [each.number for each in expectations]
    assert {each.expectation.number for each in failures(text)} <= set(numbers)


def test_the_example_of_the_documentation_holds() -> None:
    """The file in docs/examples, whose lines docs/mapping.md shows."""
    text = (DOCS / "examples" / "shop.expect").read_text()
    rules = (DOCS / "examples" / "shop.yml").read_text()
    page = (DOCS / "mapping.md").read_text()
    shown = page.partition("is a test of [examples/shop.yml]")[2].split("```")[1]

    assert failures(text, rules) == ()
    assert [row for row in shown.splitlines()[1:] if row not in text] == []


def test_the_failure_of_the_documentation_is_printed() -> None:
    """As text and as JSON."""
    text = (DOCS / "examples" / "shop.expect").read_text()
    rules = (DOCS / "examples" / "shop.yml").read_text()
    wrong = text.replace('state="paid"} 3', 'state="paid"} 2')
    report = Report(file="shop.expect", total=12, failures=failures(wrong, rules))
    page = (DOCS / "mapping.md").read_text()

    assert as_text(report) in page
    assert json.dumps(as_json(report)) in page
