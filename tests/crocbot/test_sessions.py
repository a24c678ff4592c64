"""Conversations: per chat and topic, bounded, deleted by /new."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import sessions
from crocbot.content import Context, ForwardOrigin, OriginType
from crocbot.model import ChatThread, Exchange, Prompt, Usage
from crocbot.sessions import Sessions
from crocbot.store import SqliteStore, Store, opened
from tests.crocbot.databases import Database
from tests.crocbot.fakes import a_message

HERE, TOPIC, ELSEWHERE = ChatThread(-5), ChatThread(-5, 4), ChatThread(7)


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    """Return an open store."""
    async with database.store([sessions.SCHEMA]) as opened:
        yield opened


async def test_history_and_usage(store: Store) -> None:
    """Each chat and each topic has its own, also after a restart."""
    memory = Sessions(store, turns=3, chars=100)
    await memory.remember(HERE, Exchange("a", "A"), Usage(1, 2))
    await memory.remember(TOPIC, Exchange("b", "B"), Usage(10, 20))
    await memory.remember(HERE, Exchange("c", "C"), Usage(3, 4))

    restarted = Sessions(store, turns=3, chars=100)
    history = await restarted.history(HERE)
    assert history == (Exchange("a", "A"), Exchange("c", "C"))
    assert await restarted.history(TOPIC) == (Exchange("b", "B"),)
    assert await restarted.history(ELSEWHERE) == ()
    assert await restarted.usage(HERE) == (2, Usage(4, 6))
    assert await restarted.usage(ELSEWHERE) == (0, Usage())


async def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    """History and usage can be read while another program has the file locked."""
    file = tmp_path / "x.sqlite3"
    async with SqliteStore(file, [sessions.SCHEMA]) as store:
        memory = Sessions(store, turns=3, chars=100)
        with opened(file, []):
            assert await memory.history(HERE) == ()
            assert await memory.usage(HERE) == (0, Usage())


async def test_a_chat_that_moved(store: Store) -> None:
    """What was remembered and counted under its old id is that of the new one."""
    new = ChatThread(-1005)
    memory = Sessions(store, turns=3, chars=100)
    await memory.remember(HERE, Exchange("a", "A"), Usage(1, 2))
    await memory.remember(new, Exchange("b", "B"), Usage(10, 20))
    await memory.move(HERE.chat_id, new.chat_id)
    # Of a turn that began before the move.
    await memory.remember(HERE, Exchange("c", "C"), Usage(100, 200))

    restarted = Sessions(store, turns=3, chars=100)
    assert await restarted.moves() == [(HERE.chat_id, new.chat_id)]
    for sessions_ in (memory, restarted):
        for chat in (HERE, new):
            found = await sessions_.history(chat)
            assert found == (
                Exchange("a", "A"),
                Exchange("b", "B"),
                Exchange("c", "C"),
            )
            assert await sessions_.usage(chat) == (3, Usage(111, 222))
    await restarted.forget(HERE)
    assert await memory.history(new) == ()


async def test_forget(store: Store) -> None:
    """Forgetting one chat leaves the others, and the count of tokens."""
    memory = Sessions(store, turns=3, chars=100)
    for chat in (HERE, TOPIC):
        await memory.remember(chat, Exchange("a", "A"), Usage(1, 1))
    await memory.forget(HERE)

    assert await memory.history(HERE) == ()
    assert await memory.history(TOPIC) == (Exchange("a", "A"),)
    assert await memory.usage(HERE) == (1, Usage(1, 1))


@pytest.mark.parametrize(
    ("turns", "chars", "prompts"),
    [(3, 1000, "cde"), (5, 45, "de"), (0, 100, ""), (3, 0, "")],
)
async def test_the_history_is_bounded(
    store: Store, turns: int, chars: int, prompts: str
) -> None:
    """The latest exchanges stay, by number and by characters; tokens are counted."""
    memory = Sessions(store, turns=turns, chars=chars)
    for letter in "abcde":
        await memory.remember(HERE, Exchange(letter * 10, letter * 10), Usage(1, 1))

    history = await memory.history(HERE)
    assert "".join(exchange.prompt[0] for exchange in history) == prompts
    assert await memory.usage(HERE) == (5, Usage(5, 5))


async def test_half_a_surrogate_pair(store: Store) -> None:
    """Half a surrogate pair, which SQLite cannot store, becomes U+FFFD."""
    memory = Sessions(store, turns=3, chars=100)
    await memory.remember(HERE, Exchange("a\ud83d", "\udc0a"), Usage())

    assert await memory.history(HERE) == (Exchange("a\ufffd", "\ufffd"),)


@given(st.text(), st.text(), st.integers(0, 30))
def test_a_long_exchange_is_shortened(prompt: str, answer: str, chars: int) -> None:
    """An exchange has at most this many characters, and is changed only if it must."""
    short = sessions.shorten(Exchange(prompt, answer), chars)

    assert len(short.prompt) + len(short.answer) <= chars
    if len(prompt) + len(answer) <= chars:
        assert short == Exchange(prompt, answer)


@pytest.mark.parametrize("chars", range(20, 400, 7))
def test_a_quotation_that_is_shortened(chars: int) -> None:
    """What is left of a line of a quotation is marked as one."""
    forward = Context(forward=ForwardOrigin(OriginType.USER, "Eve"))
    prompt = Prompt(a_message("x" * 500, context=forward)).remembered
    short = sessions.shorten(Exchange(prompt, ""), chars).prompt
    *_, last = short.splitlines()

    assert len(short) <= chars
    assert last.startswith("> ")
