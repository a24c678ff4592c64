"""Splitting: each part fits into a message, and together they are the reply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.content import Entity
from crocbot.model import MessagePart, Reply
from crocbot.reply.split import split
from crocbot.text import MAX_MESSAGE_UNITS, replace_lone_surrogates, utf16_length

CAT = "\N{CAT FACE}"


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        ("", 5, []),
        (" \n\t ", 5, []),
        ("\u200b\u2060", 5, []),
        ("hello", 5, ["hello"]),
        ("  hello\n", 5, ["hello"]),
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 8, ["one two", "three"]),
        ("aaaa\nbb cc", 8, ["aaaa", "bb cc"]),
        ("aaaa\n\nbb\ncc", 9, ["aaaa", "bb\ncc"]),
        ("a\nbbbb cccc dd", 10, ["a\nbbbb", "cccc dd"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("a bcdefgh", 4, ["a", "bcde", "fgh"]),
        (CAT * 3, 4, [CAT * 2, CAT]),
        (CAT * 3, 5, [CAT * 2, CAT]),
        ("half \ud83d pair", 20, ["half \ufffd pair"]),
        ("1 < 2 && *not* `at all`", 30, ["1 < 2 && *not* `at all`"]),
        ("x" * 9000, MAX_MESSAGE_UNITS, ["x" * 4096, "x" * 4096, "x" * 808]),
    ],
)
def test_plain(text: str, limit: int, parts: list[str]) -> None:
    """Plain text is split at paragraphs, else lines, else words, else anywhere."""
    assert split(Reply(text), limit) == [MessagePart(part) for part in parts]


@pytest.mark.parametrize(
    ("text", "limit", "parts"),
    [
        (
            "**a**\n\n*b*",
            100,
            [MessagePart("a\n\nb", (Entity("bold", 0, 1), Entity("italic", 3, 1)))],
        ),
        (
            f"{CAT}\n\n**b**",
            100,
            [MessagePart(f"{CAT}\n\nb", (Entity("bold", 4, 1),))],
        ),
        # A block that fits is not split.
        (
            "aaa\n\n`b b b b`",
            9,
            [MessagePart("aaa"), MessagePart("b b b b", (Entity("code", 0, 7),))],
        ),
        # One that does not fit continues in the next part, with its entities.
        (
            "```py\nab\ncd\n```",
            4,
            [
                MessagePart("ab", (Entity("pre", 0, 2, url=None, language="py"),)),
                MessagePart("cd", (Entity("pre", 0, 2, url=None, language="py"),)),
            ],
        ),
    ],
)
def test_markdown(text: str, limit: int, parts: list[MessagePart]) -> None:
    """Blocks share a part while they fit, with their entities in place."""
    assert split(Reply(text, markdown=True), limit)[: len(parts)] == parts


TEXTS = st.text(st.characters() | st.sampled_from(f" \n\t{CAT}*`_#-[](<|"))


def missing(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Return the visible characters that the texts after lack."""
    counts = [Counter("".join("".join(texts).split())) for texts in (before, after)]
    return [char for char in counts[0] - counts[1] if char.isprintable()]


@given(TEXTS, st.integers(2, 12))
def test_no_visible_character_is_lost(text: str, limit: int) -> None:
    """Plain parts are neither empty nor too long, and keep every visible character."""
    parts = [part.text for part in split(Reply(text), limit)]

    assert all(part.strip() and utf16_length(part) <= limit for part in parts)
    assert missing([replace_lone_surrogates(text)], parts) == []


@given(TEXTS, st.integers(2, 40))
def test_formatted_parts(text: str, limit: int) -> None:
    """Formatted parts are stripped and fit, with their entities; no text is lost."""
    parts = split(Reply(text, markdown=True), limit)
    for part in parts:
        assert part.text == part.text.strip() != ""
        assert utf16_length(part.text) <= limit
        data = part.text.encode("utf-16-le")
        for entity in part.entities:
            end = entity.offset + entity.length
            assert 0 <= entity.offset < end <= utf16_length(part.text)
            data[2 * entity.offset : 2 * end].decode("utf-16-le")

    unsplit = split(Reply(text, markdown=True), 10**6)
    assert missing([part.text for part in unsplit], [part.text for part in parts]) == []


@pytest.mark.parametrize("separator", ["\n\n", " "])
def test_entities_are_bounded(separator: str) -> None:
    """No part has more entities than Telegram shows, in one block or in many."""
    parts = split(Reply(separator.join(["**a** *b*"] * 120), markdown=True))

    assert [len(part.entities) for part in parts] == [100, 100, 40]


def test_the_limit_of_formatted_parts() -> None:
    """Formatted text is within Telegram's limit."""
    text = "\n\n".join(f"**{number}** " + "word " * 300 for number in range(20))
    parts = split(Reply(text, markdown=True))

    assert len(parts) > 1
    assert all(utf16_length(part.text) <= MAX_MESSAGE_UNITS for part in parts)
