"""
The PostgreSQL database that the replicas of a bot share.

    async with PostgresStore(url) as store: ...

    run(job) --> a free connection --> a thread --> BEGIN, lock, job, COMMIT --> result
       '-- after STATEMENT_SECONDS: cancelled, then the connection is ended

- Jobs with `write` run one after the other over all replicas, because each takes
  STORE_LOCK: what one of them has read is still true when it writes.
- A job without `atomic` is one statement in autocommit mode: it waits for nothing but
  the rows that it changes.
- A job runs again on another connection if the first one was lost and nothing was
  committed; after a deadlock it runs again on the same.
- A replica that is stopped within a transaction (SIGSTOP) holds STORE_LOCK until the
  server ends its connection, after IDLE_SECONDS.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from crocbot import leases, log
from crocbot.database_url import DatabaseUrl
from crocbot.errors import LeaseLostError, StoreError
from crocbot.store import calls
from crocbot.store.calls import Call, Mode, Slot
from crocbot.store.clock import ServerClock
from crocbot.store.commands import upgrade_tables
from crocbot.store.connect import CANCEL_SECONDS, opening
from crocbot.store.fence import fenced
from crocbot.store.interface import Job
from crocbot.store.listen import listen

POOL_SIZE = 4
CLOSE_SECONDS = 1.0

Result = TypeVar("Result")
logger = log.logger(__name__)


class PostgresStore:
    """The database of a URL, as a `Store`.  Used on the event loop."""

    def __init__(
        self,
        url: DatabaseUrl,
        clock: ServerClock | None = None,
        *,
        connections: int = POOL_SIZE,
    ) -> None:
        self._url = url
        self._clock = clock or ServerClock()
        self._slots = [Slot(url, self._clock) for _ in range(connections)]
        self._free = list(self._slots)
        self._places = asyncio.Semaphore(connections)
        # More would only wait for STORE_LOCK, each with a connection.
        self._writer = asyncio.Semaphore(1)
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="store")
        self._open = False

    async def __aenter__(self) -> Self:
        """
        Connect, and change the tables to this version.

        Raise OperatorError for what the operator must change; StoreError, after which
        it may be entered again, for a server that cannot be reached.
        """
        try:
            await self._in_thread(self._upgrade)
        except StoreError:
            raise
        except BaseException:
            await self.__aexit__()
            raise
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self._open = False
        # A server that hangs must not keep the gateway from ending.
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                for _each in self._slots:
                    await self._places.acquire()
        for slot in self._slots:
            # A job that still runs needs its connection no more.
            slot.end()
        self._threads.shutdown(wait=False)

    @property
    def clock(self) -> ServerClock:
        """The clock of the server; it raises StoreError before the first connection."""
        return self._clock

    async def run(
        self,
        job: Job[Result],
        *,
        write: bool = True,
        durable: bool = True,
        atomic: bool = True,
    ) -> Result:
        """Return the result of a job, as of `Store`."""
        mode = Mode(write, durable, atomic)
        if write:
            job = fenced(job, atomic=atomic, durable=durable)
        self._require_open()
        deadline = asyncio.get_running_loop().time() + calls.STATEMENT_SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                running = await self._start(job, mode)
        except TimeoutError:
            raise StoreError(
                f"{self._url}: no connection was free in {calls.STATEMENT_SECONDS:g} s"
            ) from None
        try:
            return await self._result(running, deadline)
        except LeaseLostError:
            # So that nothing is sent either, whatever the caller makes of the error.
            if (lease := leases.current()) is not None:
                lease.lose()
            raise

    @asynccontextmanager
    async def beside(self, connections: int) -> AsyncIterator[PostgresStore]:
        """Open the same database on other connections, for what must not wait here."""
        other = PostgresStore(self._url, self._clock, connections=connections)
        # The tables are there; a server that is gone fails the first job.
        other._open = True
        try:
            yield other
        finally:
            await other.__aexit__()

    async def settle(self) -> None:
        """Wait for jobs that run on after their callers were cancelled."""
        free = 0
        try:
            for _each in self._slots:
                await self._places.acquire()
                free += 1
        finally:
            for _ in range(free):
                self._places.release()

    async def shrink(self) -> None:
        """Do nothing: the server reuses free space, and autovacuum returns it."""

    def listen(self, channel: str) -> AsyncGenerator[str, None]:
        """Yield "" once notifications arrive, then the payload of each."""
        return listen(self._url, channel)

    def _require_open(self) -> None:
        if not self._open:
            raise StoreError("the database is closed")

    async def _start(self, job: Job[Result], mode: Mode) -> _Running[Result]:
        """Start a job when a connection is free."""
        gates = [self._places]
        if mode.write and mode.atomic:
            gates.insert(0, self._writer)
        held: list[asyncio.Semaphore] = []
        try:
            for gate in gates:
                await gate.acquire()
                held.append(gate)
            self._require_open()
            return self._submit(job, mode, held)
        except BaseException:
            for gate in held:
                gate.release()
            raise

    def _submit(
        self, job: Job[Result], mode: Mode, gates: list[asyncio.Semaphore]
    ) -> _Running[Result]:
        """Run a job in a thread; it ends the places in `gates` for others."""
        loop = asyncio.get_running_loop()
        slot = self._free.pop()
        call = Call(slot, job, mode)
        future = self._threads.submit(call.run)

        def release() -> None:
            self._free.append(slot)
            for gate in gates:
                gate.release()

        def ended(_: Future[Result]) -> None:
            with suppress(RuntimeError):
                # Unless the event loop has ended before.
                loop.call_soon_threadsafe(release)

        future.add_done_callback(ended)
        return _Running(call, future)

    async def _result(self, running: _Running[Result], deadline: float) -> Result:
        """Return the result of a job that runs; it is ended after the deadline."""
        loop = asyncio.get_running_loop()
        waiting = asyncio.wrap_future(running.future)
        given_up = loop.create_future()
        # Also for a caller that is cancelled, whose job runs on.
        timers = [
            loop.call_at(deadline, _in_new_thread, running.call.expire),
            loop.call_at(
                deadline + CANCEL_SECONDS, _in_new_thread, running.call.abandon
            ),
            loop.call_at(deadline + 2 * CANCEL_SECONDS, given_up.set_result, None),
        ]

        def ended(_: asyncio.Future[Result]) -> None:
            for each in timers:
                each.cancel()
            # If the caller is gone, its error is not asked for.
            _retrieve(waiting)

        waiting.add_done_callback(ended)
        await asyncio.wait([waiting, given_up], return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        raise StoreError(f"{self._url}: no answer in {calls.STATEMENT_SECONDS:g} s")

    def _upgrade(self) -> None:
        with opening(self._url):
            upgrade_tables(self._slots[0].open())

    async def _in_thread(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


@dataclass(frozen=True, slots=True)
class _Running(Generic[Result]):
    """A call and its future result."""

    call: Call[Result]
    future: Future[Result]


def _in_new_thread(step: Callable[[], None]) -> None:
    """Run a step that may wait for the server while all threads of the pool do."""
    threading.Thread(target=step, daemon=True).start()


def _retrieve(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
