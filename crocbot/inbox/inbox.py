"""
The inbox for the event loop.

Closes that come while the disk is busy share one transaction.  While they cannot be
written they are retried, so that a full disk causes no second answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Self, TypeVar

from crocbot.errors import InboxError, StoreError
from crocbot.events import NO_EVENTS, EventListener, InboxState
from crocbot.inbox import sqlite
from crocbot.model import (
    Clock,
    ErrorEvent,
    ErrorType,
    Outcome,
    RawUpdate,
    Row,
    Severity,
    Sleep,
)
from crocbot.store import Job, Store

RETRY_SECONDS = 1.0
CLOSE_SECONDS = 1.0

Result = TypeVar("Result")
Close = tuple[Outcome, asyncio.Future[int]]


class Inbox:
    """
    The rows in the file of `store`, which has the inbox's SCHEMA.

    Used on the event loop.  `error` is why the last operation failed, None after one
    that succeeded.  `clock` is Unix time.
    """

    def __init__(
        self,
        store: Store,
        events: EventListener = NO_EVENTS,
        *,
        clock: Clock = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._sleep = sleep
        self._pending: list[Close] = []
        self._writer: asyncio.Task[None] | None = None
        self.error: str | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write pending closes, as far as the disk lets."""
        writer = self._writer
        if writer is not None:
            await asyncio.wait([writer], timeout=CLOSE_SECONDS)
            writer.cancel()

    async def accept(self, updates: Sequence[RawUpdate]) -> list[Row]:
        """
        Store updates, each with an `update_id`; return the rows of the new ones.

        Raise InboxError, with none of them stored, if the file cannot be written.
        """
        if not updates:
            return []
        return await self._run(
            partial(sqlite.accept, updates=updates, now=self._clock())
        )

    async def open_rows(self) -> list[Row]:
        """Return the rows that no turn has closed, oldest first."""
        return await self._run(sqlite.open_rows)

    async def reopened(self) -> list[Row]:
        """Return the rows that the operator opened again, oldest first; each once."""
        # Read first: this is called every second.
        if not await self._run(sqlite.has_reopened, write=False):
            return []
        return await self._run(sqlite.take_reopened)

    async def state(self) -> InboxState:
        """Return the ledger as one transaction sees it."""
        return await self._run(sqlite.state, write=False)

    async def probe(self) -> None:
        """Try to write; raise InboxError."""
        await self._run(sqlite.probe)

    async def tidy(self) -> None:
        """Delete old rows and return their space to the file system."""
        await self._run(partial(sqlite.delete_old, now=self._clock()))
        try:
            await self._store.shrink()
        except StoreError as error:
            raise self._failed(error) from error

    async def close_rows(self, outcome: Outcome) -> int:
        """
        Close the rows of an outcome; return how many were open, once that is on disk.

        It is written even if the caller is cancelled meanwhile.
        """
        written = asyncio.get_running_loop().create_future()
        self._pending.append((outcome, written))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_closes())
        closed: int = await written
        return closed

    async def _write_closes(self) -> None:
        try:
            while self._pending:
                await self._write_pending()
        finally:
            self._writer = None

    async def _write_pending(self) -> None:
        """Write all pending closes in one transaction, or wait and leave them."""
        batch = list(self._pending)
        outcomes = [outcome for outcome, _ in batch]
        job = partial(sqlite.close_rows, outcomes=outcomes, now=self._clock())
        results: Sequence[int | Exception]
        try:
            results = await self._run(job)
        except InboxError:
            self._events.emit(ErrorEvent(ErrorType.INBOX, Severity.CRITICAL))
            await self._sleep(RETRY_SECONDS)
            return
        except Exception as error:
            # A bug, which the callers raise.
            results = [error] * len(batch)
        del self._pending[: len(batch)]
        for (_, written), result in zip(batch, results, strict=True):
            if written.done():
                continue
            if isinstance(result, Exception):
                written.set_exception(result)
            else:
                written.set_result(result)

    async def _run(self, job: Job[Result], *, write: bool = True) -> Result:
        try:
            result = await self._store.run(job, write=write)
        except StoreError as error:
            raise self._failed(error) from error
        if write:
            # A full disk can still be read.
            self.error = None
        return result

    def _failed(self, error: StoreError) -> InboxError:
        self.error = str(error)
        return InboxError(self.error)
