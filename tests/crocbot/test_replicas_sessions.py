"""Conversations of replicas: as with one gateway, and only under the chat's lease."""

from __future__ import annotations

import random
from contextlib import nullcontext

import pytest

from crocbot import leases
from crocbot.database_url import DatabaseUrl
from crocbot.errors import LeaseLostError
from crocbot.leases import Lease
from crocbot.limits import Limits
from crocbot.model import ChatThread, Exchange, Usage
from crocbot.replicas.sessions import LeasedSessions
from crocbot.sessions import Sessions
from crocbot.spending import Spending, Spent
from crocbot.store import Connection
from crocbot.store.postgresql import PostgresStore
from crocbot.turn_outcomes import Limit

CHATS = (ChatThread(-5), ChatThread(-5, 4), ChatThread(7))


def hold(connection: Connection) -> None:
    """Make a lease of each chat with the epoch 3."""
    for chat in {each.chat_id for each in CHATS}:
        connection.execute(
            "INSERT INTO chats (chat, owner, epoch, waiting_since)"
            " VALUES (?, 'me', 3, 0)",
            (chat,),
        )


@pytest.mark.parametrize(("turns", "chars"), [(0, 100), (1, 100), (3, 100), (3, 0)])
async def test_they_remember_what_one_gateway_does(
    database_url: str, turns: int, chars: int
) -> None:
    """The same exchanges leave the same histories and counts."""
    chance = random.Random(f"{turns} {chars}")
    async with PostgresStore(DatabaseUrl.parse(database_url)) as store:
        await store.run(hold)
        leased = LeasedSessions(store, turns=turns, chars=chars)
        # In chats of their own, whose ids are larger.
        alone = Sessions(store, turns=turns, chars=chars)
        for number in range(20):
            chat = chance.choice(CHATS)
            other = ChatThread(chat.chat_id + 1000, chat.thread_id)
            exchange = Exchange(f"q{number}?", f"a{number}%" * chance.randrange(9))
            usage = Usage(chance.randrange(9), chance.randrange(9))
            with leases.working_under(Lease(chat.chat_id, 3, leases.now() + 60)):
                await leased.remember(chat, exchange, usage)
            await alone.remember(other, exchange, usage)

            assert await leased.history(chat) == await alone.history(other)
            assert await leased.usage(chat) == await alone.usage(other)
        stored = await store.run(count, write=False)
        assert stored[0] == stored[1]


def count(connection: Connection) -> tuple[int, int]:
    """Return the exchanges of both."""
    return tuple(
        connection.execute(f"SELECT count(*) FROM exchanges WHERE {chats}").fetchone()[
            0
        ]
        for chats in ("chat_id < 100", "chat_id > 100")
    )


async def test_nothing_is_remembered_under_a_lost_lease(database_url: str) -> None:
    """Neither the exchange nor its tokens, and what there was stays."""
    async with PostgresStore(DatabaseUrl.parse(database_url)) as store:
        await store.run(hold)
        sessions = LeasedSessions(store, turns=1, chars=100)
        here = CHATS[0]
        with leases.working_under(Lease(here.chat_id, 3, leases.now() + 60)):
            await sessions.remember(here, Exchange("a", "A"), Usage(1, 2))
        for write in (
            sessions.remember(here, Exchange("b", "B"), Usage(1, 2)),
            sessions.forget(here),
        ):
            lost = Lease(here.chat_id, 2, leases.now() + 60)
            with leases.working_under(lost), pytest.raises(LeaseLostError):
                await write
            # Nothing is sent after that.
            assert not await lost.confirm()

        assert await sessions.history(here) == (Exchange("a", "A"),)
        assert await sessions.usage(here) == (1, Usage(1, 2))


@pytest.mark.parametrize(("epoch", "answers"), [(3, 1), (2, 0)])
async def test_what_an_answer_took_is_counted_with_it(
    database_url: str, epoch: int, answers: int
) -> None:
    """Also under a lost lease, since the agent has taken it all the same."""
    async with PostgresStore(DatabaseUrl.parse(database_url)) as store:
        await store.run(hold)
        sessions = LeasedSessions(store, turns=1, chars=100)
        spending = Spending(store)
        limits = Limits(store, {Limit.ALL_DAY_TOKENS: 9, Limit.PERSON_DAY_TOKENS: 9})
        here, usage = CHATS[0], Usage(1, 2)
        counts = [*limits.used(7, 3), spending.added(7, usage, 5)]
        with leases.working_under(Lease(here.chat_id, epoch, leases.now() + 60)):
            writing = sessions.remember(here, Exchange("a", "A"), usage, counts)
            with nullcontext() if answers else pytest.raises(LeaseLostError):
                await writing

        assert (await sessions.usage(here))[0] == answers
        assert (await spending.share(7))[0] == Spent(
            person=7, answers=1, usage=usage, cost=5
        )
        tokens = "SELECT person, tokens FROM limit_slots ORDER BY person"
        found = await store.run(lambda each: each.execute(tokens).fetchall())
        assert found == [(0, 3), (7, 3)]
