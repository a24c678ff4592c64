"""Polling by the leader of several replicas: takeovers, late polls, other programs."""

from __future__ import annotations

import asyncio
from typing import Any

from crocbot.botapi.leader_poller import LeaderPoller
from crocbot.botapi.poller import TAKEOVER_PAUSE_SECONDS, TAKEOVER_SECONDS
from crocbot.errors import LeaderLostError, TelegramError
from crocbot.events import PollFailed
from crocbot.model import ReconnectReason
from crocbot.replicas.leader import Term
from crocbot.service.shutdown import run_until_first
from tests.crocbot.fakes import Elected
from tests.crocbot.test_poller import PollerFixture, until, updates

CONFLICT = TelegramError("terminated by other getUpdates", ReconnectReason.CONFLICT)


class LeaderFixture(PollerFixture):
    """A scripted client, and a poller that polls in the terms of `leadership`."""

    def __init__(self, *answers: Any, took: float = 30.0) -> None:
        self.leadership = Elected()
        super().__init__(*answers, took=took)

    def lead(self, epoch: int = 5, *, is_takeover: bool = True) -> Term:
        """Begin a term."""
        term = Term(epoch, is_takeover=is_takeover)
        self.leadership.begin(term)
        return term

    def poller_of_term(self, term: Term) -> Any:
        """Return the poller of one term, on the clock of the test."""
        poller = self.poller
        poller.leadership, poller.term = self.leadership, term
        return poller

    @property
    def conflicts(self) -> int:
        """Return how many conflicts were reported."""
        return len(self.events.of_type(PollFailed))


async def test_only_the_leader_polls() -> None:
    """A standby calls nothing; each term has a new poller, which begins at 0."""
    world = LeaderFixture(updates(5), took=0.0)
    poller = LeaderPoller(
        client=world,  # type: ignore[arg-type]
        dispatcher=world.dispatcher,  # type: ignore[arg-type]
        events=world.events,
        leadership=world.leadership,
    )
    running = asyncio.create_task(poller.run())
    await asyncio.sleep(0)
    assert (poller.completed_at, world.offsets) == (None, [])

    world.lead(5)
    await world.finished.wait()
    assert (world.offsets, world.dispatcher.leaders) == ([0, 6], [5])
    world.leadership.end()
    world.finished.clear()
    while poller.completed_at is not None:
        await asyncio.sleep(0)
    world.lead(8)
    await world.finished.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert world.offsets == [0, 6, 0]
    assert world.stored == [5]


async def test_a_standby_that_takes_over_stays_ready() -> None:
    """Readiness counts from the begin of the term until a poll has completed."""
    world = LeaderFixture()
    poller = LeaderPoller(
        client=world,  # type: ignore[arg-type]
        dispatcher=world.dispatcher,  # type: ignore[arg-type]
        events=world.events,
        leadership=world.leadership,
        clock=lambda: 7.0,
    )
    world.lead(5)
    await run_until_first(poller.run(), world.finished.wait())

    # It ended with the run.
    assert poller.completed_at is None
    world.finished.clear()
    running = asyncio.create_task(poller.run())
    await world.finished.wait()
    assert poller.completed_at == 7.0
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_conflicts_of_a_takeover_are_no_second_poller() -> None:
    """The poll of the leader before may last for a while; none of it is counted."""
    world = LeaderFixture(*[CONFLICT] * 10, updates(5), took=1.0)
    await until(world.poller_of_term(world.lead()), world.finished.wait)

    assert (world.conflicts, world.stored) == (0, [5])
    # Each is short: the standby polls soon after that poll has ended.
    assert world.slept[:10] == [TAKEOVER_PAUSE_SECONDS] * 10


async def test_another_program_is_a_second_poller() -> None:
    """Conflicts that last longer than a takeover are counted, and so are all others."""
    world = LeaderFixture(*[CONFLICT] * 5, took=TAKEOVER_SECONDS / 2)
    await until(world.poller_of_term(world.lead()), world.finished.wait)
    assert world.conflicts >= 3

    world = LeaderFixture(CONFLICT, CONFLICT, took=1.0)
    term = world.lead(is_takeover=False)
    await until(world.poller_of_term(term), world.finished.wait)
    assert world.conflicts == 2


async def test_the_late_poll_of_a_leader_that_was_paused() -> None:
    """Its updates are not stored, it reports nothing, and it polls no more."""
    world = LeaderFixture(updates(5), took=1.0)
    world.dispatcher.errors = [LeaderLostError("another replica is the leader")]
    world.leadership.lost = True
    await asyncio.wait_for(world.poller_of_term(world.lead()).run(), 30)

    assert (world.stored, world.problems, world.offsets) == ([], [], [0])
    assert world.leadership.confirmed == 1


async def test_a_conflict_with_the_next_leader() -> None:
    """A leader whose lease was taken meanwhile reports no conflict."""
    world = LeaderFixture(CONFLICT, took=1.0)
    world.leadership.lost = True
    term = world.lead(is_takeover=False)
    await asyncio.wait_for(world.poller_of_term(term).run(), 30)

    assert (world.conflicts, world.offsets, world.slept) == (0, [0], [])
