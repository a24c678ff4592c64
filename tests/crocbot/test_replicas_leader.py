"""What a replica knows of the lease of the leader, and when its term is over."""

from __future__ import annotations

import asyncio
import re

from hypothesis import given
from hypothesis import strategies as st

from crocbot.replicas.leader import Leader, SoleLeader
from crocbot.replicas.name import replica_name
from crocbot.replicas.times import LEASE_SECONDS, OWNED_SECONDS


class Clocked(Leader):
    """A leader on a clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0
        super().__init__("a", lambda: self.now)


async def test_a_term_is_the_time_of_one_lease() -> None:
    """Renewals go on with a term, another epoch begins the next one."""
    leader = Clocked()
    assert (leader.term, leader.leader) == (None, None)
    leader.owns(5, sent_at=100.0)
    first = leader.term
    assert first is not None
    assert (first.epoch, first.is_takeover, leader.leader) == (5, False, "a")
    leader.owns(5, sent_at=100.0)
    assert leader.term is first

    leader.owns(6, sent_at=100.0)
    assert leader.term is not first
    assert first.ended.is_set()


async def test_another_replica_takes_the_lease() -> None:
    """The term ends at once; the next one is a takeover."""
    leader = Clocked()
    leader.owns(5, sent_at=100.0)
    term = leader.term
    leader.sees("b")

    assert term is not None
    assert term.ended.is_set()
    assert (leader.term, leader.leader) == (None, "b")
    waiting = asyncio.create_task(leader.wait_for_term())
    leader.owns(7, sent_at=100.0)
    assert (await waiting).is_takeover


async def test_a_process_that_was_paused() -> None:
    """A term is over before another replica may begin, also before its timer runs."""
    leader = Clocked()
    leader.owns(5, sent_at=100.0)
    term = leader.term
    assert term is not None
    leader.now = 100.0 + OWNED_SECONDS

    assert leader.term is None
    assert term.ended.is_set()
    assert OWNED_SECONDS < LEASE_SECONDS


async def test_an_answer_that_comes_too_late_begins_no_term() -> None:
    """The lease counts from before the statement was sent."""
    leader = Clocked()
    leader.owns(5, sent_at=100.0 - OWNED_SECONDS)

    assert leader.term is None


async def test_a_lease_that_is_not_renewed_ends_by_itself() -> None:
    """No answer of the database is needed to end a term."""
    loop = asyncio.get_running_loop()
    leader = Leader("a", loop.time)
    # A second is left, in which a busy machine gets as far as the next line.
    leader.owns(5, sent_at=loop.time() - OWNED_SECONDS + 1.0)
    term = leader.term

    assert term is not None
    async with asyncio.timeout(30):
        await term.ended.wait()
    # Another replica may have polled meanwhile.
    leader.owns(6, sent_at=loop.time())
    assert (next_ := leader.term) is not None
    assert next_.is_takeover


async def test_a_term_is_confirmed_by_the_next_answer() -> None:
    """confirm() asks for a heartbeat, and waits for its answer."""
    leader = Clocked()
    leader.owns(5, sent_at=100.0)
    term = leader.term
    assert term is not None
    asked = asyncio.create_task(leader.confirm(term))
    await leader.asked.wait()
    leader.sees("b")
    for answered in leader.take_waiting():
        answered.set_result(None)

    assert not await asked
    assert not leader.asked.is_set()


async def test_a_gateway_that_shares_no_database() -> None:
    """It leads all the time, and no other is named."""
    leader = SoleLeader()
    term = await leader.wait_for_term()

    assert (leader.term, leader.leader, term.epoch) == (term, None, None)
    assert await leader.confirm(term)


@given(host=st.text())
def test_the_name_of_a_replica(host: str) -> None:
    """It is short ASCII without blanks, whatever the host is called, and unique."""
    name = replica_name(host)

    assert re.fullmatch(r"[A-Za-z0-9._-]{8,64}", name)
    assert name != replica_name(host)
