"""Limits of replicas: one statement a message, whatever others count meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from crocbot import leases
from crocbot.database_url import DatabaseUrl
from crocbot.errors import LeaseLostError, StoreError
from crocbot.leases import Lease
from crocbot.limits import Limits
from crocbot.model import ChatThread, Exchange, Usage
from crocbot.replicas import limits as shared_limits
from crocbot.replicas.limits import SharedLimits
from crocbot.replicas.sessions import LeasedSessions
from crocbot.spending import Spending
from crocbot.store import Connection
from crocbot.store.postgresql import PostgresStore
from crocbot.turn_outcomes import Limit
from tests.crocbot.database_sessions import Session, wait_for_lock

ADA = 7
CHATS = range(1, 9)
EPOCH = 3


def hold(connection: Connection) -> None:
    """Make a lease of each chat."""
    for chat in CHATS:
        connection.execute(
            "INSERT INTO chats (chat, owner, epoch, waiting_since)"
            " VALUES (?, 'me', ?, 0)",
            (chat, EPOCH),
        )


def lease(chat: int = ADA, epoch: int = EPOCH) -> Lease:
    """Return the lease of a chat."""
    return Lease(chat, epoch, leases.now() + 60)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[PostgresStore]:
    """Return a database in which chats are held."""
    async with PostgresStore(DatabaseUrl.parse(database_url)) as opened:
        await opened.run(hold)
        yield opened


@pytest.mark.parametrize("max_tries", [0, 10])
async def test_a_message_that_another_replica_counts_meanwhile(
    store: PostgresStore,
    database_url: str,
    max_tries: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A statement that has waited for it does not decide by what it saw before."""
    monkeypatch.setattr(shared_limits, "MAX_TRIES", max_tries)
    url = DatabaseUrl.parse(database_url)
    other, observer = Session(url), Session(url)
    limits = SharedLimits(store, {Limit.ALL_DAY: 1})
    other.run("BEGIN")
    other.run(shared_limits.CHANGE)
    with leases.working_under(lease()):
        taking = asyncio.create_task(limits.take(ADA, [2]))
        await asyncio.to_thread(wait_for_lock, observer)
    job = Limits(store, limits.maximums).taking(ADA + 1, [1], trim=False)
    assert job(other.connection) is None
    other.run("COMMIT")
    refusal = await taking

    assert refusal is not None
    assert refusal.limit is Limit.ALL_DAY
    assert observer.query("SELECT update_id FROM limit_updates") == [(1,)]
    for each in (other, observer):
        each.connection.close()


async def test_a_lost_lease(store: PostgresStore) -> None:
    """Its message is counted by the replica that has the chat."""
    limits = SharedLimits(store, {Limit.ALL_DAY: 1})
    lost = lease(epoch=EPOCH - 1)
    with leases.working_under(lost), pytest.raises(LeaseLostError):
        await limits.take(ADA, [1])
    assert lost.lost
    with leases.working_under(lease()):
        assert await limits.take(ADA, [1]) is None


async def test_a_database_that_fails(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement runs once more; what waits for one that fails fails with it."""
    run, failures, calls = store.run, 1, 0

    async def run_or_fail(job: Any, **options: Any) -> Any:
        nonlocal failures, calls
        calls += 1
        # All callers have begun.
        await asyncio.sleep(0)
        if failures > 0:
            failures -= 1
            raise StoreError("the connection has ended")
        return await run(job, **options)

    monkeypatch.setattr(store, "run", run_or_fail)
    limits = SharedLimits(store, {Limit.ALL_DAY: 1})
    with leases.working_under(lease()):
        assert await limits.take(ADA, [1]) is None
        failures, calls = 2, 0
        found = await asyncio.gather(
            *(limits.take(ADA, [each]) for each in range(2, 9)), return_exceptions=True
        )
        assert [str(each) for each in found] == ["the connection has ended"] * 7
        assert calls == 2
        assert await limits.take(ADA, [9]) is not None


async def test_many_at_once(store: PostgresStore) -> None:
    """Messages and answers of three replicas wait for each other without a deadlock."""
    maximums = dict.fromkeys(Limit, 10000) | {Limit.ALL_MINUTE: 60}
    admitted = 0

    async def work(replica: PostgresStore, seed: int) -> None:
        nonlocal admitted
        chance = random.Random(seed)
        limits = SharedLimits(replica, maximums)
        sessions = LeasedSessions(replica, turns=2, chars=100)

        async def turn(number: int) -> None:
            nonlocal admitted
            chat, person = chance.choice(CHATS), chance.randrange(1, 4)
            with leases.working_under(lease(chat)):
                if await limits.take(person, [number]) is None:
                    admitted += 1
                counts = limits.used(person, 5)
                counts.append(Spending.added(person, Usage(2, 3), 4))
                exchange = Exchange(f"{number}?", "yes")
                await sessions.remember(ChatThread(chat), exchange, Usage(2, 3), counts)

        await asyncio.gather(*(turn(seed * 1000 + each) for each in range(30)))

    async with store.beside(4) as second, store.beside(4) as third:
        await asyncio.gather(
            *(work(each, seed) for seed, each in enumerate((store, second, third)))
        )

    def totals(connection: Connection) -> list[int]:
        return [
            connection.execute(statement).fetchone()[0]
            for statement in (
                "SELECT sum(messages) FROM limit_slots"
                " WHERE seconds = 60 AND person = 0",
                "SELECT sum(tokens) FROM limit_slots WHERE seconds > 60 AND person = 0",
                "SELECT sum(answers) FROM spending",
                "SELECT sum(answers) FROM tokens",
                "SELECT deadlocks FROM pg_stat_database"
                " WHERE datname = current_database()",
            )
        ]

    assert await store.run(totals, write=False) == [60, 450, 90, 90, 0]
    assert admitted == 60
