"""The lease of the leader in a real database: taken, renewed, lost, given back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import pytest

from crocbot.backoff import FloodControl
from crocbot.database_url import DatabaseUrl
from crocbot.errors import FloodWaitError, OperatorError
from crocbot.replicas import bots
from crocbot.replicas.floods import SharedFloods
from crocbot.replicas.heartbeat import Beat, Heartbeat
from crocbot.replicas.leader import Leader
from crocbot.replicas.wake import LeaderWake, Wake
from crocbot.store import Connection, Job
from crocbot.store.postgresql import PostgresStore
from tests.crocbot.fakes import Clock

END = "UPDATE leases SET until = clock_timestamp() - interval '1 s'"


class Replica:
    """A replica with its heartbeat, which the test sends."""

    def __init__(self, name: str, store: PostgresStore) -> None:
        self.store = store
        self.leader = Leader(name)
        self.beats: list[Beat] = []
        # Standing still, so that three chats are within seconds on a busy machine.
        self.floods = FloodControl(Clock())
        self.shared = SharedFloods(store, self.floods, name)
        self.floods.listener = self.shared
        self.heartbeat = Heartbeat(
            store=store, leader=self.leader, listeners=(self, self.shared)
        )

    async def follow(self, beat: Beat) -> None:
        """Keep what the database answered."""
        self.beats.append(beat)

    @property
    def epoch(self) -> int | None:
        """Return the epoch of this replica's term, None without one."""
        term = self.leader.term
        return None if term is None else term.epoch

    async def beat(self) -> int | None:
        """Send a heartbeat; return the epoch."""
        await self.heartbeat.beat()
        assert self.heartbeat.error is None
        return self.epoch

    async def execute(self, statement: str) -> None:
        """Change the database."""

        def job(connection: Connection) -> None:
            connection.execute(statement)

        await self.store.run(job)


@pytest.fixture
async def replicas(database_url: str) -> AsyncIterator[tuple[Replica, Replica]]:
    """Return two replicas with a database."""
    url = DatabaseUrl.parse(database_url)
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(PostgresStore(url)) for _ in range(2)]
        yield Replica("a", stores[0]), Replica("b", stores[1])


async def test_one_replica_is_the_leader(replicas: tuple[Replica, Replica]) -> None:
    """It keeps its epoch; the other one knows its name."""
    a, b = replicas
    epoch = await a.beat()
    assert epoch is not None
    assert await b.beat() is None
    assert await a.beat() == epoch

    assert (a.leader.leader, b.leader.leader) == ("a", "a")


async def test_of_many_at_once_one_takes_the_lease(
    replicas: tuple[Replica, Replica],
) -> None:
    """Also when the lease of another one has ended, exactly one gets it."""
    a, b = replicas
    await a.beat()
    for _ in range(20):
        await a.execute(END)
        a.leader.sees(None)
        b.leader.sees(None)
        epochs = await asyncio.gather(a.beat(), b.beat())
        assert sum(epoch is not None for epoch in epochs) == 1


async def test_a_lease_that_has_ended_is_taken_with_a_higher_epoch(
    replicas: tuple[Replica, Replica],
) -> None:
    """The leader before learns of it with its next heartbeat, and stays a standby."""
    a, b = replicas
    first = await a.beat()
    term = a.leader.term
    assert await b.beat() is None
    await a.execute(END)
    second = await b.beat()

    assert first is not None
    assert second is not None
    assert second > first
    assert await a.beat() is None
    assert term is not None
    assert term.ended.is_set()
    assert a.leader.leader == "b"


async def test_a_leader_whose_lease_ended_keeps_it_if_no_other_took_it(
    replicas: tuple[Replica, Replica],
) -> None:
    """Its epoch is the same, so that nothing else was stored in between."""
    a, _ = replicas
    epoch = await a.beat()
    await a.execute(END)

    assert await a.beat() == epoch


async def test_the_clock_of_the_server_is_put_back(
    replicas: tuple[Replica, Replica],
) -> None:
    """A leader that has ended before is replaced at once, one that lives renews."""
    a, b = replicas
    first = await a.beat()
    await a.execute("UPDATE leases SET until = until + interval '1 hour'")
    await a.execute("UPDATE replicas SET seen = seen + interval '1 hour'")
    second = await b.beat()
    assert first is not None
    assert second is not None
    assert second > first
    assert await b.beat() == second
    assert await a.beat() is None
    assert await b.beat() == second


