"""Templates expand by the grammar of globs and by that of regexes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.mapping.template import parse_glob_template, parse_regex_template
from statsd_bridge.model import MAX_EXPANDED_LENGTH

# The template, with a glob a.*.* and with a regex of two groups, the second named "n".
# The name is "all", the captures are Z and Y.
EXPANDED = [
    ("", "", ""),
    ("plain", "plain", "plain"),
    ("$1", "Z", "Z"),
    ("${1}", "Z", "Z"),
    ("${1}_x", "Z_x", "Z_x"),
    ("$1_x", "", ""),
    ("$1x", "", ""),
    ("a$1x b", "a b", "a b"),
    ("$1-$2-$1", "Z-Y-Z", "Z-Y-Z"),
    ("$1.$1", "Z.Z", "Z.Z"),
    ("$1$1", "ZZ", "ZZ"),
    ("$1$2", "ZY", "ZY"),
    ("${1}${2}", "ZY", "ZY"),
    ("$0", "all", "all"),
    ("${0}", "all", "all"),
    ("$3", "", ""),
    ("${9}", "", ""),
    ("$99999999999999999999", "", ""),
    ("$n", "", "Y"),
    ("${n}", "", "Y"),
    ("$nope", "", ""),
    ("$$", "", "$"),
    ("$$$", "", "$$"),
    ("$$1", "", "$1"),
    ("a$$1-b", "a-b", "a$1-b"),
    ("$-", "$-", "$-"),
    ("${}", "${}", "${}"),
    ("${", "${", "${"),
    ("$", "$", "$"),
    ("a$", "a$", "a$"),
    ("$1$", "Z$", "Z$"),
    ("$ 1", "$ 1", "$ 1"),
    ("${1", "Z", "${1"),
    ("${1-", "Z-", "${1-"),
    ("$1}", "Z", "Z}"),
    ("$01", "Z", ""),
    ("${01}", "Z", ""),
    ("$00", "all", ""),
    ("$1é", "Zé", ""),
    ("$1½", "Z½", "Z½"),
    ("${1½}", "Z½}", "${1½}"),
    ("$\u0661", "$\u0661", ""),
    ("100%_$1", "100%_Z", "100%_Z"),
    ("%%-$1", "%%-Z", "%%-Z"),
    ("%s%d$1", "%s%dZ", "%s%dZ"),
    ("$1-$10", "Z-", "Z-"),
    ("*$1*", "*Z*", "*Z*"),
    ("\\1$1", "\\1Z", "\\1Z"),
]


@pytest.mark.parametrize(("source", "by_glob", "by_regex"), EXPANDED)
def test_a_template_expands_like_in_statsd_exporter(
    source: str, by_glob: str, by_regex: str
) -> None:
    """A template expands like in statsd_exporter, whose bugs are not repeated."""
    captures = ("all", "Z", "Y")

    assert parse_glob_template(source, 2).expand(captures) == by_glob
    assert parse_regex_template(source, 2, {"n": 2}).expand(captures) == by_regex


def test_a_capture_may_have_two_digits() -> None:
    """$10 is the tenth capture, not the first and a zero."""
    captures = tuple("0abcdefghijk")

    assert parse_glob_template("$1$10${11}", 11).expand(captures) == "ajk"
    assert parse_regex_template("$1$10${11}", 11, {}).expand(captures) == "ajk"


@pytest.mark.parametrize(
    ("source", "by_glob", "by_regex"),
    [
        ("$1 $2", (), ()),
        ("$3-$1_x", ("$3", "$1_x"), ("$3", "$1_x")),
        ("$0 $n", ("$n",), ()),
        ("$$", ("$$",), ()),
    ],
)
def test_tokens_without_a_capture_are_listed(
    source: str, by_glob: tuple[str, ...], by_regex: tuple[str, ...]
) -> None:
    """Tokens that refer to no capture are listed."""
    assert parse_glob_template(source, 2).always_empty == by_glob
    assert parse_regex_template(source, 2, {"n": 2}).always_empty == by_regex


def test_a_template_never_makes_more_than_a_datagram() -> None:
    """A template may have a million references, and a name 65,000 characters."""
    captures = ("a" * 65_000, "b" * 60_000)
    made = parse_glob_template("x${1}" * 100_000, 1).expand(captures)

    assert made.startswith("x" + "b" * 60_000 + "x")
    assert len(made) == MAX_EXPANDED_LENGTH
    assert parse_glob_template("x${1}", 1).expand(captures) == "x" + captures[1]


TEMPLATES = st.text(alphabet="${}01239ab_-%*é½\u0661", max_size=12)


@given(TEMPLATES, st.integers(0, 3))
def test_any_template_refers_only_to_existing_captures(
    source: str, captured: int
) -> None:
    """Any template expands and refers only to existing captures."""
    captures = ("all", *["x"] * captured)

    for template in (
        parse_glob_template(source, captured),
        parse_regex_template(source, captured, {"a": captured}),
    ):
        assert isinstance(template.expand(captures), str)


@given(st.text(max_size=5), st.text(max_size=5), st.text(alphabet="$1%*\\", max_size=5))
def test_a_captured_text_is_never_parsed(
    before: str, after: str, captured: str
) -> None:
    """A captured text is inserted as it is, never parsed as a template."""
    source = f"{before.replace('$', '')}${{1}}{after.replace('$', '')}"
    expected = f"{before.replace('$', '')}{captured}{after.replace('$', '')}"
    if after.replace("$", "").startswith("}"):
        return

    assert parse_glob_template(source, 1).expand(("", captured)) == expected
    assert parse_regex_template(source, 1, {}).expand(("", captured)) == expected
