"""
The SQLite file of the state directory, for whatever must be remembered besides rows.

    async with Store(file, [SCHEMA, ...]) as store:
        await store.run(job)         job(connection) runs in one transaction

    with opened(file, [SCHEMA]) as connection: ...      for the command line

One thread owns the connection; the event loop never waits for the disk.  The inbox has
another connection to the same file, made and used by the functions here, and so may a
command have that runs meanwhile: whoever comes second waits, at most `BUSY_SECONDS`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Self, TypeVar

from crocbot.errors import OperatorError, StoreError

BUSY_SECONDS = 10.0

Result = TypeVar("Result")
Job = Callable[[sqlite3.Connection], Result]


class Store:
    """One connection, in a thread of its own.  Owned by the event loop."""

    def __init__(self, file: Path, schemas: Sequence[str]) -> None:
        self._file = file
        self._schemas = schemas
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        try:
            self._connection = await loop.run_in_executor(
                self._thread, _connect, self._file, self._schemas
            )
        except sqlite3.Error as error:
            self._thread.shutdown(wait=False)
            raise OperatorError(f"{self._file} cannot be used: {error}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._connection.close)
            self._connection = None
        self._thread.shutdown()

    async def run(self, job: Job[Result]) -> Result:
        """Run a job in a transaction, to its end even if the caller is cancelled."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._run, job)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def _run(self, job: Job[Result]) -> Result:
        if self._connection is None:
            raise StoreError("the file is closed")
        with transaction(self._connection):
            return job(self._connection)


@contextmanager
def opened(file: Path, schemas: Sequence[str]) -> Iterator[sqlite3.Connection]:
    """Open the file for one transaction of a command; raises OperatorError."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = _connect(file, schemas)
        try:
            with transaction(connection):
                yield connection
        finally:
            connection.close()
    except OSError as error:
        raise OperatorError(
            f"CROCBOT_STATE_DIR: cannot write in {file.parent}: {error.strerror}"
        ) from error
    except sqlite3.Error as error:
        raise OperatorError(f"{file} cannot be used: {error}") from error


def inspect(file: Path) -> None:
    """Look whether a file is one of ours, and change nothing; raises OperatorError."""
    try:
        # Immutable: not even a lock is taken, so a running gateway does not mind.
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise OperatorError(
            f"{file} cannot be used: {error}; move it away to start with an empty one"
        ) from error


def connect(file: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open a file without looking into it; whoever uses it waits so long for others."""
    return sqlite3.connect(
        file, isolation_level=None, check_same_thread=False, timeout=busy_seconds
    )


def make_durable(connection: sqlite3.Connection) -> None:
    """Let a commit survive a power cut, and readers not wait for the one who writes."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


@contextmanager
def transaction(
    connection: sqlite3.Connection, *, write: bool = True
) -> Iterator[None]:
    """All of what is done, or nothing if it raises."""
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some faults, a full disk for one, SQLite has rolled back itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _connect(file: Path, schemas: Sequence[str]) -> sqlite3.Connection:
    connection = connect(file, BUSY_SECONDS)
    try:
        make_durable(connection)
        with transaction(connection):
            for schema in schemas:
                for statement in schema.split(";"):
                    connection.execute(statement)
    except BaseException:
        connection.close()
        raise
    return connection
