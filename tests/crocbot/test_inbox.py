"""What the inbox keeps, forgets and counts; and that a crash costs nothing."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crocbot.errors import InboxError
from crocbot.events import ErrorEvent
from crocbot.inbox import SCHEMA, Accepted, sql
from crocbot.inbox.sql import RETENTION_SECONDS, Failure
from crocbot.model import Disposition, Outcome, Reply, Row
from tests.crocbot.databases import Database
from tests.crocbot.inboxes import (
    FILE,
    InboxFixture,
    commits,
    open_inbox,
    updates,
)

ANSWERED, SET_ASIDE = Disposition.ANSWERED, Disposition.SET_ASIDE
FAILED = Outcome(
    Disposition.FAILED,
    update_ids=(1, 2),
    reason="no \ud800?",
    undelivered=Reply("the *answer*", markdown=True),
)


def end(disposition: Disposition, *update_ids: int) -> Outcome:
    """Return the outcome of a turn that closes these updates."""
    return Outcome(disposition, update_ids=update_ids)


@pytest.fixture
async def inbox(database: Database) -> AsyncIterator[InboxFixture]:
    """Return an empty inbox."""
    async with open_inbox(database) as inbox:
        yield inbox


@pytest.fixture
async def file_inbox(tmp_path: Path) -> AsyncIterator[InboxFixture]:
    """Return an empty inbox in a file."""
    async with open_inbox(tmp_path) as inbox:
        yield inbox


async def test_deleted_content_is_overwritten(tmp_path: Path) -> None:
    """Nothing of a closed message is left in the file after the gateway has ended."""
    async with open_inbox(tmp_path) as inbox:
        numbers = range(1, 51)
        await inbox.accept(
            [{"update_id": each, "text": "a stranger " * each} for each in numbers]
        )
        for number in numbers:
            await inbox.close_rows(end(Disposition.DENIED, number))
    content = (tmp_path / FILE).read_bytes()

    assert content
    assert b"a stranger" not in content


async def test_accept_and_close(inbox: InboxFixture) -> None:
    """An accepted update is open until it is closed, and every step is counted."""
    one, two = {"update_id": 1, "a": ["\u00e9", None]}, {"update_id": 2}
    rows = [Row(1, one, 100.0), Row(2, two, 100.0)]
    assert await inbox.accept([]) == Accepted()
    assert await inbox.accept([one, two]) == Accepted(rows=rows, stored=2)
    assert await inbox.open_rows() == rows
    assert await inbox.ledger() == (2, 2, {})
    assert await inbox.close_rows(end(ANSWERED, 1)) == 1
    assert await inbox.open_rows() == rows[1:]
    assert await inbox.ledger() == (2, 1, {"answered": 1})


async def test_duplicates(inbox: InboxFixture) -> None:
    """A repeated update is not new: not in a batch, nor while open, nor closed."""
    assert await inbox.accept_ids(1, 1) == [1]
    assert await inbox.accept_ids(1) == []
    await inbox.close_rows(end(ANSWERED, 1))
    assert await inbox.accept_ids(1) == []
    assert await inbox.open_rows() == []
    state = await inbox.state()
    assert (state.accepted, state.duplicates) == (1, 3)


async def test_a_row_is_closed_once(inbox: InboxFixture) -> None:
    """Closing again, or closing what does not exist, changes no total."""
    await inbox.accept(updates(1))
    outcomes = [end(ANSWERED, 1), end(Disposition.FAILED, 1), end(ANSWERED, 2)]
    assert [await inbox.close_rows(each) for each in outcomes] == [1, 0, 0]
    assert await inbox.ledger() == (1, 0, {"answered": 1})


@pytest.mark.parametrize(
    "raw", [{"t": "\ud800 half a pair"}, {"t": "nul\x00"}, {"n": 10**400, "f": 1e308}]
)
async def test_strange_content(inbox: InboxFixture, raw: dict[str, object]) -> None:
    """Whatever JSON can carry comes back as it was."""
    update = {"update_id": 1} | raw
    await inbox.accept([update])
    (row,) = await inbox.open_rows()
    assert row.raw == update


async def test_closes_share_a_transaction(
    file_inbox: InboxFixture, tmp_path: Path
) -> None:
    """Many closes at once all end on disk, in few transactions."""
    await file_inbox.accept(updates(*range(100)))
    before = commits(tmp_path)
    await asyncio.gather(
        *(file_inbox.close_rows(end(ANSWERED, each)) for each in range(100))
    )
    assert await file_inbox.ledger() == (100, 0, {"answered": 100})
    assert commits(tmp_path) - before < 10


async def test_everything_survives_a_restart(database: Database) -> None:
    """Rows and totals do, and so does a close whose caller was cancelled."""
    async with open_inbox(database) as inbox:
        await inbox.accept(updates(1, 2))
        closing = asyncio.create_task(inbox.close_rows(end(ANSWERED, 1)))
        await asyncio.sleep(0)
        closing.cancel()
    async with open_inbox(database) as inbox:
        assert await inbox.open_rows() == [Row(2, {"update_id": 2}, 100.0)]
        assert await inbox.ledger() == (2, 1, {"answered": 1})


async def test_closed_rows_lose_their_content(inbox: InboxFixture) -> None:
    """Only rows that failed or were set aside keep it; the others were private."""
    await inbox.accept(updates(1, 2))
    await inbox.close_rows(end(ANSWERED, 1))
    await inbox.close_rows(end(SET_ASIDE, 2))
    found = await inbox.query("SELECT raw FROM rows ORDER BY update_id")
    assert found == [("",), ('{"update_id":2}',)]


async def test_a_disk_that_fails(inbox: InboxFixture, database: Database) -> None:
    """What cannot be stored raises; what cannot be closed is closed when it can."""
    await inbox.accept(updates(1))
    await inbox.store.run(database.refuse_updates("ledger", "true"))
    with pytest.raises(InboxError, match="no space"):
        await inbox.accept(updates(2))
    closing = asyncio.create_task(inbox.close_rows(end(ANSWERED, 1)))
    await inbox.events.wait_for(ErrorEvent)
    assert await inbox.ledger() == (1, 1, {})
    error = inbox.error
    assert (str(error).endswith("no space"), closing.done()) == (True, False)
    await inbox.store.run(database.allow_updates("ledger"))
    assert await closing == 1
    assert inbox.error == error
    await inbox.accept(updates(2))
    assert inbox.error is None
    assert await inbox.ledger() == (2, 1, {"answered": 1})


async def test_an_exception_while_closing(
    inbox: InboxFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug is raised to the callers, and ends only their closes."""
    await inbox.accept(updates(1))
    with monkeypatch.context() as patched:
        patched.setattr(sql, "_storable", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            await inbox.close_rows(FAILED)
    assert await inbox.close_rows(end(ANSWERED, 1)) == 1


async def test_failures_are_kept(inbox: InboxFixture, database: Database) -> None:
    """A failed row keeps content, reason and reply, as a command of crocbot sees it."""
    await inbox.accept(updates(3))
    await inbox.accept(updates(1, 2, 4))
    await inbox.close_rows(FAILED)
    aside = Outcome(SET_ASIDE, update_ids=(3,), reason="no date")
    await inbox.close_rows(aside)
    with database.opened([SCHEMA]) as connection:
        assert [row.update_id for row in sql.oldest_open(connection, 1)] == [4]
        assert sql.failures(connection) == [
            Failure(
                update_id=3,
                closed_at=100.0,
                reason="no date",
                raw={"update_id": 3},
                disposition=SET_ASIDE,
            ),
            Failure(update_id=1, closed_at=100.0, reason="no ??", raw={"update_id": 1}),
            Failure(update_id=2, closed_at=100.0, reason="no ??", raw={"update_id": 2}),
        ]
        assert sql.reopen(connection, [3]) == 0


async def test_failures_can_be_opened_again(
    inbox: InboxFixture, database: Database
) -> None:
    """Opened again by another process, a row is returned once, with its reply."""
    await inbox.accept(updates(1, 2, 3))
    await inbox.close_rows(FAILED)
    await inbox.close_rows(end(ANSWERED, 3))
    assert await inbox.reopened() == []
    with database.opened([SCHEMA]) as connection:
        assert sql.reopen(connection, [3, 99]) == 0
        assert sql.reopen(connection, [1]) == 1
        assert sql.reopen(connection, None) == 1
        assert sql.failures(connection) == []
    assert await inbox.ledger() == (3, 2, {"answered": 1})
    again = [
        Row(1, {"update_id": 1}, 100.0, reply=FAILED.undelivered, retried=True),
        Row(2, {"update_id": 2}, 100.0, retried=True),
    ]
    assert await inbox.reopened() == again
    assert await inbox.reopened() == []
    await inbox.close_rows(FAILED)
    with database.opened([SCHEMA]) as connection:
        sql.reopen(connection, None)
    # As at the next start.
    assert await inbox.open_rows() == again
    assert await inbox.reopened() == []
    await inbox.close_rows(end(ANSWERED, 1, 2))
    assert await inbox.ledger() == (3, 0, {"answered": 3})


async def test_the_file_does_not_grow_for_ever(
    file_inbox: InboxFixture, tmp_path: Path
) -> None:
    """The space of deleted rows is returned to the file system, and the log's."""
    for start in range(0, 2000, 100):
        ids = range(start, start + 100)
        await file_inbox.accept([{"update_id": n, "text": "x" * 2000} for n in ids])
        await file_inbox.close_rows(end(Disposition.FAILED, *ids))
    await file_inbox.tidy()
    before = (tmp_path / FILE).stat().st_size
    file_inbox.run_for(RETENTION_SECONDS + 1)
    for _ in range(3):
        await file_inbox.tidy()
    assert (tmp_path / FILE).stat().st_size < before / 10
    assert (tmp_path / f"{FILE}-wal").stat().st_size == 0


async def test_a_file_that_went_away(file_inbox: InboxFixture, tmp_path: Path) -> None:
    """Nothing is accepted into a file that the next start will not find."""
    file, elsewhere = tmp_path / FILE, tmp_path / "elsewhere"
    file.rename(elsewhere)
    for write in (file_inbox.accept(updates(1)), file_inbox.tidy()):
        with pytest.raises(InboxError, match="No such file"):
            await write
    assert file_inbox.error is not None
    file.touch()
    with pytest.raises(InboxError, match="is another file now"):
        await file_inbox.accept(updates(1))
    elsewhere.rename(file)
    assert await file_inbox.accept_ids(1) == [1]
    assert file_inbox.error is None


async def test_a_locked_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another program keeps the file for itself nothing is accepted."""
    monkeypatch.setattr("crocbot.store.sqlite.BUSY_SECONDS", 0.01)
    async with open_inbox(tmp_path) as inbox:
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for write in (inbox.accept(updates(1)), inbox.probe()):
            with pytest.raises(InboxError, match="locked"):
                await write
        other.close()
        await inbox.probe()
        assert await inbox.accept_ids(1) == [1]


async def test_a_disk_that_stays_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the gateway does not wait for closes that cannot be written."""
    monkeypatch.setattr("crocbot.inbox.inbox.CLOSE_SECONDS", 0.01)
    async with open_inbox(tmp_path) as inbox:
        await inbox.accept(updates(1))
        (tmp_path / FILE).rename(tmp_path / "elsewhere")
        closing = asyncio.create_task(inbox.close_rows(end(ANSWERED, 1)))
        await inbox.events.wait_for(ErrorEvent)
        closing.cancel()
    assert closing.cancelled()


CRASHING = """
import asyncio, sys
from pathlib import Path
from crocbot.inbox import SCHEMA, Inbox
from crocbot.model import Disposition, Outcome
from crocbot.store import SqliteStore

async def main():
    async with SqliteStore(Path(sys.argv[1]), [SCHEMA]) as store, Inbox(store) as inbox:
        for start in range(0, 10**9, 10):
            accepted = await inbox.accept(
                [{"update_id": n, "text": "x" * 300} for n in range(start, start + 10)]
            )
            rows = accepted.rows
            print("accepted", rows[-1].update_id, flush=True)
            for row in rows[:5]:
                await inbox.close_rows(
                    Outcome(Disposition.ANSWERED, update_ids=(row.update_id,))
                )
                print("closed", row.update_id, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 8, 50, 333])
async def test_a_killed_process_loses_nothing(tmp_path: Path, lines: int) -> None:
    """After kill -9 every update that was accepted is there, and the ledger closes."""
    printed = killed_after(lines, tmp_path / FILE)
    accepted = [int(line[9:]) for line in printed if line.startswith("accepted ")]
    done = {int(line[7:]) for line in printed if line.startswith("closed ")}
    async with open_inbox(tmp_path) as inbox:
        rows = {row.update_id for row in await inbox.open_rows()}
        total, still_open, closed = await inbox.ledger()
    assert rows.isdisjoint(done)
    assert total == still_open + sum(closed.values())
    assert total > accepted[-1]
    # The process may have closed the next one before it could print that.
    missing = set(range(accepted[-1] + 1)) - rows - done
    assert len(missing) <= 1


def killed_after(lines: int, file: Path) -> list[str]:
    """Return the whole lines that a process printed until it was killed."""
    command = [sys.executable, "-c", CRASHING, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        printed += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL
    return [line for line in printed if line.endswith("\n")]


async def test_a_row_that_takes_the_place_of_another(inbox: InboxFixture) -> None:
    """It has the place and the age of the closed row, also after a crash."""
    one, two, three = updates(1, 2, 3)
    await inbox.accept([one, two])
    inbox.run_for(10)
    await inbox.accept([three | {"edited_message": {"text": "new"}}])
    new = Row(3, three | {"message": {"text": "new"}}, 100.0)
    outcome = Outcome(Disposition.IGNORED, update_ids=(1,), replaced_by=new)

    assert await inbox.close_rows(outcome) == 1
    assert await inbox.open_rows() == [new, Row(2, two, 100.0)]
    assert await inbox.ledger() == (3, 2, {"ignored": 1})


async def test_a_row_that_was_closed_before_it_takes_a_place(
    inbox: InboxFixture,
) -> None:
    """Nothing of it is stored again."""
    await inbox.accept(updates(1, 2))
    await inbox.close_rows(end(ANSWERED, 2))
    new = Row(2, {"update_id": 2, "message": {"text": "new"}}, 100.0)
    await inbox.close_rows(
        Outcome(Disposition.IGNORED, update_ids=(1,), replaced_by=new)
    )

    assert await inbox.query("SELECT raw FROM rows") == [("",), ("",)]
    assert await inbox.ledger() == (2, 0, {"answered": 1, "ignored": 1})


async def test_failed_rows_that_are_opened_again(inbox: InboxFixture) -> None:
    """Those that are asked for are returned, once."""
    await inbox.accept(updates(1, 2, 3))
    await inbox.close_rows(FAILED)

    assert [each.update_id for each in await inbox.failures()] == [1, 2]
    (row,) = await inbox.open_again([1])
    assert (row.update_id, row.retried, row.reply) == (1, True, FAILED.undelivered)
    assert await inbox.reopened() == []
    assert await inbox.open_ids() == [1, 3]
