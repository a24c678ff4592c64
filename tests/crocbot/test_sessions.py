"""What was said before: per chat and topic, bounded, forgotten when asked to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import sessions
from crocbot.model import ChatThread, Exchange, Usage
from crocbot.sessions import Sessions
from crocbot.store import Store

HERE, TOPIC, ELSEWHERE = ChatThread(-5), ChatThread(-5, 4), ChatThread(7)


def play(
    folder: Path,
    scene: Callable[[Sessions], Awaitable[None]],
    turns: int = 3,
    chars: int = 100,
) -> None:
    """Play a scene with a memory."""

    async def run() -> None:
        async with Store(folder / "x.sqlite3", [sessions.SCHEMA]) as store:
            await scene(Sessions(store, turns=turns, chars=chars))

    asyncio.run(run())


def test_memory(tmp_path: Path) -> None:
    """Each chat and each topic has its own, oldest first; a restart changes nothing."""

    async def first(memory: Sessions) -> None:
        await memory.remember(HERE, Exchange("a", "A"), Usage(1, 2))
        await memory.remember(TOPIC, Exchange("b", "B"), Usage(10, 20))
        await memory.remember(HERE, Exchange("c", "C"), Usage(3, 4))

    async def second(memory: Sessions) -> None:
        history = await memory.history(HERE)
        assert history == (Exchange("a", "A"), Exchange("c", "C"))
        assert await memory.history(TOPIC) == (Exchange("b", "B"),)
        assert await memory.history(ELSEWHERE) == ()
        assert await memory.usage(HERE) == (2, Usage(4, 6))
        assert await memory.usage(ELSEWHERE) == (0, Usage())

    play(tmp_path, first)
    play(tmp_path, second)


def test_forget(tmp_path: Path) -> None:
    """To forget one chat leaves the others, and the count of tokens."""

    async def scene(memory: Sessions) -> None:
        for chat in (HERE, TOPIC):
            await memory.remember(chat, Exchange("a", "A"), Usage(1, 1))
        await memory.forget(HERE)
        assert await memory.history(HERE) == ()
        assert await memory.history(TOPIC) == (Exchange("a", "A"),)
        assert await memory.usage(HERE) == (1, Usage(1, 1))

    play(tmp_path, scene)


def test_turns_are_bounded(tmp_path: Path) -> None:
    """Only so many exchanges are kept, the latest."""

    async def scene(memory: Sessions) -> None:
        for word in "abcde":
            await memory.remember(HERE, Exchange(word, word), Usage())
        kept = [exchange.prompt for exchange in await memory.history(HERE)]
        assert kept == ["c", "d", "e"]

    play(tmp_path, scene)


def test_characters_are_bounded(tmp_path: Path) -> None:
    """What is told together has so many characters at most, the latest whole."""

    async def scene(memory: Sessions) -> None:
        for word in "abc":
            await memory.remember(HERE, Exchange(word * 10, word * 10), Usage())
        kept = [exchange.prompt[0] for exchange in await memory.history(HERE)]
        assert kept == ["b", "c"]

    play(tmp_path, scene, chars=45)


@pytest.mark.parametrize(("turns", "chars"), [(0, 100), (3, 0)])
def test_no_memory(tmp_path: Path, turns: int, chars: int) -> None:
    """Without room for memory there is none, but tokens are counted."""

    async def scene(memory: Sessions) -> None:
        await memory.remember(HERE, Exchange("a", "A"), Usage(1, 1))
        assert await memory.history(HERE) == ()
        assert await memory.usage(HERE) == (1, Usage(1, 1))

    play(tmp_path, scene, turns, chars)


def test_half_a_character(tmp_path: Path) -> None:
    """Half a surrogate pair can be remembered, as a sign that something was there."""

    async def scene(memory: Sessions) -> None:
        await memory.remember(HERE, Exchange("a\ud83d", "\udc0a"), Usage())
        assert await memory.history(HERE) == (Exchange("a\ufffd", "\ufffd"),)

    play(tmp_path, scene)


@given(st.text(), st.text(), st.integers(0, 30))
def test_a_long_exchange_is_cut(asked: str, answered: str, chars: int) -> None:
    """An exchange is cut to what there is room for, and only if it must be."""
    cut = sessions._cut(Exchange(asked, answered), chars)

    assert len(cut.prompt) + len(cut.answer) <= chars
    if len(asked) + len(answered) <= chars:
        assert cut == Exchange(asked, answered)
