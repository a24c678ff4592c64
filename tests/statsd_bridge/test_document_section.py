"""Keys are read with their types; errors name place and problem."""

from __future__ import annotations

import math
from collections.abc import Callable
from operator import methodcaller

import pytest

from statsd_bridge.document.diagnostics import Diagnostics
from statsd_bridge.document.section import Section, non_null
from statsd_bridge.document.tree import compose
from statsd_bridge.errors import ConfigError


def section_of(text: str, *, strict: bool = False) -> tuple[Section, Diagnostics]:
    """Read text as a section."""
    diagnostics = Diagnostics("f", strict=strict)
    return Section(diagnostics, "", non_null(compose(text, "f"))), diagnostics


Read = Callable[[Section], object]


def paths(section: Section) -> object:
    """Read the key k as sections and list their paths."""
    found = section.sections("k")
    return found and [each.path for each in found]


text = methodcaller("text", "k")
boolean = methodcaller("boolean", "k")
number = methodcaller("number", "k")
count = methodcaller("count", "k")
duration = methodcaller("nanoseconds", "k")
choice = methodcaller("choice", "k", {"one": 1, "two": 2, "": 3})
numbers = methodcaller("numbers", "k")
text_map = methodcaller("text_map", "k")

READ: list[tuple[Read, str, object]] = [
    (text, "", ""),
    (text, "k:", ""),
    (text, "k: Null", ""),
    (text, "k: 0x10", "0x10"),
    (text, "k: 007", "007"),
    (text, "k: 1.50", "1.50"),
    (text, "k: yes", "yes"),
    (text, "k: ' a\\n'", " a\\n"),
    (text, "k: !!int 5", "5"),
    (boolean, "", False),
    (boolean, "k:", False),
    (boolean, "k: on", True),
    (boolean, "k: FALSE", False),
    (number, "", None),
    (number, "k:", None),
    (number, "k: 0", 0.0),
    (number, "k: 1e-6", 1e-6),
    (number, "k: 0x10", 16.0),
    (number, "k: -.inf", -math.inf),
    (count, "", 0),
    (count, "k: 5", 5),
    (count, "k: 5.9", 5),
    (count, "k: -0.5", 0),
    (count, "k: 4294967295", 4294967295),
    (duration, "", 0),
    (duration, "k: 90s", 90_000_000_000),
    (duration, "k: '90s'", 90_000_000_000),
    (duration, "k: 90", 90),
    (duration, "k: 0", 0),
    (duration, "k: -0", 0),
    (duration, "k: 1.9", 1),
    (choice, "", None),
    (choice, "k:", None),
    (choice, "k: two", 2),
    (choice, "k: ''", 3),
    (numbers, "", None),
    (numbers, "k:", None),
    (numbers, "k: []", ()),
    (numbers, "k: [1, 2.5, .inf]", (1.0, 2.5, math.inf)),
    (numbers, "k: [~, 1]", (0.0, 1.0)),
    (text_map, "", {}),
    (text_map, "k:", {}),
    (text_map, "k: {a: b, on: 1}", {"a": "b", "on": "1"}),
    (text_map, "k: {a: ~}", {"a": ""}),
    (paths, "", None),
    (paths, "k: []", []),
    (paths, "k: [{}, ~]", ["k[0]", "k[1]"]),
]


@pytest.mark.parametrize(("read", "source", "expected"), READ)
def test_a_key_is_read_as_the_type_asked_for(
    read: Read, source: str, expected: object
) -> None:
    """A key is read as the type asked for; missing and null are the same."""
    assert read(section_of(source)[0]) == expected


REFUSED: list[tuple[Read, str, str]] = [
    (text, "k: []", "k: a list is not text (line 1)"),
    (text, "k: {a: b}", "k: a mapping is not text (line 1)"),
    (text, "k: !!int a", "k: 'a' is tagged int but is not one (line 1)"),
    (boolean, "k: 1", "k: '1' is not true or false (line 1)"),
    (boolean, "k: 'on'", "k: 'on' is not true or false; take off the quotes (line 1)"),
    (number, "k: one", "k: 'one' is not a number, such as 0.25 (line 1)"),
    (number, "k: yes", "k: 'yes' is not a number, such as 0.25 (line 1)"),
    (count, "k: -1", "k: '-1' is not a whole number from 0 to 4294967295 (line 1)"),
    (count, "k: .nan", "k: '.nan' is not a whole number from 0 to 4294967295 (line 1)"),
    (duration, "k: 7d", "k: '7d' is not a duration, such as 90s or 1h30m (line 1)"),
    (duration, "k: .nan", "k: '.nan' is not a duration, such as 90s or 1h30m (line 1)"),
    (duration, "k: .inf", "k: '.inf' is not a duration, such as 90s or 1h30m (line 1)"),
    (duration, "k: yes", "k: 'yes' is not a duration, such as 90s or 1h30m (line 1)"),
    (
        duration,
        f"k: {1 << 63}",
        f"k: '{1 << 63}' is not a duration, such as 90s or 1h30m (line 1)",
    ),
    (duration, "k: -10", "k: a duration must not be negative (line 1)"),
    (duration, "k: -1s", "k: a duration must not be negative (line 1)"),
    (choice, "k: three", "k: 'three' is not one or two (line 1)"),
    (numbers, "k: 1", "k: '1' is not a list (line 1)"),
    (numbers, "k:\n- 1\n- x", "k[1]: 'x' is not a number, such as 0.25 (line 3)"),
    (text_map, "k: a", "k: 'a' is not a mapping of keys to values (line 1)"),
    (text_map, "k:\n  a: []", "k.a: a list is not text (line 2)"),
    (paths, "k: {}", "k: a mapping is not a list (line 1)"),
    (paths, "k: [a]", "k[0]: 'a' is not a mapping of keys to values (line 1)"),
    (text, "[k]", "a list is not a mapping of keys to values (line 1)"),
    (text, "? [a]\n: b", "a list is not text (line 1)"),
    (text, "<<: 5", "'5' is not a mapping of keys to values (line 1)"),
    (text, "<<: [5]", "'5' is not a mapping of keys to values (line 1)"),
    (text_map, 'k: {"a\\nb": []}', "k.'a\\nb': a list is not text (line 1)"),
]