async def test_a_flood_wait_that_is_over_is_forgotten(
    replicas: tuple[Replica, Replica],
) -> None:
    """It does not begin again when the server's clock is put back."""
    a, _ = replicas
    await a.beat()
    await a.execute("INSERT INTO shared VALUES ('flood', clock_timestamp())")
    await a.beat()
    await a.execute("UPDATE shared SET at = at + interval '1 hour'")
    await a.beat()
    assert a.beats[-1].flood_seconds == 0.0


async def test_a_lease_is_given_back(replicas: tuple[Replica, Replica]) -> None:
    """The others are woken, take it at once, and the first does not take it again."""
    a, b = replicas
    first = await a.beat()
    await b.beat()
    wake = Wake(source=b.store, listeners={"leader": LeaderWake(b.leader)})
    listening = asyncio.create_task(wake.run())
    async with asyncio.timeout(30):
        # That notifications arrive now is told like one.
        await b.leader.asked.wait()
        b.leader.take_waiting()
        await a.heartbeat.resign()
        await b.leader.asked.wait()
    second = await b.beat()
    await a.heartbeat.beat()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)

    assert first is not None
    assert second is not None
    assert second > first
    assert (a.epoch, a.leader.leader) == (None, "b")


class SlowStore:
    """A store whose first job runs when the test lets it."""

    def __init__(self, store: PostgresStore) -> None:
        self.go_on = asyncio.Event()
        self._store = store
        self._is_first = True

    async def run(self, job: Job[Any], **mode: bool) -> Any:
        """Run a job, the first one late."""
        if self._is_first:
            self._is_first = False
            await self.go_on.wait()
        return await self._store.run(job, **mode)


async def test_a_lease_that_is_taken_while_it_is_given_back(
    replicas: tuple[Replica, Replica],
) -> None:
    """A replica that stops does not keep the lease that its last heartbeat took."""
    a, b = replicas
    slow = SlowStore(a.store)
    a.heartbeat.store = slow  # type: ignore[assignment]
    late = asyncio.create_task(a.heartbeat.beat())
    await asyncio.sleep(0)
    await a.heartbeat.resign()
    slow.go_on.set()
    await late

    assert a.epoch is None
    assert await b.beat() is not None


async def test_another_bot_is_refused(replicas: tuple[Replica, Replica]) -> None:
    """While a replica of the first one works on the database."""
    a, b = replicas
    a.heartbeat.bot = 1
    await a.beat()
    await b.store.run(partial(bots.join, owner="b", bot=1))
    with pytest.raises(OperatorError, match="another bot, 1, uses this database"):
        await b.store.run(partial(bots.join, owner="c", bot=2))
    await a.execute("UPDATE replicas SET seen = seen - interval '11 s'")
    await b.store.run(partial(bots.join, owner="c", bot=2))
    with pytest.raises(OperatorError, match="another bot, 2, uses this database"):
        await a.store.run(partial(bots.join, owner="d", bot=1))


async def test_a_flood_wait_of_the_bot_is_shared(
    replicas: tuple[Replica, Replica],
) -> None:
    """By notifications at once, without them by heartbeats."""
    a, b = replicas
    wake = Wake(
        source=b.store, listeners={"flood": b.shared, "leader": LeaderWake(b.leader)}
    )
    listening = asyncio.create_task(wake.run())
    async with asyncio.timeout(30):
        await b.leader.asked.wait()
        a.floods.record(7, 30.0)
        b.floods.record(8, 30.0)
        while not _waits(b.floods, 7):
            await asyncio.sleep(0.01)
        # The third chat within seconds, at two replicas.
        b.floods.record(9, 30.0)
        while not a.beats or not a.beats[-1].flood_seconds:
            await a.beat()
            await asyncio.sleep(0.01)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    for each in replicas:
        await each.shared.close()

    assert _waits(a.floods, 99)
    assert _waits(b.floods, 99)


async def test_a_database_that_gives_no_answer(
    replicas: tuple[Replica, Replica],
) -> None:
    """The error is known until it answers again; the lease is kept meanwhile."""
    a, _ = replicas
    epoch = await a.beat()
    await a.execute("ALTER TABLE leases RENAME TO gone")
    await a.heartbeat.beat()
    assert "leases" in (a.heartbeat.error or "")
    assert a.epoch == epoch
    await a.execute("ALTER TABLE gone RENAME TO leases")

    assert await a.beat() == epoch


def _waits(floods: FloodControl, chat_id: int) -> bool:
    try:
        floods.check(chat_id)
    except FloodWaitError:
        return True
    return False
