"""What plain text in a mapping file means, and what a duration is."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.document.node import compose
from statsd_bridge.document.scalar import Value, is_null, nanoseconds, resolve, value

MEANINGS: list[tuple[str, Value]] = [
    ("", None),
    ("~", None),
    ("null", None),
    ("NULL", None),
    ("nULL", "nULL"),
    ("yes", True),
    ("on", True),
    ("y", True),
    ("True", True),
    ("tRUE", "tRUE"),
    ("no", False),
    ("OFF", False),
    ("N", False),
    ("0", 0),
    ("-0", 0),
    ("12", 12),
    ("+12", 12),
    ("-12", -12),
    ("1_000", 1000),
    ("1__0_", 10),
    ("0x1F", 31),
    ("-0x1f", -31),
    ("017", 15),
    ("0o17", 15),
    ("08", 8.0),
    ("0b101", 5),
    ("0b2", "0b2"),
    ("18446744073709551615", 18446744073709551615),
    ("18446744073709551616", 18446744073709551616.0),
    ("-9223372036854775808", -9223372036854775808),
    ("-9223372036854775809", -9223372036854775809.0),
    ("1e-6", 1e-6),
    ("1e3", 1000.0),
    ("1E+3", 1000.0),
    ("1.", 1.0),
    (".5", 0.5),
    ("-.5", -0.5),
    ("1_0.5", 10.5),
    ("._5", "._5"),
    (".5_0", ".5_0"),
    ("1e400", "1e400"),
    ("1e", "1e"),
    ("-", "-"),
    ("+", "+"),
    (".", "."),
    ("..", ".."),
    ("_1", "_1"),
    (".inf", math.inf),
    ("-.Inf", -math.inf),
    (".iNF", ".iNF"),
    ("inf", "inf"),
    ("nan", "nan"),
    ("1:30", "1:30"),
    ("2020-01-01", "2020-01-01"),
    ("1.2.3", "1.2.3"),
    ("\u0661", "\u0661"),
    ("10s", "10s"),
]


@pytest.mark.parametrize(("text", "expected"), MEANINGS)
def test_resolve(text: str, expected: Value) -> None:
    """Plain text means what Go's YAML library takes it for."""
    actual = resolve(text)

    assert (type(actual), actual) == (type(expected), expected)


def test_not_a_number() -> None:
    """Not a number is a number."""
    assert math.isnan(float(str(resolve(".NaN"))))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", 12),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("!!int '12'", 12),
        ("!!float 12", 12),
        ("!!bool 'yes'", True),
        ("!!null ~", None),
        ("!mine 12", "12"),
    ],
)
def test_value(text: str, expected: Value) -> None:
    """Quotes make text, a tag asks for a type."""
    node = compose(text, "f")

    assert node is not None
    assert value(node) == expected


@pytest.mark.parametrize("text", ["!!int x", "!!int 1.5", "!!bool 1", "!!null x"])
def test_tag_and_text_differ(text: str) -> None:
    """What is not of the type of its tag is an error."""
    node = compose(text, "f")

    assert node is not None
    with pytest.raises(ValueError, match="is tagged"):
        value(node)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("~", True), ("a:", False), ("''", False), ("!!null x", False), ("0", False)],
)
def test_is_null(text: str, expected: bool) -> None:
    """Only a bare null is nothing."""
    node = compose(text, "f")

    assert node is not None
    assert is_null(node) is expected


DURATIONS: list[tuple[Value, int | None]] = [
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
    (10, 10),
    (-10, -10),
    (1.9, 1),
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
    (1 << 63, None),
    (math.nan, None),
    (math.inf, None),
    (True, None),
    (None, None),
]


@pytest.mark.parametrize(("meant", "expected"), DURATIONS)
def test_nanoseconds(meant: Value, expected: int | None) -> None:
    """A duration is Go's; a bare number is nanoseconds."""
    assert nanoseconds(meant) == expected


@given(st.text(alphabet="0123456789.+-_eExob:nsumµhyYtrue~ \u0661", max_size=30))
def test_any_text(text: str) -> None:
    """Any text means something, and is a duration or is not."""
    nanoseconds(resolve(text))
    nanoseconds(text)


@given(st.floats(allow_nan=False))
def test_floats(number: float) -> None:
    """A float as YAML writes it is that float."""
    text = repr(number).replace("inf", ".inf")

    assert resolve(text) == number
