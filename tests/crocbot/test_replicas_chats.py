"""Several replicas in one process share the chats of a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Any

import pytest

from crocbot import leases, leases_sql
from crocbot.chat_moves import ChatMoves
from crocbot.database_url import DatabaseUrl
from crocbot.dispatcher import Dispatcher
from crocbot.errors import LeaderLostError, LeaseLostError
from crocbot.inbox import KeptReplies, postgresql
from crocbot.inbox.postgresql import Arrival
from crocbot.model import (
    ChatThread,
    Disposition,
    Exchange,
    Outcome,
    RawUpdate,
    Reply,
    Row,
    Usage,
)
from crocbot.outgoing import SentSteps
from crocbot.pairing import Pairings
from crocbot.replica_events import LeaseLost, WriteRefused
from crocbot.replicas import chats
from crocbot.replicas import held as held_chats
from crocbot.replicas.chats import ChatLeases
from crocbot.replicas.held import HeldChats
from crocbot.replicas.inbox import LeasedInbox
from crocbot.sessions import Sessions
from crocbot.store.postgresql import PostgresStore
from tests.crocbot.database_sessions import DEADLINE_SECONDS, POLL_SECONDS
from tests.crocbot.fakes import RecordedEvents
from tests.crocbot.test_dispatcher import FakeSessions
from tests.postgresql import MISSING, Cluster, find_programs


def update(update_id: int, chat: int, **message: Any) -> RawUpdate:
    """Return a message in a chat."""
    content = {"chat": {"id": chat}, "message_id": update_id, "text": "x"} | message
    return {"update_id": update_id, "message": content}


class World:
    """What all replicas of a test did, in the order in which they did it."""

    def __init__(self, url: DatabaseUrl) -> None:
        self.url = url
        self.sent: list[int] = []
        self.closed: list[int] = []
        self.replicas: list[Replica] = []
        self.gates: dict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.gated = True
        self.cut: set[int] = set()
        self.chat_of: dict[int, int] = {}

    async def query(self, sql: str) -> Any:
        """Return the rows that SQL finds."""
        return await self.store.run(lambda each: each.execute(sql).fetchall())

    async def expire(self, replica: Replica) -> None:
        """Let all leases of a replica end, in the database and in its memory."""
        for held in replica.chats:
            held.lease.until = leases.now()
        await self.query(
            "UPDATE chats SET until = now() - interval '1 second'"
            f" WHERE owner = '{replica.chats.owner}' RETURNING 1"
        )

    async def add(self, **options: Any) -> Replica:
        """Start a replica."""
        replica = Replica(self, f"r{len(self.replicas)}", **options)
        self.replicas.append(replica)
        await replica.start()
        return replica

    @property
    def store(self) -> PostgresStore:
        """Return the connection of the test itself."""
        return next(each.store for each in self.replicas if not each.ended)

    async def until(self, sql: str, expected: Any) -> None:
        """Wait until a query finds what is expected."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (found := await self.query(sql)) != expected:
            assert time.monotonic() < deadline, (found, expected)
            await asyncio.sleep(POLL_SECONDS)

    async def until_closed(self, *update_ids: int) -> None:
        """Wait until these rows, and no other ones, were closed, in this order."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.closed != list(update_ids):
            assert time.monotonic() < deadline, self.closed
            await asyncio.sleep(POLL_SECONDS)


class Replica:
    """One replica: its store, its leases, its dispatcher, and turns that do little."""

    def __init__(self, world: World, owner: str, *, max_turns: int = 4) -> None:
        self.world = world
        self.events = RecordedEvents()
        self.store = PostgresStore(world.url)
        self.chats = HeldChats(owner, self.events)
        self.inbox = LeasedInbox(self.store, self.events, chats=self.chats)
        self.arrivals = self
        self.running: set[int] = set()
        self.abandoned: list[int] = []
        moves = ChatMoves(FakeSessions(), {}, RecordedEvents())  # type: ignore[arg-type]
        self.dispatcher = Dispatcher(
            inbox=self.inbox,
            runner=self,  # type: ignore[arg-type]
            events=self.events,
            moves=moves,
            max_turns=max_turns,
            max_queued=4 * max_turns,
            max_queued_few_chats=10 * max_turns,
            calm_seconds=0.0,
        )
        self.leases = ChatLeases(
            store=self.store,
            chats=self.chats,
            worker=self.dispatcher,
            events=self.events,
            max_rows=1000,
            max_chats=1000,
        )
        self.loop: asyncio.Task[None] | None = None
        self.ended = False

    async def start(self) -> None:
        await self.store.__aenter__()
        self.loop = asyncio.create_task(self.leases.run())

    async def pause(self) -> None:
        """End the task that renews leases, claims and loads."""
        assert self.loop is not None
        self.loop.cancel()
        await asyncio.gather(self.loop, return_exceptions=True)

    async def kill(self) -> None:
        """End at once, and give nothing back."""
        self.ended = True
        await self.pause()
        # Their rows may be closed without that being noted here.
        self.world.cut |= self.running
        for held in self.chats:
            held.lease.lose()
        await self.dispatcher.drain(0)
        await self.inbox.__aexit__()
        await self.store.__aexit__()

    async def stop(self) -> None:
        """End orderly."""
        self.ended = True
        self.leases.stop_claiming()
        self.world.cut |= self.running
        await self.dispatcher.drain(0)
        await self.pause()
        await self.leases.release_all()
        await self.inbox.__aexit__()
        await self.store.__aexit__()

    async def accept(self, *updates: RawUpdate, leader: int | None = None) -> list[int]:
        for each in updates:
            self.world.chat_of[each["update_id"]] = each["message"]["chat"]["id"]
        accepted = await self.dispatcher.accept(updates, leader=leader)
        return [row.update_id for row in accepted.rows]

    def accepted(self, rows: Sequence[Row]) -> None:
        pass

    def abandon(self, rows: Sequence[Row]) -> None:
        self.abandoned += [row.update_id for row in rows]

    async def run(self, rows: Sequence[Row], *, overtaken: bool) -> bool:
        update_ids = [row.update_id for row in rows]
        try:
            await self.inbox.begin(rows)
        except LeaseLostError:
            return False
        self.running.update(update_ids)
        try:
            if self.world.gated:
                await self.world.gates[update_ids[0]].wait()
            else:
                await asyncio.sleep(random.random() * 0.01)
            if not await leases.confirm():
                return False
            self.world.sent += update_ids
            outcome = Outcome(Disposition.ANSWERED, update_ids=tuple(update_ids))
            if await self.inbox.close_rows(outcome):
                self.world.closed += update_ids
        finally:
            self.running.difference_update(update_ids)
        return False


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew and look often."""
    monkeypatch.setattr(chats, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(chats, "POLL_SECONDS", 0.05)


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """Return a world with a database and no replica."""
    made = World(DatabaseUrl.parse(database_url))
    yield made
    for replica in made.replicas:
        if not replica.ended:
            await replica.kill()


async def until_running(replica: Replica, *update_ids: int) -> None:
    """Wait until the turns of these rows run."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while replica.running != set(update_ids):
        assert time.monotonic() < deadline, replica.running
        await asyncio.sleep(POLL_SECONDS)


async def test_a_chat_is_worked_and_given_back(world: World) -> None:
    """The row of a chat goes when the chat is empty."""
    replica = await world.add()
    assert await replica.accept(update(1, 7), update(2, 7), update(1, 7)) == [1, 2]
    world.gates[1].set()
    world.gates[2].set()
    await world.until_closed(1, 2)
    await world.until("SELECT count(*) FROM chats", [(0,)])
    assert len(replica.chats) == 0


async def test_a_row_for_a_chat_of_another_replica(world: World) -> None:
    """It is worked by the replica that holds the chat, after the rows before it."""
    first, second = await world.add(), await world.add()
    await first.accept(update(1, 7))
    await until_running(first, 1)
    await second.accept(update(2, 7))
    world.gates[1].set()
    await until_running(first, 2)
    assert second.running == set()
    world.gates[2].set()
    await world.until_closed(1, 2)


async def test_chats_are_shared_when_turns_are_busy(world: World) -> None:
    """A replica takes no more chats than it has turns; others take the rest."""
    first, second = await world.add(max_turns=1), await world.add(max_turns=2)
    await first.accept(update(1, 7), update(2, 8), update(3, 9))
    await until_running(second, 2, 3)
    assert first.running == {1}


async def test_the_chats_of_a_replica_that_was_killed(world: World) -> None:
    """Another replica works its rows, and counts the turn that was running."""
    first, second = await world.add(), await world.add()
    await first.accept(update(1, 7), update(2, 7))
    await until_running(first, 1)
    await first.pause()
    await world.expire(first)
    await until_running(second, 1)
    found = await world.query("SELECT update_id, tries FROM rows ORDER BY 1")
    assert found == [(1, 1), (2, 0)]


async def test_late_writes_of_a_replica_that_was_paused(world: World) -> None:
    """It neither closes the row nor remembers the turn, and sends nothing."""
    first, second = await world.add(), await world.add()
    await first.accept(update(1, 7))
    await until_running(first, 1)
    lease = first.chats.lease(7)
    await first.pause()
    await world.expire(first)
    await until_running(second, 1)
    sessions = Sessions(first.store, turns=10, chars=1000)
    kept = KeptReplies(first.store)
    outcome = Outcome(Disposition.ANSWERED, update_ids=(1,))
    with leases.working_under(lease):
        with pytest.raises(LeaseLostError):
            await sessions.remember(ChatThread(7), Exchange("a", "b"), Usage())
        with pytest.raises(LeaseLostError):
            await kept.keep(1, Reply("x"), SentSteps())
        assert await first.inbox.close_rows(outcome) == 0
        assert not await leases.confirm()
    assert first.events.of_type(WriteRefused) == [WriteRefused()]
    assert first.events.of_type(LeaseLost) == [LeaseLost()]
    assert await world.query("SELECT count(*) FROM exchanges") == [(0,)]
    world.gates[1].set()
    await world.until_closed(1)
    assert (world.sent, first.abandoned) == ([1], [1])


async def test_an_approval_is_read_when_a_turn_begins(world: World) -> None:
    """It holds for the decision of this turn, and every later one asks again."""
    replica = await world.add()
    pairings = Pairings(replica.store)

    async def paired(update_id: int) -> list[bool]:
        await replica.accept(update(update_id, 7))
        await until_running(replica, update_id)
        with leases.working_under(replica.chats.lease(7)):
            found = [await pairings.is_paired(7)]
            await world.query("DELETE FROM pairings RETURNING 1")
            found.append(await pairings.is_paired(7))
        world.gates[update_id].set()
        await until_running(replica)
        return found

    await world.query(
        "INSERT INTO pairings (user_id, asked, told, approved)"
        " VALUES (7, 0, 0, 0) RETURNING 1"
    )
    assert await paired(1) == [True, False]
    assert await paired(2) == [False, False]


async def test_a_new_lease_is_not_renewed_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that is answered at once costs no renewal; a longer turn is renewed."""
    replica = await world.add()
    await replica.pause()
    await replica.accept(update(1, 7))
    until = "SELECT until FROM chats"
    begun = await world.query(until)
    monkeypatch.setattr(chats, "RENEW_SECONDS", 60.0)
    await replica.leases.renew()
    assert await world.query(until) == begun
    monkeypatch.setattr(chats, "RENEW_SECONDS", 0.0)
    await replica.leases.renew()
    assert await world.query(until) > begun


async def test_a_replica_that_was_paused_goes_on_if_it_can(world: World) -> None:
    """If no other replica took the chat, its turn goes on, and is not run again."""
    replica = await world.add()
    await replica.accept(update(1, 7))
    await until_running(replica, 1)
    await replica.pause()
    await world.expire(replica)
    world.gates[1].set()
    await asyncio.sleep(0)
    assert world.sent == []
    replica.loop = asyncio.create_task(replica.leases.run())
    await world.until_closed(1)
    assert world.sent == [1]


async def test_a_lost_chat_is_not_taken_while_its_old_turn_runs(world: World) -> None:
    """A replica that gets the chat back waits until its turn of it has ended."""
    first, second = await world.add(), await world.add()
    await first.accept(update(1, 7))
    await until_running(first, 1)
    await second.pause()
    held = first.chats.get(7)
    assert held is not None
    held.lease.enter()
    first.chats.lose(held)
    await world.expire(first)
    await world.query(
        "UPDATE chats SET until = now() - interval '1 second' RETURNING 1"
    )
    await first.accept(update(2, 7), update(3, 8))
    await until_running(first, 3)
    assert first.chats.get(7) is None
    held.lease.leave()
    await until_running(first, 1, 3)


async def test_an_orderly_stop_gives_chats_back(world: World) -> None:
    """Their turns do not count as crashes, and another replica takes them at once."""
    first = await world.add()
    await first.accept(update(1, 7), update(2, 8))
    await until_running(first, 1, 2)
    second = await world.add()
    await first.stop()
    await until_running(second, 1, 2)
    found = await world.query("SELECT sum(tries) FROM rows")
    assert found == [(0,)]


async def test_chats_that_a_replica_does_not_know_of_are_given_back(
    world: World,
) -> None:
    """As of a claim that was cancelled here, and was done nevertheless."""
    first = await world.add()
    await first.pause()
    await first.store.run(partial(leases_sql.touch, chats=[7]))
    await first.store.run(partial(leases_sql.claim, owner="r0", limit=1), atomic=False)
    second = await world.add(max_turns=0)
    await first.stop()

    assert not second.dispatcher.free_turns
    assert await world.query("SELECT chat, owner FROM chats") == [(7, None)]


async def test_rows_that_a_bug_left_open_wait_for_the_end(world: World) -> None:
    """They are not tried again by this process, and later rows of the chat go on."""
    first = await world.add()
    run = first.run

    async def run_or_fail(rows: Sequence[Row], *, overtaken: bool) -> bool:
        await first.inbox.begin(rows)
        if rows[0].update_id == 1:
            raise ValueError("a bug")
        return await run(rows, overtaken=overtaken)

    first.run = run_or_fail  # type: ignore[method-assign]
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    world.gated = False
    await first.accept(update(1, 7), update(2, 7))
    await world.until_closed(2)
    second = await world.add()
    await world.until(
        "SELECT owner, epoch = last_value FROM chats, lease_epochs", [("r0", True)]
    )
    await first.stop()
    await world.until_closed(2, 1)
    assert (world.sent, second.running) == ([2, 1], set())


async def test_updates_whose_storing_was_not_confirmed(world: World) -> None:
    """Stored twice, because no answer came, they are worked by the replica at once."""
    replica = await world.add()
    given = [Arrival(update(each, 7), 7, claims=True) for each in (1, 2)]
    await replica.store.run(
        partial(postgresql.accept, arrivals=given, owner=replica.chats.owner),
        atomic=False,
    )
    world.gated = False
    assert await replica.accept(update(1, 7), update(2, 7), update(3, 7)) == [3]
    await world.until_closed(1, 2, 3)


async def test_a_lease_whose_begin_is_not_known(world: World) -> None:
    """It may end soon in the database, so nothing is sent before it is renewed."""
    replica = await world.add()
    await replica.pause()
    await replica.store.run(
        partial(
            postgresql.accept,
            arrivals=[Arrival(update(1, 7), 7, claims=True)],
            owner=replica.chats.owner,
        ),
        atomic=False,
    )
    await replica.accept(update(1, 7), update(2, 8))
    assert [replica.chats.lease(each).held for each in (7, 8)] == [False, True]  # type: ignore[union-attr]
    world.gated = False
    replica.loop = asyncio.create_task(replica.leases.run())
    await until_sent(world, 1, 2)


async def until_sent(world: World, *update_ids: int) -> None:
    """Wait until these rows were answered."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while set(world.sent) != set(update_ids):
        assert time.monotonic() < deadline, world.sent
        await asyncio.sleep(POLL_SECONDS)


async def test_a_replica_does_not_take_its_own_chat(world: World) -> None:
    """Its lease has ended, since it was paused: its turn goes on, and is no crash."""
    replica = await world.add()
    await replica.accept(update(1, 7), update(2, 8))
    await until_running(replica, 1, 2)
    await replica.pause()
    await world.expire(replica)
    lease = replica.chats.lease(7)
    replica.leases.woken(["9"])
    await replica.leases.work()
    assert replica.chats.lease(7) is lease
    assert await world.query("SELECT sum(tries) FROM rows") == [(0,)]


async def test_a_late_answer_is_an_outage(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other replicas had none either: they renew their leases first."""
    first, second = await world.add(), await world.add()
    await first.accept(update(1, 7))
    await until_running(first, 1)
    await first.pause()
    await second.pause()
    await second.leases.work()
    await world.expire(first)
    run = second.store.run

    async def run_late(job: Any, **options: Any) -> Any:
        result = await run(job, **options)
        await asyncio.sleep(0.3)
        return result

    with monkeypatch.context() as patch:
        patch.setattr(chats, "OUTAGE_SECONDS", 0.2)
        patch.setattr(second.store, "run", run_late)
        second.leases.woken([])
        await second.leases.work()
    assert second.chats.get(7) is None


async def test_a_caller_that_is_cancelled_delays_no_other(world: World) -> None:
    """What it wanted to store is stored, and so is what comes after it."""
    replica = await world.add()
    async with replica.inbox._accept_lock:  # noqa: SLF001
        calls = [
            asyncio.create_task(replica.inbox.accept([update(each, 7)], leader=leader))
            for each, leader in ((1, 3), (2, None))
        ]
        await asyncio.sleep(0)
        calls[0].cancel()
    accepted = await asyncio.wait_for(calls[1], DEADLINE_SECONDS)
    assert [row.update_id for row in accepted.rows] == [2]


async def test_only_the_leader_stores_what_it_polled(world: World) -> None:
    """Nothing is stored, and the error is none of the database."""
    replica = await world.add()
    with pytest.raises(LeaderLostError):
        await replica.accept(update(1, 7), leader=3)
    assert replica.inbox.error is None
    assert await world.query("SELECT count(*) FROM rows") == [(0,)]


async def test_requests_at_once_share_a_statement(world: World) -> None:
    """Each caller gets its own new rows, and its duplicates get none."""
    replica = await world.add()
    calls = [replica.accept(update(each % 5, each % 3)) for each in range(20)]
    found = await asyncio.gather(*calls)
    assert sorted(each for rows in found for each in rows) == [0, 1, 2, 3, 4]


async def test_a_chat_with_more_rows_than_fit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are loaded part by part, in order."""
    monkeypatch.setattr(held_chats, "MAX_ROWS", 10)
    world.gated = False
    replica = await world.add(max_turns=1)
    await replica.accept(*(update(each, 7) for each in range(100)))
    assert replica.dispatcher.queued <= 10
    await world.until_closed(*range(100))


async def test_intake_waits_while_the_database_has_many_rows(world: World) -> None:
    """A replica stores nothing more until others have worked what waits."""
    replica = await world.add(max_turns=1)
    replica.leases._max_chats = 1  # noqa: SLF001
    await replica.accept(*(update(each, each) for each in range(4)))
    await until_running(replica, 0)
    waiting = asyncio.create_task(replica.leases.wait_for_room())
    deadline = time.monotonic() + DEADLINE_SECONDS
    while waiting.done():
        assert time.monotonic() < deadline
        await asyncio.sleep(POLL_SECONDS)
        waiting = asyncio.create_task(replica.leases.wait_for_room())
    for each in range(4):
        world.gates[each].set()
    assert await waiting > 0


SEEDS = range(6)


@pytest.mark.parametrize("seed", SEEDS)
async def test_every_row_is_closed_once_and_in_order(world: World, seed: int) -> None:
    """Whatever replicas do: store at once, crash, pause, stop, start."""
    chance, world.gated = random.Random(seed), False
    observer = await world.add()
    live = [observer, *[await world.add(max_turns=chance.randint(1, 4)) for _ in "ab"]]
    next_id = 0
    for _ in range(60):
        replica = chance.choice(live)
        action = chance.random()
        if action < 0.75:
            count = chance.randint(1, 6)
            ids = range(next_id, next_id + count)
            next_id += count
            updates = [update(each, chance.randrange(6)) for each in ids]
            takers = chance.sample(live, chance.choice([1, 1, 2]))
            await asyncio.gather(*(each.accept(*updates) for each in takers))
        elif action < 0.85:
            await world.expire(replica)
        elif action < 0.92 and replica is not observer:
            live.remove(replica)
            await replica.kill()
            await world.expire(replica)
            live.append(await world.add(max_turns=chance.randint(1, 4)))
        elif replica is not observer:
            live.remove(replica)
            await replica.stop()
            live.append(await world.add(max_turns=chance.randint(1, 4)))
        await asyncio.sleep(chance.random() * 0.05)
    await world.until("SELECT count(*) FROM rows WHERE disposition IS NULL", [(0,)])
    await world.until("SELECT count(*) FROM chats", [(0,)])
    ledger = dict(await world.query("SELECT line, count FROM ledger"))
    assert ledger["accepted"] == ledger["answered"] == next_id
    assert len(world.closed) == len(set(world.closed))
    assert set(range(next_id)) - set(world.closed) <= world.cut
    found = await world.query("SELECT update_id FROM rows ORDER BY seq")
    order = [each for (each,) in found]
    for log in (world.closed, list(dict.fromkeys(world.sent))):
        for chat in range(6):
            of_chat = [each for each in log if world.chat_of[each] == chat]
            assert of_chat == [each for each in order if each in of_chat]


STATEMENT = re.compile(r"LOG:  (statement|execute [^:]*):")
MAX_STATEMENTS = 6


@pytest.mark.parametrize("max_turns", [4, 0])
async def test_statements_a_message(
    monkeypatch: pytest.MonkeyPatch, max_turns: int
) -> None:
    """At most 6, BEGIN and COMMIT among them, also if another replica works it."""
    if find_programs() is None:
        pytest.skip(MISSING)
    monkeypatch.setattr(chats, "RENEW_SECONDS", 1e6)
    monkeypatch.setattr(chats, "POLL_SECONDS", 1e6)
    with Cluster(settings={"log_statement": "all"}) as cluster:
        made = World(DatabaseUrl.parse(cluster.create_database()))
        made.gated = False
        first, second = await made.add(max_turns=max_turns), await made.add()
        count, before = 20, len(STATEMENT.findall(cluster.log))
        for each in range(count):
            await first.accept(update(each, each))
            if not max_turns:
                second.leases.woken([str(each)])
            await made.until_closed(*range(each + 1))
        for replica in (first, second):
            await replica.pause()
            monkeypatch.setattr(chats, "POLL_SECONDS", 0.0)
            replica.leases.woken([])
            await replica.leases.work()
        assert len(first.chats) + len(second.chats) == 0
        # Each replica has looked once.
        statements = len(STATEMENT.findall(cluster.log)) - before
        for replica in (first, second):
            await replica.kill()
    assert statements / count <= MAX_STATEMENTS
    print(f"statements a message: {statements / count:.1f}")
