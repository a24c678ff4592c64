"""Cutting and delivering replies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.errors import DeliveryError, FloodWaitError, TelegramError
from crocbot.facts import Fact
from crocbot.model import Address, ErrorType, ReconnectReason, Reply, Severity, Trouble
from crocbot.reply import LIMIT, PATIENCE, Courier, pieces

HERE = Address(7)
DOWN = TelegramError("down", ReconnectReason.NETWORK)
SLOW = TelegramError("slow", ReconnectReason.TIMEOUT)
CAT = "\N{CAT FACE}"


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("", 5, []),
        (" \n\t ", 5, []),
        ("hello", 5, ["hello"]),
        ("  hello\n", 5, ["hello"]),
        ("one two three", 7, ["one two", "three"]),
        ("one two three", 8, ["one two", "three"]),
        ("aaaa\nbb cc", 8, ["aaaa", "bb cc"]),
        ("a\nbbbb cccc dd", 10, ["a\nbbbb", "cccc dd"]),
        ("abcdefgh", 3, ["abc", "def", "gh"]),
        ("a bcdefgh", 4, ["a", "bcde", "fgh"]),
        (CAT * 3, 4, [CAT * 2, CAT]),
        (CAT * 3, 5, [CAT * 2, CAT]),
        ("half \ud83d pair", 20, ["half \ufffd pair"]),
    ],
)
def test_pieces(text: str, limit: int, cut: list[str]) -> None:
    """A text is cut at lines, else at words, else where it must be."""
    assert list(pieces(text, limit)) == cut


def test_limit() -> None:
    """A piece is 4,096 units long at most, as Telegram counts."""
    lengths = [len(piece) for piece in pieces("x" * 10_000)]

    assert lengths == [4096, 4096, 1808]


@given(st.text(st.characters() | st.sampled_from(f" \n\t{CAT}")), st.integers(2, 12))
def test_nothing_visible_is_lost(text: str, limit: int) -> None:
    """Pieces are never empty nor too long, and keep every visible character."""
    cut = list(pieces(text, limit))

    assert all(piece.strip() for piece in cut)
    assert all(len(piece.encode("utf-16-le")) <= limit * 2 for piece in cut)
    visible = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert "".join("".join(cut).split()) == "".join(visible.split())


class Telegram:
    """Takes messages; first raises what it was given, one fault a call."""

    def __init__(self, faults: Sequence[Exception] = ()) -> None:
        self.faults = list(faults)
        self.taken: list[str] = []
        self.slept: list[float] = []
        self.facts: list[Fact] = []

    async def send(self, address: Address, text: str) -> None:
        """Take a message, or fail as planned."""
        assert address == HERE
        if self.faults:
            raise self.faults.pop(0)
        self.taken.append(text)

    async def sleep(self, seconds: float) -> None:
        """Remember instead of sleeping."""
        self.slept.append(seconds)

    def deliver(self, text: str) -> None:
        """Deliver a reply through a courier without jitter."""
        courier = Courier(self.send, self.facts.append, self.sleep, lambda: 0.5)
        asyncio.run(courier.deliver(Reply(text), HERE))


def test_pieces_are_sent_in_order() -> None:
    """A long reply arrives as several messages, in order."""
    telegram = Telegram()
    telegram.deliver("a" * LIMIT + "b" * LIMIT + "c")

    assert [text[0] for text in telegram.taken] == ["a", "b", "c"]


def test_flood_wait() -> None:
    """A flood wait is waited out as Telegram says, and is no trouble."""
    telegram = Telegram([FloodWaitError(35.0)])
    telegram.deliver("hello")

    assert telegram.taken == ["hello"]
    assert telegram.slept == [35.0]
    assert telegram.facts == []


def test_network_faults() -> None:
    """Faults of the network are told, and tried again after growing pauses."""
    telegram = Telegram([DOWN, SLOW, DOWN])
    telegram.deliver("hello")

    assert telegram.taken == ["hello"]
    assert telegram.slept == [1.0, 2.0, 4.0]
    assert telegram.facts == [
        Trouble(ErrorType.NETWORK, Severity.WARNING),
        Trouble(ErrorType.TIMEOUT, Severity.WARNING),
        Trouble(ErrorType.NETWORK, Severity.WARNING),
    ]


@pytest.mark.parametrize("fault", [DOWN, FloodWaitError(60.0), FloodWaitError(1e6)])
def test_patience_ends(fault: Exception) -> None:
    """Waiting is bounded: a reply that cannot be delivered is given up."""
    telegram = Telegram([fault] * 1000)
    with pytest.raises(DeliveryError):
        telegram.deliver("hello")

    assert telegram.taken == []
    assert sum(telegram.slept) <= PATIENCE


def test_a_no_is_final() -> None:
    """What Telegram refuses is not tried again."""
    telegram = Telegram([DeliveryError("blocked")])
    with pytest.raises(DeliveryError):
        telegram.deliver("hello")

    assert (telegram.taken, telegram.slept) == ([], [])
