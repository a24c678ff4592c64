"""Order, ages and retention of rows, whatever the system's clock does."""

from __future__ import annotations

from pathlib import Path

import pytest

from crocbot.inbox import SCHEMA, describe
from crocbot.inbox.sql import RETENTION_SECONDS
from crocbot.model import Disposition, Outcome, Reply
from crocbot.store import opened
from tests.crocbot.databases import Database
from tests.crocbot.fakes import FakeClocks
from tests.crocbot.inboxes import FILE, open_inbox, updates

DAY = 86_400.0


def failed(*update_ids: int) -> Outcome:
    """Return the outcome of a turn whose answer is kept."""
    return Outcome(
        Disposition.FAILED, update_ids=update_ids, undelivered=Reply("an answer")
    )


async def test_the_order_is_that_of_acceptance(database: Database) -> None:
    """Neither ids, which restart at times, nor clocks decide the order of rows."""
    clocks = FakeClocks(1e9)
    async with open_inbox(database, clocks) as inbox:
        await inbox.accept(updates(8, 9))
        clocks.wall -= 60
        await inbox.accept(updates(3))
        assert await inbox.open_ids() == [8, 9, 3]
    clocks.reboot(clocks.wall - 60)
    async with open_inbox(database, clocks) as inbox:
        await inbox.accept(updates(1))
        assert await inbox.open_ids() == [8, 9, 3, 1]


@pytest.mark.parametrize("step", [3 * DAY, -3 * DAY])
async def test_ages_after_a_step(tmp_path: Path, step: float) -> None:
    """A row is as old as it is: in the process that accepted it and in the next one."""
    clocks = FakeClocks(1e9)
    async with open_inbox(tmp_path, clocks) as inbox:
        await inbox.accept(updates(1))
        clocks.wall += step
        clocks.run(5.0)
        (row,) = await inbox.open_rows()
        oldest = (await inbox.state()).oldest_accepted_at
    async with open_inbox(tmp_path, clocks) as inbox:
        clocks.run(5.0)
        (later,) = await inbox.open_rows()

    assert clocks.monotonic - row.accepted_at == pytest.approx(10.0)
    assert oldest == row.accepted_at
    assert clocks.monotonic - later.accepted_at == pytest.approx(10.0)


async def test_closed_rows_are_deleted(database: Database) -> None:
    """After 48 hours the id of a closed row is free again."""
    async with open_inbox(database) as inbox:
        await inbox.accept(updates(1, 2))
        await inbox.close_rows(Outcome(Disposition.ANSWERED, update_ids=(1,)))
        inbox.run_for(RETENTION_SECONDS)
        assert await inbox.accept_ids(1) == []
        inbox.run_for(1)
        assert await inbox.accept_ids(1, 2) == [1]
        assert await inbox.ledger() == (3, 2, {"answered": 1})


@pytest.mark.parametrize("step", [3 * DAY, 1000 * DAY, -1000 * DAY])
@pytest.mark.parametrize("when", ["while it runs", "while it is stopped", "reboot"])
async def test_a_step_deletes_nothing(tmp_path: Path, step: float, when: str) -> None:
    """Kept replies and known ids outlive a step of the clock, in whatever moment."""
    clocks = FakeClocks(1e9)
    async with open_inbox(tmp_path, clocks) as inbox:
        await inbox.accept(updates(1, 2))
        await inbox.close_rows(failed(1))
        await inbox.close_rows(Outcome(Disposition.ANSWERED, update_ids=(2,)))
        if when == "while it runs":
            clocks.wall += step
            inbox.run_for(60)
            await inbox.tidy()
    if when == "while it is stopped":
        clocks.wall += step
    elif when == "reboot":
        clocks.reboot(clocks.wall + step)
    async with open_inbox(tmp_path, clocks) as inbox:
        await inbox.tidy()
        assert await inbox.accept_ids(1, 2, 3) == [3]
        inbox.run_for(3600)
        await inbox.tidy()
        assert await inbox.accept_ids(1, 2) == []
    with opened(tmp_path / FILE, [SCHEMA]) as connection:
        assert "failed, kept for a retry: 1" in list(describe(connection, 1e9))


async def test_rows_of_a_gateway_that_is_restarted_often(tmp_path: Path) -> None:
    """They are deleted at last, too: time goes on between two processes."""
    clocks = FakeClocks(1e9)
    async with open_inbox(tmp_path, clocks) as inbox:
        await inbox.accept(updates(1))
        await inbox.close_rows(failed(1))
    starts = 0
    known: list[int] = []
    while not known:
        starts += 1
        clocks.run(1800)
        async with open_inbox(tmp_path, clocks) as inbox:
            known = await inbox.accept_ids(1)

    assert starts == RETENTION_SECONDS // 1800 + 1
