"""
A job on PostgreSQL: its transaction, its thread, its end, and when it runs again.

    Call.run() --> Slot --> connection --> BEGIN, lock, job, COMMIT --> result
                     ^          '-- lost: another one, if nothing was committed
                     '-- expire(), abandon(): by another thread
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from psycopg import Error as PsycopgError
from psycopg import errors

from crocbot.database_url import DatabaseUrl
from crocbot.errors import OperatorError, StoreError
from crocbot.store import schema
from crocbot.store.clock import ServerClock
from crocbot.store.connect import PostgresConnection, connect, store_error
from crocbot.store.interface import Job

STATEMENT_SECONDS = 10.0
IDLE_SECONDS = 4.0
MAX_CONFLICTS = 3
CONFLICT_PAUSE_SECONDS = 0.05
# Nothing was changed, and nothing is wrong.
CONFLICTS = (errors.DeadlockDetected, errors.SerializationFailure)

# Within the transaction only, so that a pooler in transaction mode works.
TIMEOUTS = (
    f"SET LOCAL statement_timeout = {STATEMENT_SECONDS * 1000:.0f};"
    f" SET LOCAL idle_in_transaction_session_timeout = {IDLE_SECONDS * 1000:.0f}"
)
BEGIN_READ = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; {TIMEOUTS}"
BEGIN_WRITE = f"BEGIN ISOLATION LEVEL READ COMMITTED; {TIMEOUTS}"
LOCK = "SELECT pg_advisory_xact_lock({}, {})".format(*schema.STORE_LOCK)
NOT_DURABLE = "SET LOCAL synchronous_commit = off"

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Mode:
    """How a job runs: see `Store.run`."""

    write: bool
    durable: bool
    atomic: bool

    @property
    def begin(self) -> str:
        """Return the statements that begin a transaction."""
        if not self.write:
            return BEGIN_READ
        return "; ".join([BEGIN_WRITE, *([] if self.durable else [NOT_DURABLE]), LOCK])


class Call(Generic[Result]):
    """A job that runs in the thread of a slot; `expired` once its time is over."""

    def __init__(self, slot: Slot, job: Job[Result], mode: Mode) -> None:
        self.slot = slot
        self.job = job
        self.mode = mode
        self.expired = False
        self.committing = False

    def run(self) -> Result:
        """Return the result of the job.  Raise StoreError."""
        return self.slot.run(self)

    def expire(self) -> None:
        """End the statement that runs."""
        self.expired = True
        self.slot.cancel(self)

    def abandon(self) -> None:
        """End the connection below the job."""
        self.slot.shut_down(self)


class Slot:
    """
    A place in the pool: a connection, once there is one.

    A thread runs jobs in it; others cancel the call that they mean, and no later one.
    """

    def __init__(self, url: DatabaseUrl, clock: ServerClock) -> None:
        self.url = url
        self._clock = clock
        self._connection: PostgresConnection | None = None
        self._call: Call[Any] | None = None
        self._lock = threading.Lock()

    def run(self, call: Call[Result]) -> Result:
        """Return the result of a call, which may run several times."""
        self._call = call
        try:
            return self._run(call)
        finally:
            # Waits for a thread that is cancelling this call.
            with self._lock:
                self._call = None

    def cancel(self, call: Call[Any]) -> None:
        """Ask the server to end the statement of a call, if it runs."""
        with self._lock:
            if self._call is call and self._connection is not None:
                self._connection.cancel()

    def shut_down(self, call: Call[Any]) -> None:
        """End the connection of a call, if it runs."""
        with self._lock:
            if self._call is call and self._connection is not None:
                self._connection.shut_down()

    def open(self) -> PostgresConnection:
        """Return a connection that the server has not closed."""
        if self._connection is not None and self._connection.broken:
            self.close()
        if self._connection is None:
            self._connection = connect(self.url, self._clock)
        return self._connection

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def end(self) -> None:
        """Close the connection; of a call that runs, end it."""
        if not self._lock.acquire(blocking=False):
            # A thread is cancelling the call, which ends then.
            return
        try:
            if self._call is None:
                self.close()
            elif self._connection is not None:
                self._connection.shut_down()
        finally:
            self._lock.release()

    def _run(self, call: Call[Result]) -> Result:
        lost, conflicts = False, 0
        while True:
            connection = self._usable(call)
            try:
                return self._attempt(connection, call)
            except PsycopgError as error:
                if isinstance(error, CONFLICTS) and conflicts < MAX_CONFLICTS:
                    conflicts += 1
                    time.sleep(random.uniform(0, conflicts * CONFLICT_PAUSE_SECONDS))
                elif not lost and self._may_repeat(connection, call, error):
                    lost = True
                elif call.expired:
                    raise self._too_slow() from None
                else:
                    raise store_error(self.url, error) from None

    def _usable(self, call: Call[Any]) -> PostgresConnection:
        try:
            connection = self.open()
        except OperatorError as error:
            # It may be mended on the server, without a restart of the gateway.
            raise StoreError(str(error)) from error
        if call.expired:
            raise self._too_slow()
        return connection

    @staticmethod
    def _attempt(connection: PostgresConnection, call: Call[Result]) -> Result:
        if not call.mode.atomic:
            return call.job(connection)
        call.committing = False
        with transaction(connection, call.mode.begin):
            result = call.job(connection)
            call.committing = call.mode.write
        return result

    def _may_repeat(
        self, connection: PostgresConnection, call: Call[Any], error: PsycopgError
    ) -> bool:
        """Return whether nothing was committed and another connection may help."""
        # After a failover this server may be the one that only reads.
        refused = isinstance(error, errors.ReadOnlySqlTransaction)
        if not refused and not connection.broken:
            return False
        self.close()
        if refused or not call.mode.write:
            return True
        return call.mode.atomic and not call.committing

    def _too_slow(self) -> StoreError:
        return StoreError(f"{self.url}: no answer in {STATEMENT_SECONDS:g} s")


@contextmanager
def transaction(connection: PostgresConnection, begin: str) -> Iterator[None]:
    """Commit what is done inside, or nothing of it if that raises."""
    try:
        connection.run(begin)
        yield
        connection.run("COMMIT")
    except BaseException:
        with suppress(PsycopgError):
            if connection.in_transaction:
                connection.run("ROLLBACK")
        raise
