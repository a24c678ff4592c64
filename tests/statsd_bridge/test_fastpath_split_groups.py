"""The lines of a batch, grouped by name."""

from __future__ import annotations

import tracemalloc
from collections import defaultdict
from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from statsd_bridge.fastpath import split


@pytest.fixture(autouse=True)
def groups_of_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a single line be a group."""
    with monkeypatch.context() as patch:
        patch.setattr(split, "MIN_LINES_PER_GROUP", 1)
        yield


@pytest.mark.parametrize(
    ("data", "groups"),
    [
        (b"a:1|c", [(b"a", b"c", [1])]),
        (b"a:1|c\na:1|c", [(b"a", b"c", [1, 1])]),
        (b"a:1|c\nb:2.5|ms\na:3|c", [(b"a", b"c", [1, 3]), (b"b", b"ms", [2.5])]),
        (b"a:1|c\na:2|c\na:1|c", [(b"a", b"c", [1, 2, 1])]),
        (b"a:.5|g\na:5.|g", [(b"a", b"g", [0.5, 5])]),
        (b"a:1|ms|@0.1\na:12|ms|@0.1", [(b"a", b"ms|@0.1", [1, 12])]),
        (b"a,k=v:1|c\na:1|c", [(b"a,k=v", b"c", [1]), (b"a", b"c", [1])]),
        (b":1|c", [(b"", b"c", [1])]),
        (b"a:1|\na:2|", [(b"a", b"", [1, 2])]),
    ],
)
def test_simple_lines_are_grouped(
    data: bytes, groups: list[tuple[bytes, bytes, list[float]]]
) -> None:
    """Groups are in the order of their first lines, numbers in that of their lines."""
    found = split.group_lines(data)

    assert found is not None
    assert [(name, suffix, list(numbers)) for name, suffix, numbers in found] == groups


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"a",
        b"a:1",
        b"a:|c",
        b"a:.|c",
        b"a:1|c\n",
        b"a:1|c\n\na:1|c",
        b"a:1|c\na:2|g",
        b"a:-1|g\na:-2|g",
        b"a:-1|g",
        b"a:+1|g",
        b"a:1|g\na:+1|g\na:1|g",
        b"a:1e3|c",
        b"a:1_0|c",
        b"a: 1|c",
        b"a:inf|c",
        b"a:1|c\na:nan|c",
        b"a:1.2.3|c",
        b"a:%s|c" % (b"9" * 400),
        b"a:1|c\na:%s|c" % (b"9" * 400),
        b"a:1:2|c",
        b"a:1|c|#k:v",
        # The same digits, bars and letters, split elsewhere.
        b"a:1|ms|@0.1\na:12|ms|@0.2",
        b"a:1|ms|@0.1\na:1|ms|@.01",
        b"a:1|c1\na:2|c",
        b"a:|1c\na:2|c",
        # As many colons as newlines, but not by turns.
        b"a\n1|c:a:1|c",
        b"a:1|c:a\n1|c",
        b"a|1:c",
        b"a:b:1|c\nc",
        b"a\n12|c",
        b"a:1|c:b:1|c",
        b"a\nb:1|c:c",
    ],
)
def test_batches_that_are_not_uniform_are_not_grouped(data: bytes) -> None:
    """One line with more than a plain number, and nothing is grouped."""
    assert split.group_lines(data) is None


def test_small_groups_are_not_worth_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Groups must have MIN_LINES_PER_GROUP lines on average."""
    monkeypatch.setattr(split, "MIN_LINES_PER_GROUP", 3)

    assert split.group_lines(b"a:1|c\na:1|c\na:1|c\nb:1|c\nb:1|c") is None
    assert split.group_lines(b"a:1|c\na:1|c\na:1|c\na:1|c\nb:1|c\nb:1|c") is not None


def test_a_long_suffix_is_not_multiplied() -> None:
    """Grouping needs memory of a few times the input, whatever it is."""
    data = b"a:1|%s\n" % (b"x" * 60_000) + b"\n".join([b"a:1|c", b"a:2|c"] * 5_000)
    tracemalloc.start()
    try:
        found = split.group_lines(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert found is None
    assert peak < 20 * len(data)


WORDS = st.text(alphabet="ab1", max_size=2)
NUMBERS = st.text(alphabet="019.", max_size=3)
LINES = st.one_of(
    st.builds("{}:{}|{}".format, WORDS, NUMBERS, st.sampled_from(["c", "c1", "c|@.1"])),
    st.text(alphabet="a1.:|", max_size=6),
)


@given(st.lists(LINES, min_size=1, max_size=6).map("\n".join).map(str.encode))
@example(b"a:1|c\na:1|c1")
def test_groups_equal_columns(data: bytes) -> None:
    """Both ways to split lines find the same numbers."""
    groups = split.group_lines(data)
    if groups is None:
        return

    rows = split.split_lines(data)
    numbers, odd = split.parse_values(rows.values)
    expected: defaultdict[tuple[bytes, bytes | None], list[float]] = defaultdict(list)
    for name, suffix, number in zip(rows.names, rows.suffixes, numbers, strict=True):
        expected[name, suffix].append(number)
    assert not odd
    assert {(each.name, each.suffix): list(each.numbers) for each in groups} == expected
