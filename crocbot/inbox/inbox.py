"""
The inbox for the event loop: the same transactions, awaited.

One thread owns the database.  Closes that come while the disk is busy are written
together; while it cannot be written to they are tried again, so that a full disk costs
no second answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from crocbot.errors import InboxError
from crocbot.events import NO_EVENTS, EventListener, InboxState
from crocbot.inbox.database import Database
from crocbot.model import (
    ErrorEvent,
    ErrorType,
    Outcome,
    RawUpdate,
    Row,
    Severity,
)

RETRY_SECONDS = 1.0
LAST_SECONDS = 1.0

Result = TypeVar("Result")
Close = tuple[Outcome, asyncio.Future[int]]


class Inbox:
    """
    The rows of one file in a state directory, which the caller has locked.

    Owned by the event loop; the connection lives in the inbox's own thread.  `fault`
    says what is wrong with the disk, None if the last thing that was tried worked.
    """

    def __init__(
        self,
        file: Path,
        events: EventListener = NO_EVENTS,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = Database(file, clock)
        self._events = events
        self._sleep = sleep
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inbox")
        self._closing: list[Close] = []
        self._writer: asyncio.Task[None] | None = None
        self.fault: str | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._database.open)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is still to be closed, then let go of the file."""
        writer = self._writer
        if writer is not None:
            await asyncio.wait([writer], timeout=LAST_SECONDS)
            writer.cancel()
        loop = asyncio.get_running_loop()
        closed = loop.run_in_executor(self._thread, self._database.close)
        # A disk that hangs must not keep the gateway from ending.
        await asyncio.wait([closed], timeout=LAST_SECONDS)
        self._thread.shutdown(wait=False)

    @property
    def unwritten(self) -> int:
        """Ends that are not on disk yet."""
        return sum(not done.done() for _, done in self._closing)

    async def accept(self, raws: Sequence[RawUpdate]) -> list[Row]:
        """Store updates; returns the new ones.  Each has a whole `update_id`."""
        if not raws:
            return []
        return await self._run(partial(self._database.accept, raws))

    async def open_rows(self) -> list[Row]:
        """What an earlier run, or this one, did not finish; oldest first."""
        return await self._run(self._database.open_rows)

    async def reopened(self) -> list[Row]:
        """What the operator opened again since the last time; oldest first."""
        return await self._run(self._database.reopened, write=False)

    async def state(self) -> InboxState:
        """Count everything, in one transaction."""
        return await self._run(self._database.state, write=False)

    async def probe(self) -> None:
        """Try to write; raises InboxError."""
        await self._run(self._database.probe)

    async def tidy(self) -> None:
        """Forget what is old and give its room back to the file system."""
        await self._run(self._database.tidy)

    async def close(self, outcome: Outcome) -> int:
        """
        End the rows of an outcome; returns how many were open, once that is on disk.

        It is written even if the caller is cancelled meanwhile.
        """
        done = asyncio.get_running_loop().create_future()
        self._closing.append((outcome, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_closes())
        ended: int = await done
        return ended

    async def _write_closes(self) -> None:
        while self._closing:
            batch = list(self._closing)
            outcomes = [outcome for outcome, _ in batch]
            try:
                ended = await self._run(partial(self._database.end, outcomes))
            except InboxError:
                self._events.emit(ErrorEvent(ErrorType.INBOX, Severity.CRITICAL))
                await self._sleep(RETRY_SECONDS)
                continue
            except Exception as error:
                # A bug, and those who wait must hear of it.
                _tell(batch, [error] * len(batch))
            else:
                _tell(batch, ended)
            del self._closing[: len(batch)]
        self._writer = None

    async def _run(self, job: Callable[[], Result], *, write: bool = True) -> Result:
        loop = asyncio.get_running_loop()
        try:
            result = await loop.run_in_executor(self._thread, job)
        except InboxError as error:
            self.fault = str(error)
            raise
        if write:
            # That a full disk can be read is no good news.
            self.fault = None
        return result


def _tell(batch: Sequence[Close], results: Sequence[int | Exception]) -> None:
    for (_, done), result in zip(batch, results, strict=True):
        if done.done():
            continue
        if isinstance(result, Exception):
            done.set_exception(result)
        else:
            done.set_result(result)
