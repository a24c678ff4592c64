"""Leases of chats in this process: who waits, who goes on, who may not."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from crocbot import leases
from crocbot.leases import Lease
from tests.crocbot.test_dispatcher import settle


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Replace the clock of leases by one that a test sets."""
    time = [100.0]
    monkeypatch.setattr(leases, "now", lambda: time[0])
    return time


def started(work: Coroutine[Any, Any, bool]) -> asyncio.Task[bool]:
    """Return a task that asks whether it may go on."""
    return asyncio.create_task(work)


async def test_without_a_lease_nothing_waits() -> None:
    """With SQLite there are no leases, and each request may be made."""
    assert await leases.confirm()
    assert leases.current() is None


async def test_a_lapsed_lease_waits_until_it_is_renewed(clock: list[float]) -> None:
    """A task whose lease may be over waits, and goes on once it is known to be held."""
    lease = Lease(7, 1, until=108.0)
    with leases.working_under(lease):
        assert await leases.confirm()
        clock[0] = 108.0
        waiting = started(leases.confirm())
        await settle()
        assert not waiting.done()
        lease.renew(116.0)
        assert await waiting


async def test_a_lost_lease_ends_all_that_wait(clock: list[float]) -> None:
    """Once another replica has the chat, nothing more is sent, also later."""
    lease = Lease(7, 1, until=100.0)
    with leases.working_under(lease):
        waiting = [started(leases.confirm()) for _ in range(2)]
        await settle()
        lease.lose()
        lease.renew(200.0)
        assert await asyncio.gather(*waiting) == [False, False]
        assert not await leases.confirm()


def test_an_approval_is_known_once() -> None:
    """Only the decision of the turn that has just begun needs no statement."""
    lease = Lease(7, 1, until=0.0)
    lease.paired = True
    with leases.working_under(lease):
        assert leases.take_paired(8) is None
        assert [leases.take_paired(7), leases.take_paired(7)] == [True, None]
    assert leases.take_paired(7) is None


async def test_a_task_works_under_the_lease_in_which_it_was_started() -> None:
    """Tasks that a turn starts have its lease, whatever is worked afterwards."""

    async def lease_of_task() -> Lease | None:
        await asyncio.sleep(0)
        return leases.current()

    first, second = Lease(7, 1, until=0.0), Lease(8, 2, until=0.0)
    with leases.working_under(first):
        task = asyncio.create_task(lease_of_task())
        with leases.working_under(second):
            assert leases.current() is second
        assert leases.current() is first
    assert leases.current() is None
    assert await task is first


def test_a_lease_is_idle_when_its_last_row_has_left() -> None:
    """Only the last of several rows makes a chat one that can be given back."""
    lease = Lease(7, 1, until=0.0)
    lease.enter()
    lease.enter()
    lease.leave()
    assert not lease.idle.is_set()
    lease.leave()
    assert lease.idle.is_set()
