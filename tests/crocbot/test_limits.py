"""Limits: what is counted, by whom, in which window, and what a crash leaves."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot import leases, limits
from crocbot.database_url import DatabaseUrl
from crocbot.leases import Lease
from crocbot.limits import DAY, MINUTE, SLOT_SECONDS, Limits, Refusal, take
from crocbot.replicas.limits import SharedLimits
from crocbot.store import Connection
from crocbot.turn_outcomes import Limit
from tests.crocbot.databases import Database, PostgresDatabase
from tests.crocbot.fakes import FakeClocks
from tests.postgresql import Cluster

ADA, EVE = 7, 8
HERE, EPOCH = 7, 3


class Scene:
    """Limits in a file, clocks that a test sets, and messages with new ids."""

    def __init__(self, limits_: Limits, clocks: FakeClocks, ids: count[int]) -> None:
        self.limits = limits_
        self.clocks = clocks
        self.ids = ids

    async def send(self, person: int = ADA) -> Limit | None:
        """Send one message; return the limit that refuses it."""
        refusal = await self.limits.take(person, [next(self.ids)])
        return None if refusal is None else refusal.limit

    async def spend(self, tokens: int) -> None:
        """Let an answer to ADA take tokens."""
        for each in self.limits.used(ADA, tokens):
            await self.limits.store.run(each)

    async def rows(self, table: str, condition: str = "true") -> int:
        """Return the number of rows of a table."""
        (found,) = await self.limits.store.run(
            lambda each: each.execute(
                f"SELECT count(*) FROM {table} WHERE {condition}"
            ).fetchone()
        )
        return int(found)

    async def slots(self) -> int:
        """Return the number of slots of windows."""
        return await self.rows("limit_slots", "seconds > 0")


@asynccontextmanager
async def opened(
    database: Database,
    maximums: Mapping[Limit, int],
    clocks: FakeClocks | None = None,
    first_id: int = 1,
) -> AsyncIterator[Scene]:
    """Open the limits of a database, as a new process does; of replicas, in a turn."""
    clocks = clocks or FakeClocks()
    async with database.store([limits.SCHEMA], clocks) as store:
        if not isinstance(database, PostgresDatabase):
            yield Scene(Limits(store, maximums), clocks, count(first_id))
            return
        await store.run(hold)
        with leases.working_under(Lease(HERE, EPOCH, leases.now() + DAY)):
            yield Scene(SharedLimits(store, maximums), clocks, count(first_id))


def hold(connection: Connection) -> None:
    """Make the lease of a chat."""
    connection.execute(
        "INSERT INTO chats (chat, owner, epoch, waiting_since) VALUES (?, 'me', ?, 0)"
        " ON CONFLICT (chat) DO NOTHING",
        (HERE, EPOCH),
    )


@pytest.mark.parametrize(
    ("limit", "others", "seconds"),
    [
        (Limit.PERSON_MINUTE, None, MINUTE),
        (Limit.PERSON_DAY, None, DAY),
        (Limit.ALL_MINUTE, Limit.ALL_MINUTE, MINUTE),
        (Limit.ALL_DAY, Limit.ALL_DAY, DAY),
    ],
)
async def test_messages(
    database: Database, limit: Limit, others: Limit | None, seconds: int
) -> None:
    """After the last message of a window there is none until the window has passed."""
    async with opened(database, {limit: 3}) as scene:
        first = [await scene.send() for _ in range(5)]
        other = await scene.send(EVE)
        scene.clocks.run(seconds - SLOT_SECONDS[seconds])
        before = await scene.send()
        scene.clocks.run(2 * SLOT_SECONDS[seconds])
        after = [await scene.send() for _ in range(4)]

    assert first == [None] * 3 + [limit] * 2
    assert other is others
    assert before is limit
    assert after == [None] * 3 + [limit]


@pytest.mark.parametrize(
    ("limit", "others"),
    [
        (Limit.PERSON_DAY_TOKENS, None),
        (Limit.ALL_DAY_TOKENS, Limit.ALL_DAY_TOKENS),
    ],
)
async def test_tokens(database: Database, limit: Limit, others: Limit | None) -> None:
    """A message is refused once the tokens are used up, and not before."""
    async with opened(database, {limit: 1000}) as scene:
        await scene.spend(999)
        before = await scene.send()
        await scene.spend(1)
        after = await scene.send()
        other = await scene.send(EVE)
        scene.clocks.run(DAY + SLOT_SECONDS[DAY])
        later = await scene.send()

    assert (before, after, other, later) == (None, limit, others, None)


async def test_an_agent_that_reports_no_tokens(database: Database) -> None:
    """It counts as 0, however many answers there are."""
    async with opened(database, {Limit.PERSON_DAY_TOKENS: 1}) as scene:
        for _ in range(3):
            assert await scene.send() is None
            await scene.spend(0)


async def test_no_limit(database: Database) -> None:
    """Without a limit nothing is counted, and nothing is written."""
    async with opened(database, {}) as scene:
        assert [await scene.send() for _ in range(3)] == [None] * 3
        await scene.spend(5)
        assert await scene.slots() == 0
        assert await scene.rows("limit_updates") == 0


async def test_a_refused_message_counts_for_no_limit(database: Database) -> None:
    """What a person sends beyond their share takes nothing from the others."""
    maximums = {Limit.PERSON_DAY: 2, Limit.ALL_DAY: 3}
    async with opened(database, maximums) as scene:
        own = [await scene.send() for _ in range(10)]
        others = [await scene.send(EVE) for _ in range(2)]

    assert own == [None] * 2 + [Limit.PERSON_DAY] * 8
    assert others == [None, Limit.ALL_DAY]


async def test_at_the_same_time(database: Database) -> None:
    """64 chats that ask at once exceed no limit together."""
    maximums = {Limit.ALL_MINUTE: 20, Limit.PERSON_MINUTE: 2}
    async with opened(database, maximums) as scene:
        found = await asyncio.gather(
            *(scene.send(person) for person in range(1, 65) for _ in range(3))
        )

    assert found.count(None) == 20


async def test_replicas_at_the_same_time(cluster: Cluster, template: str) -> None:
    """Chats of several replicas that write at once do not exceed a limit together."""
    url = cluster.create_database(template)
    database = PostgresDatabase(DatabaseUrl.parse(url))
    maximums = {Limit.ALL_DAY: 100}
    async with opened(database, maximums) as one, opened(database, maximums) as two:
        found = await asyncio.gather(
            *(
                replica.limits.take(person, [4 * person + copy])
                for person in range(1, 65)
                for copy, replica in enumerate((one, two, one, two))
            )
        )
    cluster.drop_database(url)

    assert found.count(None) == 100
    assert {each.limit for each in found if each} == {Limit.ALL_DAY}


async def test_a_row_that_is_tried_again(database: Database) -> None:
    """A message is counted once, and is not refused because of its own count."""
    clocks = FakeClocks()
    async with opened(database, {Limit.PERSON_DAY: 1}, clocks) as scene:
        assert await scene.limits.take(ADA, [5, 6]) is None
    async with opened(database, {Limit.PERSON_DAY: 1}, clocks) as scene:
        again = await scene.limits.take(ADA, [5, 6])
        a_part = await scene.limits.take(ADA, [6])
        other = await scene.send()

    assert (again, a_part, other) == (None, None, Limit.PERSON_DAY)


@pytest.mark.parametrize("wall", [-(10**6), 0, 10**9])
async def test_a_restart_with_another_time(database: Database, wall: float) -> None:
    """No step of the system's clock opens a limit before its time, or for ever."""
    clocks = FakeClocks(10.0**9)
    async with opened(database, {Limit.PERSON_DAY: 1}, clocks) as scene:
        assert await scene.send() is None
    clocks.wall += wall
    clocks.run(10)
    async with opened(database, {Limit.PERSON_DAY: 1}, clocks, 100) as scene:
        soon = await scene.send()
        clocks.wall -= 2 * wall
        clocks.run(DAY + SLOT_SECONDS[DAY])
        later = await scene.send()

    assert (soon, later) == (Limit.PERSON_DAY, None)


