"""
The inbox for the event loop.

Closes that come while the disk is busy share one transaction.  While they cannot be
written they are retried, so that a full disk causes no second answer.  Updates or
closes that do not fit on the disk together are written in smaller transactions.

Times of rows are on the monotonic clock; the file has its own (`FileClock`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Self, TypeVar

from crocbot.errors import InboxError, LeaderLostError, StoreError
from crocbot.events import NO_EVENTS, EventListener, InboxState
from crocbot.inbox import sql
from crocbot.inbox.sql import Failure
from crocbot.model import (
    ErrorEvent,
    ErrorType,
    Outcome,
    RawUpdate,
    Row,
    Severity,
    Sleep,
)
from crocbot.store import Connection, Job, Store

RETRY_SECONDS = 1.0
CLOSE_SECONDS = 1.0
PROBE_BYTES = 16 << 10
# More than the pages that any update of this size can change.
PROBE_MARGIN_BYTES = 64 << 10

Result = TypeVar("Result")
Close = tuple[Outcome, asyncio.Future[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """
    What became of a batch of updates: the first `stored` ones are on disk.

    `rows` are those that are new, and `workable` those of them that the caller has to
    queue: all, with None.  `error` is why the other updates are not stored, None if
    there are none.
    """

    rows: Sequence[Row] = ()
    stored: int = 0
    error: InboxError | None = None
    workable: Sequence[Row] | None = None


class Inbox:
    """
    The rows in the file of `store`, which has the inbox's SCHEMA.

    Used on the event loop.
    """

    def __init__(
        self,
        store: Store,
        events: EventListener = NO_EVENTS,
        *,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._events = events
        self._sleep = sleep
        self._pending: list[Close] = []
        self._max_closes: int | None = None
        self._writer: asyncio.Task[None] | None = None
        self._beginning: set[int] = set()
        self._begin_lock = asyncio.Lock()
        self._error: str | None = None
        self._accept_error: str | None = None
        self._refused_bytes = 0

    @property
    def error(self) -> str | None:
        """
        Why updates cannot be stored; None if they can, as far as is known.

        After updates were not stored it is set until some are, or until a probe that
        is at least as large succeeds.
        """
        return self._accept_error or self._error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write pending closes, as far as the disk lets."""
        writer = self._writer
        if writer is not None:
            await asyncio.wait([writer], timeout=CLOSE_SECONDS)
            writer.cancel()

    async def recover(self, *, orderly: bool) -> None:
        """Count the turns that the end of the last process ended, unless orderly."""
        await self._run(partial(sql.recover, orderly=orderly))

    async def accept(
        self, updates: Sequence[RawUpdate], *, leader: int | None = None
    ) -> Accepted:
        """
        Store updates, each with an `update_id`, or the first ones if not all fit.

        Raise InboxError, with none of them stored, if the file cannot be written.
        `leader` is the epoch of the replica that polled them: LeaderLostError if
        another one leads now.
        """
        count, refusal = len(updates), None
        while count:
            try:
                accepted = await self._accept(updates[:count], leader)
            except LeaderLostError:
                raise
            except InboxError as error:
                self._refuse(error, updates[:count])
                if refusal is not None:
                    count //= 2
                if not error.no_space or not count:
                    raise
                refusal = error
                with suppress(InboxError):
                    # The log of earlier transactions may be what takes the space.
                    await self._shrink()
            else:
                if count == len(updates):
                    self._accept_error = refusal = None
                return replace(accepted, stored=count, error=refusal)
        return Accepted()

    async def _accept(
        self,
        updates: Sequence[RawUpdate],
        leader: int | None,  # noqa: ARG002
    ) -> Accepted:
        """Store updates in one transaction."""
        now = self._store.clock.read()

        def job(connection: Connection) -> list[Row]:
            # First, so that an id that Telegram uses again after a week is free.
            sql.delete_expired(connection, now.retention)
            return sql.accept(connection, updates, now.time)

        rows = await self._run(job)
        rows = [replace(row, accepted_at=now.monotonic) for row in rows]
        return Accepted(rows=rows, stored=len(updates))

    def _refuse(self, error: InboxError, updates: Sequence[RawUpdate]) -> None:
        """Remember why updates were not stored, and their size."""
        self._accept_error = str(error)
        self._refused_bytes = sum(len(json.dumps(update)) for update in updates)

    async def begin(self, rows: Sequence[Row]) -> None:
        """
        Record that a turn of these rows begins, before anything of it runs.

        Calls at the same time share one transaction.  It survives the end of the
        process, not of the machine, which no message can cause.  Raise InboxError if
        the file cannot be written.
        """
        update_ids = {row.update_id for row in rows}
        self._beginning |= update_ids
        async with self._begin_lock:
            if not update_ids & self._beginning:
                # Another call has written them.
                return
            batch, self._beginning = self._beginning, set()
            await self._run(partial(sql.begin, update_ids=sorted(batch)), durable=False)

    async def open_rows(self) -> list[Row]:
        """Return the rows that no turn has closed, oldest first."""
        return self._monotonic(await self._run(sql.open_rows))

    async def reopened(self) -> list[Row]:
        """Return the rows that the operator opened again, oldest first; each once."""
        # Read first: this is called every second.
        if not await self._run(sql.has_reopened, write=False):
            return []
        return self._monotonic(await self._run(sql.take_reopened))

    async def failures(self) -> list[Failure]:
        """Return the rows that failed or were set aside and are still kept."""
        return await self._run(sql.failures, write=False)

    async def open_again(self, update_ids: Sequence[int]) -> list[Row]:
        """Open failed rows again; return them, oldest first."""

        def job(connection: Connection) -> list[Row]:
            sql.reopen(connection, update_ids)
            return sql.take_reopened(connection)

        return self._monotonic(await self._run(job))

    def _monotonic(self, rows: Sequence[Row]) -> list[Row]:
        """Translate the times of rows from the file's."""
        now = self._store.clock.read()
        return [
            replace(row, accepted_at=now.to_monotonic(row.accepted_at)) for row in rows
        ]

    async def state(self) -> InboxState:
        """Return the ledger as one transaction sees it."""
        state = await self._run(sql.state, write=False)
        oldest = state.oldest_accepted_at
        if oldest is None:
            return state
        now = self._store.clock.read()
        return replace(state, oldest_accepted_at=now.to_monotonic(oldest))

    async def probe(self) -> None:
        """Try to write as much as was last refused; raise InboxError."""
        refusal, size = self._accept_error, PROBE_BYTES
        if refusal is not None:
            size = 2 * self._refused_bytes + PROBE_MARGIN_BYTES
        await self._run(partial(sql.probe, size=size))
        if self._accept_error is refusal:
            # Without this a webhook that gets no requests while the gateway is not
            # ready would never be ready again.
            self._accept_error = None

    async def tidy(self) -> None:
        """Delete expired rows, return their space to the file system, save the time."""
        now = self._store.clock.read()

        def job(connection: Connection) -> None:
            sql.delete_expired(connection, now.retention)
            self._store.clock.save(connection, now)

        try:
            await self._run(job)
        finally:
            # On a full disk the log may be what takes the space.
            await self._shrink()

    async def _shrink(self) -> None:
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
            self._writer = self._start_writer()
        closed: int = await written
        return closed

    def _start_writer(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._write_closes())

    async def _write_closes(self) -> None:
        try:
            while self._pending:
                await self._write_pending()
        finally:
            self._writer = None

    async def _write_pending(self) -> None:
        """Write all pending closes in one transaction, or wait and leave them."""
        batch = self._next_closes()
        results: Sequence[int | Exception]
        try:
            results = await self._write([outcome for outcome, _ in batch])
        except InboxError as error:
            if error.no_space:
                self._max_closes = max(1, len(batch) // 2)
            self._events.emit(ErrorEvent(ErrorType.INBOX, Severity.CRITICAL))
            await self._sleep(RETRY_SECONDS)
            return
        except Exception as error:
            # A bug, which the callers raise.
            results = [error] * len(batch)
        self._max_closes = None
        del self._pending[: len(batch)]
        for (_, written), result in zip(batch, results, strict=True):
            if written.done():
                continue
            if isinstance(result, Exception):
                written.set_exception(result)
            else:
                written.set_result(result)

    def _next_closes(self) -> list[Close]:
        """Return the closes that share the next transaction, the oldest ones."""
        return self._pending[: self._max_closes]

    async def _write(self, outcomes: Sequence[Outcome]) -> Sequence[int]:
        """Close the rows of outcomes; return how many of each were open."""
        now = self._store.clock.read()
        job = partial(
            sql.close_rows,
            outcomes=outcomes,
            now=now.time,
            retention=now.retention,
        )
        return await self._run(job)

    async def _run(
        self,
        job: Job[Result],
        *,
        write: bool = True,
        durable: bool = True,
        atomic: bool = True,
    ) -> Result:
        try:
            result = await self._store.run(
                job, write=write, durable=durable, atomic=atomic
            )
        except StoreError as error:
            raise self._failed(error) from error
        if write:
            # A full disk can still be read.
            self._error = None
        return result

    def _failed(self, error: StoreError) -> InboxError:
        self._error = str(error)
        return InboxError(self._error, no_space=error.no_space)
