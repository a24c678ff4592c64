"""Hostile and unusual files: refused in one line, or accepted."""

from __future__ import annotations

import pytest

from statsd_bridge import mapping
from statsd_bridge.errors import ConfigError
from statsd_bridge.model import SampleType

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]\n" for i in range(20)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i + 1}: &a{i + 1} {{<<: [{', '.join([f'*a{i}'] * 9)}]}}\n" for i in range(20)
)


def regex(pattern: str) -> str:
    """Return a file with one regular expression."""
    return f"mappings: [{{name: x, match_type: regex, match: '{pattern}'}}]"


# Description, text, part of the error.
REFUSED: dict[str, tuple[str | bytes, str]] = {
    "lists of aliases": (f"{LAUGHS}mappings: *a20", "mappings[0]: a list is not"),
    "merges of aliases": (
        f"{MERGES}mappings: [*a20]",
        "holds more than 4000000 values with",
    ),
    "a merge of itself": ("mappings: [&a {<<: *a}]", "is inside itself"),
    "brackets": ("[" * 100_000, "exceeded maximum nesting depth"),
    "indentation": (
        "".join(" " * i + "-\n" for i in range(500)),
        "is nested deeper than 100 levels",
    ),
    "Latin-1": ("mappings: [{match: \xe9}]".encode("latin-1"), "is not text"),
    "half a character": (b"a: \xf0\x9f", "is not text"),
    "a regex of many letters": (regex("a" * 3_000_000), "longer than 100000"),
    "a regex of many repeats": (regex("((a{100}){100}){100}"), "invalid repetition"),
    "a regex of many classes": (regex(r"\pL{500}" * 9), "pattern too large"),
    "a regex of many groups": (regex("()" * 500_000), "longer than 100000"),
    "a regex of deep groups": (
        regex("(" * 5_000 + ")" * 5_000),
        "nested deeper than 1000 brackets",
    ),
    "a long number": (f"defaults: {{ttl: {'9' * 100_000}}}", "is not a duration"),
    "a long duration": (f"defaults: {{ttl: {'1s' * 100_000}}}", "is not a duration"),
    "a control character": ("mappings: \x1b[31m", "is not text"),
    "a name that would be a command": (
        'mappings: [{match: "\\e[31m\\n", name: x}]',
        r"mappings[0].match: '\x1b[31m\n' is not a glob",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_hostile_file_is_refused_in_one_line(
    what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The error is one short printable line that names the file."""
    text, problem = REFUSED[what]
    with pytest.raises(ConfigError) as refused:
        mapping.parse(text, "f.yml")
    message = str(refused.value)

    assert message.startswith("f.yml: ")
    assert problem in message
    assert message.isprintable()
    assert len(message) < 300
    # Libraries in C print nothing either.
    assert capfd.readouterr() == ("", "")


ACCEPTED: dict[str, str | bytes] = {
    "UTF-16": "mappings: [{match: a.b, name: x}]".encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbfmappings: [{match: a.b, name: x}]",
    "Windows lines": "mappings:\r\n- match: a.b\r\n  name: x\r\n",
    "many documents": "mappings: [{match: a.b, name: x}]\n" + "---\n[\n" * 1_000,
    "many aliases": "- &a {match: a.b, name: x}\n- {<<: *a}\n" * 50,
    "deep brackets of a regex": regex("(" * 999 + "a" + ")" * 999),
    "many alternatives": regex("|".join(f"a{i}" for i in range(10_000)) + "|a.b"),
    "many references": f"mappings: [{{match: '*.*', name: x{'$1' * 10_000}}}]",
    "many segments": "mappings:\n- {match: a.b, name: x}\n"
    + f"- {{match: '{'*.' * 900}z', name: y}}\n",
    "many rules with a star": "mappings:\n- {match: a.b, name: x}\n"
    + "".join(f"- {{match: '{'*.' * i}z', name: y}}\n" for i in range(300)),
    "many keys": "mappings: [{match: a.b, name: x}]\n"
    + "".join(f"k{i}: v\n" for i in range(5_000)),
}


@pytest.mark.parametrize("what", ACCEPTED)
def test_an_unusual_file_is_accepted(what: str) -> None:
    """An unusual but valid file works."""
    text = ACCEPTED[what]
    if isinstance(text, str) and text.startswith("- "):
        text = f"mappings:\n{text}"
    table = mapping.parse(text, "f.yml")

    assert table.look_up(SampleType.COUNTER, "a.b").rule is table.search.rules[0]
    assert len(table.warnings) <= 101


def test_long_regexes_are_tried_by_halves(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Many long regexes work and print nothing on stderr."""
    rules = "".join(
        f"- {{match: '{'x' * 5_000}{i}|^a{i}$', match_type: regex, name: n}}\n"
        for i in range(100)
    )
    table = mapping.parse(f"mappings:\n{rules}", "f.yml")

    assert table.look_up(SampleType.COUNTER, "a77").rule is table.search.rules[77]
    assert table.look_up(SampleType.COUNTER, "b").rule is None
    assert capfd.readouterr() == ("", "")
