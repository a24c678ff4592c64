"""The rows of running turns are on disk, so that a crash shows what was running."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from crocbot.errors import InboxError
from crocbot.inbox import SCHEMA, describe, reopen
from crocbot.model import Disposition, Outcome, Row
from tests.crocbot.databases import Database
from tests.crocbot.inboxes import (
    InboxFixture,
    commits,
    open_inbox,
    updates,
)


async def tries(inbox: InboxFixture) -> dict[int, int]:
    """Return the tries of the open rows that have any."""
    return {row.update_id: row.tries for row in await inbox.open_rows() if row.tries}


async def begin(inbox: InboxFixture, *update_ids: int) -> None:
    """Begin a turn of these rows."""
    await inbox.begin([Row(update_id, {}, 0.0) for update_id in update_ids])


@pytest.mark.parametrize(("orderly", "counted"), [(False, {1: 1, 3: 1}), (True, {})])
async def test_a_process_that_ended(
    database: Database, orderly: bool, counted: dict[int, int]
) -> None:
    """A crash counts for the rows whose turn ran; an orderly end takes that back."""
    async with open_inbox(database) as inbox:
        await inbox.accept(updates(1, 2, 3, 4))
        await begin(inbox, 1, 3)
        await begin(inbox, 4)
        await inbox.close_rows(Outcome(Disposition.ANSWERED, update_ids=(4,)))
    async with open_inbox(database) as inbox:
        await inbox.recover(orderly=orderly)
        assert await tries(inbox) == counted
    # The next one has no turn.
    async with open_inbox(database) as inbox:
        await inbox.recover(orderly=False)
        assert await tries(inbox) == counted


async def test_crashes_add_up(database: Database) -> None:
    """Each crash counts once; crocbot inbox shows them, and a retry resets them."""
    for _ in range(3):
        async with open_inbox(database) as inbox:
            await inbox.recover(orderly=False)
            await inbox.accept(updates(1))
            await begin(inbox, 1)
    async with open_inbox(database) as inbox:
        await inbox.recover(orderly=False)
        assert await tries(inbox) == {1: 3}
        with database.opened([SCHEMA]) as connection:
            lines = list(describe(connection, 100.0))
        assert lines[1] == "  update 1, 0 s ago, crashes during its turns: 3"
        await inbox.close_rows(Outcome(Disposition.FAILED, update_ids=(1,)))
        with database.opened([SCHEMA]) as connection:
            reopen(connection, None)
        assert await tries(inbox) == {}


async def test_turns_that_begin_together_share_a_transaction(
    tmp_path: Path,
) -> None:
    """All are on disk when their call returns."""
    async with open_inbox(tmp_path) as inbox:
        await inbox.accept(updates(*range(100)))
        before = commits(tmp_path)
        await asyncio.gather(*(begin(inbox, each) for each in range(100)))
        assert commits(tmp_path) - before < 5
        assert await inbox.query("SELECT count(*) FROM rows WHERE trying") == [(100,)]


async def test_a_disk_that_fails(database: Database) -> None:
    """A turn that cannot be recorded raises; the next one does not suffer."""
    async with open_inbox(database) as inbox:
        await inbox.accept(updates(1, 2))
        await inbox.store.run(database.refuse_updates("rows", "NEW.update_id = 1"))
        with pytest.raises(InboxError):
            await begin(inbox, 1)
        await begin(inbox, 2)
        assert await inbox.query("SELECT update_id FROM rows WHERE trying = 1") == [
            (2,)
        ]
