"""The lines of a batch, split into columns."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.fastpath import split


@pytest.mark.parametrize(
    ("data", "rows", "empty"),
    [
        (b"a:1|c", [(b"a", b"1", b"c")], 0),
        (b"a:1|c\nb:2|ms", [(b"a", b"1", b"c"), (b"b", b"2", b"ms")], 0),
        (b"a:1|c|@0.1|#k:v", [(b"a", b"1", b"c|@0.1|#k:v")], 0),
        (b"a,k=v:1|c", [(b"a,k=v", b"1", b"c")], 0),
        (b"a:1:2|ms", [(b"a", b"1:2", b"ms")], 0),
        # The same number of delimiters, in another order or spread over lines.
        (b"a|1:c", [(b"a|1:c", b"", None)], 0),
        (b"a\n1\nc", [(b"a", b"", None), (b"1", b"", None), (b"c", b"", None)], 0),
        (b"a:1:2|c\nb|c", [(b"a", b"1:2", b"c"), (b"b|c", b"", None)], 0),
        (b"a:1", [(b"a:1", b"", None)], 0),
        (b"a:1|", [(b"a", b"1", b"")], 0),
        (b"a:|c", [(b"a", b"", b"c")], 0),
        (b":1|c", [(b"", b"1", b"c")], 0),
        (b"", [], 1),
        (b"\n\n", [], 3),
        (b"a:1|c\n", [(b"a", b"1", b"c")], 1),
        (b"\n\na:1|c\n\n\nbroken\n", [(b"a", b"1", b"c"), (b"broken", b"", None)], 5),
    ],
)
def test_lines_are_split(
    data: bytes, rows: list[tuple[bytes, bytes, bytes | None]], empty: int
) -> None:
    """At the first colon and the first bar after it; other lines stay whole."""
    found = split.split_lines(data)

    assert list(zip(found.names, found.values, found.suffixes, strict=True)) == rows
    assert found.empty == empty


LINES = st.lists(
    st.text(alphabet="ab:|1\r#", max_size=8).map(str.encode), min_size=1, max_size=8
)


@given(LINES)
def test_no_line_changes(lines: list[bytes]) -> None:
    """Joined again they are the same, whichever way they were split."""
    found = split.split_lines(b"\n".join(lines))

    assert [found.line(index) for index in range(len(found.names))] == [
        line for line in lines if line
    ]
    assert found.empty == lines.count(b"")


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (b"1", 1.0),
        (b"12.5", 12.5),
        (b".5", 0.5),
        (b"5.", 5.0),
        (b"1e-05", 1e-05),
        (b"1E3", 1000.0),
        (b"-3", -3.0),
        (b"+3", 3.0),
        (b"", None),
        (b".", None),
        (b"1.2.3", None),
        (b"1_0", None),
        (b" 1", None),
        (b"1\r", None),
        (b"inf", None),
        (b"nan", None),
        (b"0x1p3", None),
        (b"1e999", None),
        (b"1-5", None),
        (b"e", None),
        (b"\xd9\xa1", None),
    ],
)
def test_plain_numbers_are_parsed(value: bytes, number: float | None) -> None:
    """Digits, a point, an exponent; the plain path reads everything else."""
    assert split.parse_value(value) == number
    is_signed = value[:1] in (b"-", b"+")
    # In a column, beside others, and alone.
    for others in ([], [b"7"], [b"7", b"1e-5"]):
        read, odd = split.parse_values([*others, value])
        assert odd == ([len(others)] if number is None or is_signed else [])
        assert read[: len(others)] == [float(each) for each in others]
        assert odd or read[-1] == number


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_numbers_are_parsed_exactly(values: list[float]) -> None:
    """As Python writes them, like many clients."""
    read, odd = split.parse_values([repr(value).encode() for value in values])

    signed = [i for i, value in enumerate(values) if math.copysign(1, value) < 0]
    assert odd == signed
    assert all(read[i] == value for i, value in enumerate(values) if i not in odd)
