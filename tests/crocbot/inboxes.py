"""An inbox in a file, with clocks that a test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from crocbot.events import InboxState
from crocbot.inbox import SCHEMA, Inbox
from crocbot.store import Store
from tests.crocbot.databases import Database, SqliteDatabase
from tests.crocbot.fakes import FakeClocks, RecordedEvents

FILE = "crocbot.sqlite3"


def updates(*update_ids: int) -> list[dict[str, Any]]:
    """Return updates with these ids."""
    return [{"update_id": update_id} for update_id in update_ids]


def brief(state: InboxState) -> tuple[int, int, dict[str, int]]:
    """Return accepted, open, and the dispositions whose count is not 0."""
    closed = {str(each): count for each, count in state.closed.items() if count}
    return state.accepted, state.open, closed


class InboxFixture(Inbox):
    """An inbox with what a test looks at: its store, its events and its clocks."""

    def __init__(self, store: Store, clocks: FakeClocks) -> None:
        self.store = store
        self.clocks = clocks
        self.events = RecordedEvents()
        super().__init__(store, self.events, sleep=self.sleep)

    @staticmethod
    async def sleep(_: float) -> None:
        await asyncio.sleep(0.01)

    async def ledger(self) -> tuple[int, int, dict[str, int]]:
        """Return what must add up: accepted, open, and what is closed."""
        return brief(await self.state())

    async def query(self, sql: str) -> Any:
        """Return the rows that SQL finds."""
        return await self.store.run(lambda each: each.execute(sql).fetchall())

    async def accept_ids(self, *update_ids: int) -> list[int]:
        """Accept updates with these ids; return the ids of the new rows."""
        accepted = await self.accept(updates(*update_ids))
        return [row.update_id for row in accepted.rows]

    async def open_ids(self) -> list[int]:
        """Return the ids of the open rows."""
        return [row.update_id for row in await self.open_rows()]

    def run_for(self, seconds: float) -> None:
        """Let time pass, in which the clock is read as often as in a gateway."""
        while seconds > 0:
            step = min(seconds, 60.0)
            self.clocks.run(step)
            self.store.clock.read()
            seconds -= step


@asynccontextmanager
async def open_inbox(
    place: Path | Database, clocks: FakeClocks | None = None
) -> AsyncIterator[InboxFixture]:
    """Open the inbox of a folder or database, as a new process does."""
    clocks = clocks or FakeClocks()
    database = SqliteDatabase(place / FILE) if isinstance(place, Path) else place
    async with (
        database.store([SCHEMA], clocks) as opened_store,
        InboxFixture(opened_store, clocks) as inbox,
    ):
        yield inbox


def commits(folder: Path) -> int:
    """Count the transactions in the write-ahead log; each ends in a sized frame."""
    log = (folder / f"{FILE}-wal").read_bytes()
    page = int.from_bytes(log[8:12], "big")
    frames = range(32, len(log), 24 + page)
    return sum(1 for at in frames if log[at + 4 : at + 8] != bytes(4))
