"""Names, label values, numbers and durations are those of Go and Prometheus."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import syntax

NAMES = [
    ("foo", "foo"),
    ("foo.bar", "foo_bar"),
    ("a---b", "a_b"),
    ("x.-y", "x__y"),
    ("x-.-y", "x___y"),
    ("x..y", "x__y"),
    ("1a.b", "_1a_b"),
    ("1a.b-c--d---e", "_1a_b_c_d_e"),
    ("ü.x", "__x"),
    ("日本", "__"),
    ("with😱emoji", "with_emoji"),
    ("", ""),
]

NUMBERS = [
    ("1", 1.0),
    ("+1", 1.0),
    ("-1.5", -1.5),
    (".5", 0.5),
    ("5.", 5.0),
    ("1e3", 1000.0),
    ("1_000", 1000.0),
    ("1e1_0", 1e10),
    ("1_0.5_0", 10.5),
    ("inf", math.inf),
    ("-Infinity", -math.inf),
    ("0x1p4", 16.0),
    ("0X1P-2", 0.25),
    ("0x_1p4", 16.0),
    ("0x1_0p4", 256.0),
    ("1e-400", 0.0),
]

NO_NUMBERS = [
    *("", " 1", "1 ", "1e400", "1.8e308", "0x10", "0b11", "+nan", "-nan", "1__0"),
    *(
        "_1",
        "1_",
        "1_.5",
        "--5",
        "+-5",
        "1,5",
        "1\0",
        "\u0661",
        "9" * 400,
        "0x1p9999",
        "1\n",
    ),
]

DURATIONS: list[tuple[str, int | None]] = [
    ("1ns", 1),
    ("1us", 1000),
    ("1µs", 1000),
    ("1μs", 1000),
    ("1ms", 1_000_000),
    ("1s", 1_000_000_000),
    ("1m", 60_000_000_000),
    ("1h", 3_600_000_000_000),
    ("1h30m", 5_400_000_000_000),
    ("1m20s", 80_000_000_000),
    ("1.5h", 5_400_000_000_000),
    (".5s", 500_000_000),
    ("5.s", 5_000_000_000),
    ("1.9ns", 1),
    ("-1s", -1_000_000_000),
    ("+1s", 1_000_000_000),
    ("0", 0),
    ("-0", 0),
    ("10", None),
    ("", None),
    ("s", None),
    (".s", None),
    ("1d", None),
    ("1w", None),
    ("1 s", None),
    ("1s ", None),
    ("1S", None),
    ("1h 30m", None),
    ("--1s", None),
    ("1e3s", None),
    ("1_0s", None),
    ("\u0661s", None),
    ("9223372036s", 9223372036_000_000_000),
    ("9223372037s", None),
    ("1" * 101 + "s", None),
]

WHOLE_NUMBERS = [
    ("5", 5),
    ("-5", -5),
    ("8.388608e+06", 8388608),
    ("1.9", None),
    ("1_000", 1000),
    ("", None),
    ("0x10", None),
    ("inf", None),
    ("nan", None),
    ("1e400", None),
]

PRINTED = [
    (0.0001, "0.0001"),
    (0.00001, "1e-05"),
    (999999.5, "999999.5"),
    (999999.0, "999999"),
    (1000000.0, "1e+06"),
    (1234567.0, "1.234567e+06"),
    (123456789.0, "1.23456789e+08"),
    (12345678.9, "1.23456789e+07"),
    (0.000001, "1e-06"),
    (1e300, "1e+300"),
    (2**-24, "5.960464477539063e-08"),
    (100000.0, "100000"),
    (2.0999999999999996, "2.0999999999999996"),
    (-2.5, "-2.5"),
    (-0.0, "0"),
    (0.0, "0"),
    (7, "7"),
    (1_000_000, "1e+06"),
    (math.nan, "NaN"),
    (math.inf, "+Inf"),
    (-math.inf, "-Inf"),
]


@pytest.mark.parametrize(("name", "escaped"), NAMES)
def test_a_name_is_escaped_as_statsd_exporter_does(name: str, escaped: str) -> None:
    """Each character that is not allowed is one underscore, a run of dashes too."""
    assert syntax.escape_metric_name(name) == escaped


@given(st.text())
def test_an_escaped_name_is_legal_and_stays(name: str) -> None:
    """Any text becomes a legal name or stays empty; escaping again changes nothing."""
    escaped = syntax.escape_metric_name(name)

    assert re.fullmatch(r"([a-zA-Z_][a-zA-Z0-9_]*)?", escaped)
    assert syntax.escape_metric_name(escaped) == escaped


@pytest.mark.parametrize(("written", "value"), NUMBERS)
def test_a_number_is_read_as_go_reads_it(written: str, value: float) -> None:
    """Decimal, hexadecimal, with underscores, infinite: the value is the same."""
    assert syntax.parse_float(written) == value


def test_nan_is_a_number_without_a_sign() -> None:
    """`nan` in any case is read as NaN."""
    assert math.isnan(syntax.parse_float("NaN") or 0.0)


@pytest.mark.parametrize("written", NO_NUMBERS)
def test_text_that_go_refuses_is_no_number(written: str) -> None:
    """Spaces, overflow, bases without exponent and stray signs are no numbers."""
    assert syntax.parse_float(written) is None


@pytest.mark.parametrize(("written", "value"), WHOLE_NUMBERS)
def test_a_whole_number_is_read_as_kingpin_reads_it(
    written: str, value: int | None
) -> None:
    """As a float; a fraction, or more than 64 bits, is refused."""
    assert syntax.parse_whole_number(written) == value


@pytest.mark.parametrize(("written", "nanoseconds"), DURATIONS)
def test_a_duration_is_read_as_go_reads_it(
    written: str, nanoseconds: int | None
) -> None:
    """Parts add up; a unit is required except for zero."""
    assert syntax.parse_duration(written) == nanoseconds


@given(st.text(alphabet="0123456789.+-nsum\u00b5h\u0661 ", max_size=30))
def test_any_text_is_a_duration_or_none(written: str) -> None:
    """No text raises, and a duration fits into 64 bits."""
    assert abs(syntax.parse_duration(written) or 0) <= 1 << 63


@pytest.mark.parametrize(("value", "printed"), PRINTED)
def test_a_number_is_printed_as_statsd_exporter_does(
    value: float, printed: str
) -> None:
    """The exponent form starts below 1e-4 and at 1e6."""
    assert syntax.format_number(value) == printed


@given(st.floats())
def test_a_printed_number_reads_back_the_same(value: float) -> None:
    """A printed number has all its digits."""
    back = float(syntax.format_number(value))

    assert back == value or (math.isnan(back) and math.isnan(value))


def test_label_values_and_help_are_escaped() -> None:
    """Backslash and newline everywhere, quotes in label values only."""
    assert syntax.escape_label_value('a\\b\n"c"') == 'a\\\\b\\n\\"c\\"'
    assert syntax.escape_help('a\\b\n"c"') == 'a\\\\b\\n"c"'
