"""A disk without space: updates that fit are stored, the inbox reports the others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from crocbot.errors import InboxError
from crocbot.events import ErrorEvent
from crocbot.model import Disposition, Outcome
from tests.crocbot.inboxes import FILE, InboxFixture, open_inbox, updates

FULL = "database or disk is full"


async def limit(inbox: InboxFixture, more_pages: int) -> None:
    """Let the file grow by a number of pages only."""
    ((pages,),) = await inbox.query("PRAGMA page_count")
    await inbox.query(f"PRAGMA max_page_count={pages + more_pages}")


def large(update_id: int, size: int = 10_000) -> dict[str, Any]:
    """Return an update of a size."""
    return {"update_id": update_id, "text": "x" * size}


async def test_a_full_disk(tmp_path: Path) -> None:
    """An update without space is not stored at all; later everything goes on."""
    async with open_inbox(tmp_path) as inbox:
        await limit(inbox, 2)
        with pytest.raises(InboxError, match="full"):
            await inbox.accept([large(1, 100_000)])
        assert await inbox.ledger() == (0, 0, {})
        assert inbox.error == FULL
        await limit(inbox, 1_000_000)
        assert (await inbox.accept([large(1, 100_000)])).stored == 1
        assert inbox.error is None


async def test_a_batch_that_does_not_fit_is_split(tmp_path: Path) -> None:
    """The first updates are stored, in order, until not even one fits."""
    async with open_inbox(tmp_path) as inbox:
        batch = [large(number) for number in range(100)]
        await limit(inbox, 40)
        accepted = await inbox.accept(batch)
        stored = accepted.stored
        assert str(accepted.error) == inbox.error == FULL
        assert [row.update_id for row in accepted.rows] == list(range(stored))
        assert await inbox.open_ids() == list(range(stored))
        assert 5 < stored < 20
        await limit(inbox, 1_000_000)
        accepted = await inbox.accept(batch[stored:])
        assert (accepted.stored, accepted.error) == (100 - stored, None)
        assert inbox.error is None


async def test_an_error_that_is_not_about_space(tmp_path: Path) -> None:
    """A batch is not split when that would not help."""
    async with open_inbox(tmp_path) as inbox:
        await inbox.query(
            "CREATE TRIGGER stop BEFORE INSERT ON rows WHEN NEW.update_id = 2"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(InboxError, match="no"):
            await inbox.accept(updates(1, 2))
        assert await inbox.ledger() == (0, 0, {})


async def test_other_writes_do_not_hide_that_updates_do_not_fit(tmp_path: Path) -> None:
    """A close that fits is no sign that updates do; an accepted one is."""
    async with open_inbox(tmp_path) as inbox:
        await inbox.accept(updates(1, 2))
        await limit(inbox, 2)
        with pytest.raises(InboxError):
            await inbox.accept([large(3, 100_000)])
        await inbox.close_rows(Outcome(Disposition.ANSWERED, update_ids=(1,)))
        await inbox.state()
        assert inbox.error == FULL
        await inbox.accept(updates(4))
        assert inbox.error is None


async def test_a_probe_is_as_large_as_what_was_refused(tmp_path: Path) -> None:
    """A small probe that fits says nothing after a large update was refused."""
    async with open_inbox(tmp_path) as inbox:
        await limit(inbox, 10)
        await inbox.probe()
        with pytest.raises(InboxError):
            await inbox.accept([large(3, 100_000)])
        for _ in range(2):
            with pytest.raises(InboxError):
                await inbox.probe()
            assert inbox.error == FULL
        await limit(inbox, 1_000_000)
        await inbox.probe()
        assert inbox.error is None
        before = await inbox.query("SELECT length(content) FROM probe")
        await inbox.probe()
        assert await inbox.query("SELECT length(content) FROM probe") < before


async def test_closes_that_do_not_fit_are_split(tmp_path: Path) -> None:
    """They are written in smaller transactions, and all of them at last."""
    async with open_inbox(tmp_path) as inbox:
        ids = range(64)
        await inbox.accept(updates(*ids))
        sizes: list[int] = []
        await inbox.query("CREATE TABLE sizes (closed INTEGER)")
        # Three closes are the most that fit.
        await inbox.query(
            "CREATE TRIGGER full AFTER UPDATE OF disposition ON rows WHEN"
            " (SELECT count(*) FROM rows WHERE closed = NEW.closed) > 3"
            " BEGIN INSERT INTO sizes VALUES (zeroblob(1000000)); END"
        )
        await limit(inbox, 50)
        closing = asyncio.gather(
            *(
                inbox.close_rows(Outcome(Disposition.ANSWERED, update_ids=(each,)))
                for each in ids
            )
        )
        await inbox.events.wait_for(ErrorEvent)
        while not closing.done():
            inbox.clocks.run(1)
            await asyncio.sleep(0.01)
        assert await closing == [1] * len(ids)
        assert sizes == []


async def test_a_log_that_takes_the_space(tmp_path: Path) -> None:
    """It is emptied before a batch is split, and whatever else fails."""
    log = tmp_path / f"{FILE}-wal"
    async with open_inbox(tmp_path) as inbox:
        await limit(inbox, 2)
        with pytest.raises(InboxError):
            await inbox.accept([large(3, 100_000)])
        assert log.stat().st_size == 0
        await inbox.accept(updates(1))
        assert log.stat().st_size > 0
        await inbox.query(
            "CREATE TRIGGER stop BEFORE INSERT ON clock"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        with pytest.raises(InboxError, match="no"):
            await inbox.tidy()
        assert log.stat().st_size == 0
