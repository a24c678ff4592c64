"""Pieces: each fits into a message, and together they are the reply."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.model import Entity, MessagePart, Reply
from crocbot.reply.split import LIMIT, pieces
from crocbot.text import units, whole

CAT = "\N{CAT FACE}"


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
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
    ],
)
def test_plain(text: str, limit: int, cut: list[str]) -> None:
    """A text is cut at paragraphs, else lines, else words, else where it must be."""
    assert pieces(Reply(text), limit) == [MessagePart(part) for part in cut]


def test_limit() -> None:
    """A piece is 4,096 units long at most, as Telegram counts."""
    lengths = [len(piece.text) for piece in pieces(Reply("x" * 10_000))]

    assert lengths == [4096, 4096, 1808]


def test_echo_is_left_alone() -> None:
    """What is no Markdown is shown as it is."""
    text = "1 < 2 && *not* _markdown_ `at all`"

    assert pieces(Reply(text)) == [MessagePart(text)]


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
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
        # A block that fits is not cut.
        (
            "aaa\n\n`b b b b`",
            9,
            [MessagePart("aaa"), MessagePart("b b b b", (Entity("code", 0, 7),))],
        ),
        # One that does not goes on in the next piece, and so does what it looks like.
        (
            "```py\nab\ncd\n```",
            4,
            [
                MessagePart("ab", (Entity("pre", 0, 2, None, "py"),)),
                MessagePart("cd", (Entity("pre", 0, 2, None, "py"),)),
            ],
        ),
    ],
)
def test_markdown(text: str, limit: int, cut: list[MessagePart]) -> None:
    """Blocks share a piece as long as they fit, with their entities in place."""
    assert pieces(Reply(text, markdown=True), limit)[: len(cut)] == cut


WORDS = st.text(st.characters() | st.sampled_from(f" \n\t{CAT}*`_#-[](<|"))


@given(WORDS, st.integers(2, 12))
def test_nothing_visible_is_lost(text: str, limit: int) -> None:
    """Plain pieces are never empty nor too long, and keep every visible character."""
    cut = pieces(Reply(text), limit)

    assert all(piece.text.strip() for piece in cut)
    assert all(units(piece.text) <= limit for piece in cut)
    kept = Counter("".join(piece.text for piece in cut))
    missing = Counter("".join(whole(text).split())) - kept
    assert [one for one in missing if one.isprintable()] == []


@given(WORDS, st.integers(2, 40))
def test_formatted_pieces(text: str, limit: int) -> None:
    """Formatted pieces fit, are not empty, and have their entities inside."""
    for piece in pieces(Reply(text, markdown=True), limit):
        assert piece.text == piece.text.strip()
        assert piece.text
        assert units(piece.text) <= limit
        data = piece.text.encode("utf-16-le")
        for entity in piece.entities:
            end = entity.offset + entity.length
            assert 0 <= entity.offset < end <= units(piece.text)
            data[2 * entity.offset : 2 * end].decode("utf-16-le")


@given(WORDS)
def test_cutting_loses_nothing(text: str) -> None:
    """Short pieces have the same words as the whole."""
    whole_ = pieces(Reply(text, markdown=True), 10**6)
    cut = pieces(Reply(text, markdown=True), 7)

    def letters(found: list[MessagePart]) -> Counter[str]:
        return Counter("".join("".join(piece.text for piece in found).split()))

    missing = letters(whole_) - letters(cut)
    assert [one for one in missing if one.isprintable()] == []


def test_entities_are_bounded() -> None:
    """No piece has more entities than Telegram shows."""
    cut = pieces(Reply("\n\n".join(["**a** *b*"] * 120), markdown=True))

    assert [len(piece.entities) for piece in cut] == [100, 100, 40]


def test_the_limit_of_formatted_pieces() -> None:
    """The real limit is kept by formatted text, too."""
    text = "\n\n".join(f"**{number}** " + "word " * 300 for number in range(20))
    cut = pieces(Reply(text, markdown=True))

    assert len(cut) > 1
    assert all(units(piece.text) <= LIMIT for piece in cut)
