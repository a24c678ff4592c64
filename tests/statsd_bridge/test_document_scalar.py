"""The value of scalars."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.document.scalar import Value, is_null, resolve, value
from statsd_bridge.document.tree import compose

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
def test_a_plain_scalar_has_the_type_that_go_gives_it(
    text: str, expected: Value
) -> None:
    """A plain scalar has the type and value that Go's YAML library gives it."""
    actual = resolve(text)

    assert (type(actual), actual) == (type(expected), expected)


def test_nan_is_a_number() -> None:
    """NaN is a number."""
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
def test_quotes_and_tags_set_the_type(text: str, expected: Value) -> None:
    """A quoted scalar is text, a tag sets the type."""
    node = compose(text, "f")

    assert node is not None
    assert value(node) == expected


@pytest.mark.parametrize("text", ["!!int x", "!!int 1.5", "!!bool 1", "!!null x"])
def test_a_scalar_that_does_not_fit_its_tag_is_an_error(text: str) -> None:
    """A scalar that does not fit its tag is an error."""
    node = compose(text, "f")

    assert node is not None
    with pytest.raises(ValueError, match="is tagged"):
        value(node)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("~", True), ("a:", False), ("''", False), ("!!null x", False), ("0", False)],
)
def test_only_a_plain_null_is_null(text: str, expected: bool) -> None:
    """Only a plain null is null."""
    node = compose(text, "f")

    assert node is not None
    assert is_null(node) is expected


@given(st.text(alphabet="0123456789.+-_eExob:nsumµhyYtrue~ \u0661", max_size=30))
def test_any_text_has_a_value(text: str) -> None:
    """Any text has a value and resolving it does not raise."""
    assert isinstance(resolve(text), Value)


@given(st.floats(allow_nan=False))
def test_a_printed_float_reads_back_the_same(number: float) -> None:
    """A float printed as YAML reads back the same."""
    text = repr(number).replace("inf", ".inf")

    assert resolve(text) == number