@pytest.mark.parametrize(
    ("maximums", "wait"),
    [
        ({Limit.PERSON_MINUTE: 1}, 61),
        ({Limit.PERSON_MINUTE: 2}, 31),
        ({Limit.PERSON_DAY: 1, Limit.PERSON_MINUTE: 5}, DAY + 300),
    ],
)
async def test_the_time_until_there_is_space(
    database: Database, maximums: Mapping[Limit, int], wait: float
) -> None:
    """It is that of the oldest message that must leave the window first."""
    clocks = FakeClocks(float(10 * DAY))
    async with opened(database, maximums, clocks) as scene:
        await scene.limits.take(ADA, [1])
        clocks.run(30)
        refused = [await scene.limits.take(ADA, [each]) for each in (2, 3)]

    found = [each.wait_seconds for each in refused if each is not None]
    assert found[-1] == pytest.approx(
        wait if maximums.get(Limit.PERSON_MINUTE) == 2 else wait - 30
    )


@given(
    gaps=st.lists(st.sampled_from([0.0, 0.3, 1.0, 7.0, 20.0, 59.5, 61.0]), max_size=60),
    maximum=st.integers(1, 5),
)
def test_no_minute_has_more_messages(gaps: list[float], maximum: int) -> None:
    """Wherever a minute begins, it has at most as many messages as the limit."""
    now, admitted = 1000.0, []
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(limits.SCHEMA)
        for update_id, gap in enumerate(gaps):
            now += gap
            refusal = take(
                connection,
                person=ADA,
                update_ids=[update_id],
                maximums={Limit.PERSON_MINUTE: maximum},
                now=now,
                trim=False,
            )
            recent = [each for each in admitted if now - each <= MINUTE]
            if refusal is None:
                admitted.append(now)
                assert len(recent) < maximum
            else:
                assert isinstance(refusal, Refusal)
                # Refused only because of messages of this minute, or of its first slot.
                assert len([each for each in admitted if now - each <= 61]) >= maximum
                assert 0 < refusal.wait_seconds <= 61


async def test_the_tables_are_bounded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A million ids make no more rows than a hundred; the limit of all stands."""
    monkeypatch.setattr(limits, "MAX_PERSON_SLOTS", 50)
    monkeypatch.setattr(limits, "MAX_COUNTED_UPDATES", 40)
    monkeypatch.setattr(limits, "TRIM_EVERY", 10)
    maximums = {Limit.PERSON_DAY: 1, Limit.ALL_DAY: 300}
    async with opened(database, maximums) as scene:
        found = [await scene.send(person) for person in range(1, 401)]
        slots, updates = (
            await scene.slots(),
            await scene.rows("limit_updates"),
        )

    assert found == [None] * 300 + [Limit.ALL_DAY] * 100
    assert slots <= 50 + 11 + 1
    assert updates <= 40 + 11


async def test_old_counts_are_deleted(database: Database) -> None:
    """Counts that no window has any more leave the file."""
    async with opened(database, {Limit.PERSON_DAY: 5, Limit.ALL_MINUTE: 500}) as scene:
        for person in range(1, 101):
            await scene.send(person)
        before = await scene.slots()
        scene.clocks.run(2 * DAY)
        await scene.send()
        after = await scene.slots()

    assert before >= 101
    assert after == 2
