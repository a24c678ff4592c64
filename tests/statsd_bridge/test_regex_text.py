"""Groups of regular expressions, and names that they match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.mapping.regex import Pattern
from statsd_bridge.regex_text import examples, groups


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (r"^api\.(\w+)\.(\d{3})$", ["api.q.777"]),
        (r"a.(.*).b", ["a.q.b", "a.q.q.b"]),
        (r"(?:x|yz)+b?c*", ["yzc"]),
        (r"(?i)a[^.]+[xyz]\-", ["aqx-"]),
        (r"a\n", []),
        (r"\pL", []),
        ("[[:alpha:]]", []),
        ("a{999}b{999}", ["a" * 999 + "b" * 999]),
        ("(abc){999}", []),
    ],
)
def test_examples(pattern: str, names: list[str]) -> None:
    """They are usual names; what is not known has none."""
    assert examples(pattern) == names


PARTS = ("a", ".", r"\.", r"\d", r"\w", r"\S", "[^.]", "[0-9a-f]", "(x)", "(?:x|yz)")


@given(st.lists(st.tuples(st.sampled_from(PARTS), st.sampled_from(["", *"*+?"]))))
def test_an_example_matches(parts: list[tuple[str, str]]) -> None:
    """Each example of a pattern of known parts is matched by it as a whole."""
    pattern = "".join(map("".join, parts))

    for name in examples(pattern):
        assert Pattern(f"^(?:{pattern})$").search(name) is not None


@given(st.text("()[]\\?:P<n>.|*+{1}^$", max_size=30))
def test_any_text_is_read(pattern: str) -> None:
    """Groups are those of the library, whatever a valid pattern looks like."""
    found = groups(pattern)
    examples(pattern)
    try:
        compiled = Pattern(pattern)
    except ValueError:
        return
    assert len(found) == compiled.groups


def test_groups() -> None:
    """They are in the order of their numbers, without those that do not capture."""
    found = groups(r"(a(?P<b>\)b))(?:c)([)(]+)")

    assert [(each.start, each.text) for each in found] == [
        *((0, r"a(?P<b>\)b)"), (2, r"\)b"), (18, "[)(]+"))
    ]
