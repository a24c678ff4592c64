"""
The SQLite file of the state directory: one connection, in a thread of its own.

    async with Store(file, [SCHEMA, ...]) as store:
        await store.run(job)                job(connection) in one transaction

    with opened(file, [SCHEMA, ...]) as connection: ...     for the command line

The inbox, the pairings and the sessions share the connection and its thread; the event
loop never waits for the disk.  A command may have the file open beside the gateway:
one waits for the other, at most BUSY_SECONDS or COMMAND_BUSY_SECONDS.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from crocbot.errors import OperatorError, StoreError

FORMAT = 1
BUSY_SECONDS = 2.0
COMMAND_BUSY_SECONDS = 10.0
CLOSE_SECONDS = 1.0
MAX_FREED_PAGES = 1000
INCREMENTAL = 2

Result = TypeVar("Result")
Job = Callable[[sqlite3.Connection], Result]


class Store:
    """
    The connection of the gateway.  Used on the event loop.

    Each of `schemas` is a text of SQL statements that change nothing the second time.
    """

    def __init__(self, file: Path, schemas: Sequence[str]) -> None:
        self._file = file
        self._schemas = schemas
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    async def __aenter__(self) -> Self:
        try:
            await self._in_thread(self._open)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        closing = asyncio.ensure_future(self._in_thread(self._close))
        # A disk that hangs must not keep the gateway from ending.
        await asyncio.wait([closing], timeout=CLOSE_SECONDS)
        self._thread.shutdown(wait=False)

    async def run(self, job: Job[Result], *, write: bool = True) -> Result:
        """
        Return the result of a job, which runs in a transaction.

        It runs to its end even if the caller is cancelled.  Raise StoreError, with
        nothing changed, if the file cannot be read or written.
        """
        return await self._in_thread(partial(self._run, job, write))

    async def shrink(self) -> None:
        """Return free pages to the file system, and empty the write-ahead log."""
        await self._in_thread(self._shrink)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        with _operator_errors(self._file):
            connection = _connect(self._file, BUSY_SECONDS)
            try:
                (problem,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if problem != "ok":
                    raise sqlite3.DatabaseError("it is damaged")
                _create(connection, self._schemas)
                self._inode = self._file.stat().st_ino
            except BaseException:
                connection.close()
                raise
        self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, job: Job[Result], write: bool) -> Result:
        connection = self._usable_connection()
        try:
            with _transaction(connection, write=write):
                return job(connection)
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def _shrink(self) -> None:
        connection = self._usable_connection()
        try:
            # Each step frees one page; execute() would stop after the first.
            connection.executescript(f"PRAGMA incremental_vacuum({MAX_FREED_PAGES})")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise StoreError(str(error)) from error

    def _usable_connection(self) -> sqlite3.Connection:
        """Return the connection, unless its file was deleted or replaced meanwhile."""
        if self._connection is None:
            raise StoreError("the file is closed")
        try:
            inode = self._file.stat().st_ino
        except OSError as error:
            raise StoreError(f"{self._file}: {error.strerror}") from error
        if inode != self._inode:
            raise StoreError(f"{self._file} is another file now: restart the gateway")
        return self._connection


@contextmanager
def opened(file: Path, schemas: Sequence[str]) -> Iterator[sqlite3.Connection]:
    """Open the file for one transaction of a command; raise OperatorError."""
    with _operator_errors(file):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = _connect(file, COMMAND_BUSY_SECONDS)
        try:
            _create(connection, schemas)
            with _transaction(connection):
                yield connection
        finally:
            connection.close()


def exists(file: Path) -> bool:
    """Return whether there is such a file; OperatorError if that cannot be read."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise OperatorError(
            f"CROCBOT_STATE_DIR: cannot read {file}: {error.strerror}"
        ) from error
    return True


def inspect(file: Path) -> None:
    """Raise OperatorError unless a file is an SQLite database; change nothing."""
    with _operator_errors(file):
        # Immutable: takes no lock that a running gateway would wait for.
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        finally:
            connection.close()


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Lock the state directory for one gateway; raise OperatorError if it is locked."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperatorError(
            f"CROCBOT_STATE_DIR: cannot write in {state_dir}: {error.strerror}"
        ) from error
    try:
        try:
            # The lock ends with the process, however that ends.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OperatorError(
                f"CROCBOT_STATE_DIR: another crocbot gateway works in {state_dir};"
                " stop it or choose another directory"
            ) from error
        yield
    finally:
        os.close(lock)


def _connect(file: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open a file, or make it, so that a commit survives a power cut."""
    connection = sqlite3.connect(
        file, isolation_level=None, check_same_thread=False, timeout=busy_seconds
    )
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise OperatorError(
                f"{file} was written by a newer crocbot (format {version}, this one"
                f" knows {FORMAT}); use that one"
            )
        if connection.execute("PRAGMA auto_vacuum").fetchone() != (INCREMENTAL,):
            connection.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
            connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection, schemas: Sequence[str]) -> None:
    """Create the tables that the file lacks, and the columns that came later."""
    with _transaction(connection):
        for statement in ";".join(schemas).split(";"):
            try:
                connection.execute(statement)
            except sqlite3.OperationalError as error:
                # ADD COLUMN has no IF NOT EXISTS.
                if "duplicate column name" not in str(error):
                    raise
        connection.execute(f"PRAGMA user_version={FORMAT}")


@contextmanager
def _transaction(
    connection: sqlite3.Connection, *, write: bool = True
) -> Iterator[None]:
    """Commit what is done inside, or nothing of it if that raises."""
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After some errors, such as a full disk, SQLite has rolled back itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _operator_errors(file: Path) -> Iterator[None]:
    """Raise OperatorError, which names the file, for one that cannot be opened."""
    try:
        yield
    except OSError as error:
        raise OperatorError(
            f"CROCBOT_STATE_DIR: cannot write in {file.parent}: {error.strerror}"
        ) from error
    except sqlite3.OperationalError as error:
        # Locked, no space, not writable: the content is good.
        raise OperatorError(f"{file} cannot be used: {error}") from error
    except sqlite3.Error as error:
        raise OperatorError(
            f"{file} cannot be used: {error}; move it away to start with an empty one"
        ) from error
