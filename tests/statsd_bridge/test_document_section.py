"""Keys are read with their types; messages say where and what."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from statsd_bridge.document.diagnostics import Diagnostics
from statsd_bridge.document.node import compose
from statsd_bridge.document.section import Section, present
from statsd_bridge.errors import ConfigError


def sectioned(text: str, *, strict: bool = False) -> tuple[Section, Diagnostics]:
    """Read text as a section."""
    remarks = Diagnostics("f", strict=strict)
    return Section(remarks, "", present(compose(text, "f"))), remarks


Read = Callable[[Section], object]


def text(section: Section) -> object:
    """Read the key k as text."""
    return section.text("k")


def flag(section: Section) -> object:
    """Read the key k as a flag."""
    return section.flag("k")


def number(section: Section) -> object:
    """Read the key k as a number."""
    return section.number("k")


def count(section: Section) -> object:
    """Read the key k as a count."""
    return section.count("k")


def duration(section: Section) -> object:
    """Read the key k as a duration."""
    return section.nanoseconds("k")


def choice(section: Section) -> object:
    """Read the key k as a choice."""
    return section.choice("k", {"one": 1, "two": 2, "": 3})


def numbers(section: Section) -> object:
    """Read the key k as numbers."""
    return section.numbers("k")


def texts(section: Section) -> object:
    """Read the key k as texts."""
    return section.texts("k")


def paths(section: Section) -> object:
    """Read the key k as sections, and tell their paths."""
    found = section.sections("k")
    return found and [each.path for each in found]


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
    (flag, "", False),
    (flag, "k:", False),
    (flag, "k: on", True),
    (flag, "k: FALSE", False),
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
    (choice, "", None),
    (choice, "k:", None),
    (choice, "k: two", 2),
    (choice, "k: ''", 3),
    (numbers, "", None),
    (numbers, "k:", None),
    (numbers, "k: []", ()),
    (numbers, "k: [1, 2.5, .inf]", (1.0, 2.5, math.inf)),
    (numbers, "k: [~, 1]", (0.0, 1.0)),
    (texts, "", {}),
    (texts, "k:", {}),
    (texts, "k: {a: b, on: 1}", {"a": "b", "on": "1"}),
    (texts, "k: {a: ~}", {"a": ""}),
    (paths, "", None),
    (paths, "k: []", []),
    (paths, "k: [{}, ~]", ["k[0]", "k[1]"]),
]


@pytest.mark.parametrize(("read", "source", "expected"), READ)
def test_read(read: Read, source: str, expected: object) -> None:
    """A key is read as what is wanted; missing and null are the same."""
    assert read(sectioned(source)[0]) == expected


REFUSED: list[tuple[Read, str, str]] = [
    (text, "k: []", "k: a list is not text (line 1)"),
    (text, "k: {a: b}", "k: a mapping is not text (line 1)"),
    (text, "k: !!int a", "k: 'a' is tagged int and is none (line 1)"),
    (flag, "k: 1", "k: '1' is not true or false (line 1)"),
    (flag, "k: 'on'", "k: 'on' is not true or false; take off the quotes (line 1)"),
    (number, "k: one", "k: 'one' is not a number, such as 0.25 (line 1)"),
    (number, "k: yes", "k: 'yes' is not a number, such as 0.25 (line 1)"),
    (count, "k: -1", "k: '-1' is not a whole number from 0 to 4294967295 (line 1)"),
    (count, "k: .nan", "k: '.nan' is not a whole number from 0 to 4294967295 (line 1)"),
    (duration, "k: 7d", "k: '7d' is not a duration, such as 90s or 1h30m (line 1)"),
    (duration, "k: -1s", "k: a duration must not be negative (line 1)"),
    (choice, "k: three", "k: 'three' is not one or two (line 1)"),
    (numbers, "k: 1", "k: '1' is not a list (line 1)"),
    (numbers, "k:\n- 1\n- x", "k[1]: 'x' is not a number, such as 0.25 (line 3)"),
    (texts, "k: a", "k: 'a' is not a mapping of keys to values (line 1)"),
    (texts, "k:\n  a: []", "k.a: a list is not text (line 2)"),
    (paths, "k: {}", "k: a mapping is not a list (line 1)"),
    (paths, "k: [a]", "k[0]: 'a' is not a mapping of keys to values (line 1)"),
    (text, "[k]", "a list is not a mapping of keys to values (line 1)"),
    (text, "? [a]\n: b", "a list is not text (line 1)"),
    (text, "<<: 5", "'5' is not a mapping of keys to values (line 1)"),
    (text, "<<: [5]", "'5' is not a mapping of keys to values (line 1)"),
    (texts, 'k: {"a\\nb": []}', "k.'a\\nb': a list is not text (line 1)"),
]


@pytest.mark.parametrize(("read", "source", "message"), REFUSED)
def test_refused(read: Read, source: str, message: str) -> None:
    """What has another type is refused with its path and line."""
    with pytest.raises(ConfigError) as caught:
        read(sectioned(source)[0])

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
def test_later_wins(source: str, expected: str) -> None:
    """Of a repeated or merged key, the last in the file counts."""
    assert sectioned(source)[0].text("k") == expected


GROWN = [
    ("k: {a: 1}\nk: {b: 2}", {"a": "1", "b": "2"}),
    ("<<: {k: {a: 1, b: 1}}\nk: {b: 2}", {"a": "1", "b": "2"}),
    ("k: {a: 1}\nk:\nk: {b: 2}", {"b": "2"}),
]


@pytest.mark.parametrize(("source", "expected"), GROWN)
def test_mappings_grow_together(source: str, expected: dict[str, str]) -> None:
    """Mappings under one key are merged, and a null begins anew."""
    assert sectioned(source)[0].texts("k") == expected


def test_unknown_keys() -> None:
    """A key that nobody asked for is told, with the key that was meant."""
    section, remarks = sectioned('labels: {}\nlabel: {}\nzzz: 1\n"a\\nb": 2\n')
    section.texts("labels")
    section.close()

    ignored = "there is no such key, it is ignored"
    assert remarks.warnings() == (
        f"f: label: {ignored}; did you mean labels? (line 2)",
        f"f: zzz: {ignored} (line 3)",
        f"f: 'a\\nb': {ignored} (line 4)",
    )


def test_unknown_key_is_strict() -> None:
    """When strict, the first unknown key is a mistake."""
    section, _ = sectioned("label: {}\nzzz: 1", strict=True)

    with pytest.raises(
        ConfigError, match=r"^f: label: there is no such key \(line 1\)$"
    ):
        section.close()


def test_bare_number_of_nanoseconds() -> None:
    """A duration without a unit is taken, with a warning."""
    section, remarks = sectioned("ttl: 10")
    section.nanoseconds("ttl")

    said = "f: ttl: 10 is 10 nanoseconds; write 10s for seconds (line 1)"
    assert remarks.warnings() == (said,)


def test_bomb_of_merges() -> None:
    """A small file that means a huge one is refused."""
    lines = ["a0: &a0 {x: y}"]
    for i in range(20):
        lines.append(f"a{i + 1}: &a{i + 1} {{<<: [{', '.join([f'*a{i}'] * 10)}]}}")
    section, _ = sectioned("\n".join([*lines, "k: *a20"]))

    with pytest.raises(ConfigError, match="f: means more than 1000000 values"):
        section.texts("k")


def test_long_chain_of_merges() -> None:
    """A chain of merges does not exhaust the stack."""
    lines = ["a0: &a0 {x: y}"]
    lines += [f"a{i + 1}: &a{i + 1}\n  <<: *a{i}" for i in range(5000)]
    section, _ = sectioned("\n".join([*lines, "k: *a5000"]))

    assert section.texts("k") == {"x": "y"}
