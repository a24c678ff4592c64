"""Rows under leases: what the dispatcher drops, and what it takes."""

from __future__ import annotations

from dataclasses import replace

from crocbot import leases
from crocbot.leases import Lease
from crocbot.model import Row
from tests.crocbot.test_dispatcher import FakeTurns, row, settle


def leased(update_id: int, lease: Lease, tries: int = 0) -> Row:
    """Return a row of the chat of a lease."""
    return replace(row(update_id, lease.chat), lease=lease, tries=tries)


def new_lease(chat: int = 7) -> Lease:
    """Return a lease that does not end."""
    return Lease(chat, 1, until=leases.now() + 1e6)


class LeasedTurns(FakeTurns):
    """Turns that note the lease under which each of them runs."""

    async def run(self, rows: object, *, overtaken: bool) -> bool:
        self.seen = [*getattr(self, "seen", []), leases.current()]
        return await super().run(rows, overtaken=overtaken)  # type: ignore[arg-type]


async def test_rows_count_in_and_out_of_their_lease() -> None:
    """A lease has users as long as a row of its chat is here."""
    world, lease = FakeTurns(), new_lease()
    await world.enqueue(leased(1, lease), leased(2, lease))
    assert lease.users == 2
    await world.finish(1)
    assert lease.users == 1
    await world.finish(2)
    assert (lease.users, lease.idle.is_set()) == (0, True)


async def test_a_turn_works_under_the_lease_of_its_rows() -> None:
    """What a turn sends or writes is under the lease of its chat, and no other one."""
    world, first, second = LeasedTurns(), new_lease(), new_lease(8)
    await world.enqueue(leased(1, first), leased(2, second))
    await world.finish(1, 2)
    assert world.seen == [first, second]
    assert leases.current() is None


async def test_a_chat_that_is_lost_is_dropped() -> None:
    """Its turn is cancelled and its rows leave, none of them closed."""
    world, lease = FakeTurns(), new_lease()
    await world.enqueue(leased(1, lease), leased(2, lease), row(3, 8))
    world.dispatcher.abandon(7)
    await settle()
    assert sorted(world.abandoned) == [1, 2]
    assert (world.begun, world.cancelled) == ([1, 3], [])
    assert (lease.users, world.dispatcher.queued, world.running) == (0, 1, 1)
    again = new_lease()
    await world.enqueue(leased(2, again))
    await world.finish(2, 3)
    assert world.finished == [2, 3]
    world.assert_idle()


async def test_a_turn_that_ignores_its_cancellation_keeps_its_lease() -> None:
    """A chat that is lost has users until its turn has really ended."""
    world, lease = FakeTurns(), new_lease()
    world.ignores_cancellation = True
    await world.enqueue(leased(1, lease), leased(2, lease))
    world.dispatcher.abandon(7)
    await settle()
    assert lease.users == 1
    assert not await world.stop(7)
    await world.finish(1)
    assert (lease.users, world.begun) == (0, [1])
    world.assert_idle()


async def test_a_chat_that_is_lost_before_its_task_began() -> None:
    """Rows that were queued in the same step are dropped as well."""
    world, lease = FakeTurns(), new_lease()
    world.dispatcher.enqueue([leased(1, lease)])
    world.dispatcher.abandon(7)
    await settle()
    assert (lease.users, world.begun) == (0, [])
    world.assert_idle()


async def test_a_stopped_chat_that_is_lost_ends_once() -> None:
    """The loss of a chat does not interrupt the closing of a turn that was stopped."""
    world, lease = FakeTurns(), new_lease()
    world.closing.clear()
    await world.enqueue(leased(1, lease))
    await world.stop(7)
    world.dispatcher.abandon(7)
    world.closing.set()
    await settle()
    assert (world.cancelled, lease.users) == ([1], 0)
    world.assert_idle()


async def test_free_turns() -> None:
    """They are what a replica may claim; while it drains, that is nothing."""
    world = FakeTurns(max_turns=2)
    await world.enqueue(row(1, 7))
    assert world.dispatcher.free_turns == 1
    await world.enqueue(row(2, 8))
    assert world.dispatcher.free_turns == 0
    world.gates[1].set()
    world.gates[2].set()
    await world.dispatcher.drain(1.0)
    assert world.dispatcher.free_turns == 0


async def test_suspects_that_are_claimed_run_alone() -> None:
    """Rows whose turn was running when a replica crashed run alone, at any time."""
    world = FakeTurns()
    await world.enqueue(leased(1, new_lease(9)))
    world.dispatcher.resume([leased(2, new_lease(7), tries=1), leased(3, new_lease(8))])
    await settle()
    assert world.begun == [1, 2]
    await world.finish(2)
    assert world.begun == [1, 2, 3]
    await world.finish(1, 3)
    world.assert_idle()


class FakeBacklog:
    """A database with room for 42 updates."""

    async def wait_for_room(self) -> int:
        return 42


async def test_the_backlog_bounds_intake() -> None:
    """With replicas it is the database that has room: others may work the rows."""
    world = FakeTurns(max_queued=1, backlog=FakeBacklog())
    await world.enqueue(row(1, 7), row(2, 7))
    assert await world.dispatcher.wait_for_capacity() == 42
    await world.finish(1, 2)