@pytest.mark.parametrize(("read", "source", "message"), REFUSED)
def test_a_value_of_another_type_is_refused(
    read: Read, source: str, message: str
) -> None:
    """A value of another type is refused with its path and line."""
    with pytest.raises(ConfigError) as caught:
        read(section_of(source)[0])

    assert str(caught.value) == f"f: {message}"


MERGED = [
    ("k: a\nk: b", "b"),
    ("k: a\nk:", ""),
    ("<<: {k: a}\nk: b", "b"),
    ("k: b\n<<: {k: a}", "a"),
    ("<<: [{k: a}, {k: b}]", "a"),
    ("<<: {<<: {k: a}}", "a"),
    ("!!merge '<<': {k: a}", "a"),
    ("'<<': {k: a}", ""),
]


@pytest.mark.parametrize(("source", "expected"), MERGED)
def test_the_last_of_a_repeated_key_counts(source: str, expected: str) -> None:
    """Of a repeated or merged key, the last in the file counts."""
    assert section_of(source)[0].text("k") == expected


MAPS = [
    ("k: {a: 1}\nk: {b: 2}", {"a": "1", "b": "2"}),
    ("<<: {k: {a: 1, b: 1}}\nk: {b: 2}", {"a": "1", "b": "2"}),
    ("k: {a: 1}\nk:\nk: {b: 2}", {"b": "2"}),
]


@pytest.mark.parametrize(("source", "expected"), MAPS)
def test_mappings_are_merged(source: str, expected: dict[str, str]) -> None:
    """Mappings under one key are merged; a null discards those before it."""
    assert section_of(source)[0].text_map("k") == expected


def test_an_unknown_key_is_a_warning() -> None:
    """A key that was not asked for is a warning with the nearest known key."""
    section, diagnostics = section_of('labels: {}\nlabel: {}\nzzz: 1\n"a\\nb": 2\n')
    section.text_map("labels")
    section.reject_unknown_keys()

    ignored = "is an unknown key and is ignored"
    assert diagnostics.warnings() == (
        f"f: label: {ignored}; did you mean labels? (line 2)",
        f"f: zzz: {ignored} (line 3)",
        f"f: 'a\\nb': {ignored} (line 4)",
    )


def test_an_unknown_key_is_an_error_if_strict() -> None:
    """If strict, the first unknown key is an error."""
    section, _ = section_of("label: {}\nzzz: 1", strict=True)

    with pytest.raises(ConfigError, match=r"^f: label: is an unknown key \(line 1\)$"):
        section.reject_unknown_keys()


REPEATED = "k: {a: 1}\nj: 2\n'k': {b: 2}\nk: {n: 1, m: 2, n: 3}\n<<: {}\n<<: {}"


def test_a_repeated_key_is_a_warning() -> None:
    """In any mapping of the file, `<<` too; what is merged is overridden silently."""
    section, diagnostics = section_of(REPEATED)
    section.text_map("k")
    problem = "is given twice in the same mapping; the last one counts, and mappings"

    assert diagnostics.warnings() == (
        f"f: k: {problem} are merged (line 3)",
        f"f: k: {problem} are merged (line 4)",
        f"f: <<: {problem} are merged (line 6)",
        f"f: k.n: {problem} are merged (line 4)",
    )
    _, diagnostics = section_of("<<: [{k: 1}, {k: 2}]\nk: 3")
    assert diagnostics.warnings() == ()


def test_a_repeated_key_below_an_unknown_one_is_a_warning() -> None:
    """At any depth; what aliases repeat is read once, also if it would be huge."""
    lines = ["a0: &a0 {x: [{y: 1, y: 2}]}"]
    lines += [f"a{i + 1}: &a{i + 1} [*a{i}, *a{i}]" for i in range(40)]
    section, diagnostics = section_of("k:\n  " + "\n  ".join(lines))
    section.reject_unknown_keys()
    problem = "is given twice in the same mapping; the last one counts, and mappings"

    assert diagnostics.warnings() == (
        "f: k: is an unknown key and is ignored (line 2)",
        f"f: k.a0.x.y: {problem} are merged (line 2)",
    )


def test_a_repeated_key_is_an_error_if_strict() -> None:
    """The first one is named."""
    error = r"^f: k: is given twice in the same mapping \(line 3\)$"
    with pytest.raises(ConfigError, match=error):
        section_of(REPEATED, strict=True)


def test_a_duration_without_a_unit_is_a_warning() -> None:
    """A duration without a unit is accepted with a warning."""
    section, diagnostics = section_of("ttl: 10")
    section.nanoseconds("ttl")

    warning = "f: ttl: 10 is 10 nanoseconds; write 10s for seconds (line 1)"
    assert diagnostics.warnings() == (warning,)


def test_a_long_chain_of_merges_does_not_exhaust_the_stack() -> None:
    """A chain of merges does not exhaust the stack."""
    lines = ["a0: &a0 {x: y}"]
    lines += [f"a{i + 1}: &a{i + 1}\n  <<: *a{i}" for i in range(5000)]
    section, _ = section_of("\n".join([*lines, "k: *a5000"]))

    assert section.text_map("k") == {"x": "y"}
