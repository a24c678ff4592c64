"""
The SQLite file of the state directory: one connection, in a thread of its own.

    async with SqliteStore(file, [SCHEMA, ...]) as store: ...

    with opened(file, [SCHEMA, ...]) as connection: ...     for the command line

The inbox, the pairings and the sessions share the connection and its thread; the event
loop never waits for the disk.  A command may have the file open beside the gateway:
one waits for the other, at most BUSY_SECONDS or COMMAND_BUSY_SECONDS.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from crocbot import migrations
from crocbot.clocks import SystemClocks
from crocbot.errors import OperatorError, StoreError
from crocbot.state_dir import PRIVATE_DIRECTORY, is_locked, make_private
from crocbot.store.clock import CLOCK_SCHEMA, FileClock
from crocbot.store.interface import Job

FORMAT = 4
# The inbox of the first commits of 0.1.0, a file of its own.
OLD_INBOX = "inbox.sqlite3"
BUSY_SECONDS = 2.0
COMMAND_BUSY_SECONDS = 10.0
CLOSE_SECONDS = 1.0
MAX_FREED_PAGES = 1000
INCREMENTAL = 2

Result = TypeVar("Result")


class SqliteStore:
    """
    The connection of the gateway.  Used on the event loop.

    Each of `schemas` is a text of SQL statements that change nothing the second time.
    """

    def __init__(
        self,
        file: Path,
        schemas: Sequence[str],
        clocks: SystemClocks | None = None,
    ) -> None:
        self._file = file
        self._schemas = schemas
        self._clocks = clocks or SystemClocks()
        self._clock: FileClock | None = None
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
        ending = asyncio.ensure_future(self._in_thread(self._close))
        # A disk that hangs must not keep the gateway from ending.
        await asyncio.wait([ending], timeout=CLOSE_SECONDS)
        self._thread.shutdown(wait=False)

    @property
    def clock(self) -> FileClock:
        """The clock of the file.  Raise StoreError if the file was never open."""
        if self._clock is None:
            raise StoreError("the file is closed")
        return self._clock

    async def run(
        self,
        job: Job[Result],
        *,
        write: bool = True,
        durable: bool = True,
        atomic: bool = True,  # noqa: ARG002
    ) -> Result:
        """Return the result of a job, as of `Store`: all jobs run in turn."""
        return await self._in_thread(partial(self._run, job, write, durable))

    async def shrink(self) -> None:
        """Return free pages to the file system, and empty the write-ahead log."""
        await self._in_thread(self._shrink)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        with _operator_errors(self._file):
            _take_over_old_inbox(self._file)
            connection = _connect(self._file, BUSY_SECONDS)
            try:
                _check_pages(connection)
                _create(connection, self._schemas, self._clocks)
                self._clock = FileClock.load(connection, self._clocks)
                with suppress(sqlite3.OperationalError), _transaction(connection):
                    # Ages and retention go on from here.  On a full disk, later.
                    self._clock.save(connection, self._clock.read())
                self._inode = self._file.stat().st_ino
            except BaseException:
                connection.close()
                raise
        self._connection = connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _run(self, job: Job[Result], write: bool, durable: bool) -> Result:
        connection = self._usable_connection()
        try:
            with _synchronous(connection, durable), _transaction(connection, write):
                return job(connection)
        except sqlite3.Error as error:
            raise StoreError(str(error), no_space=_is_no_space(error)) from error

    def _shrink(self) -> None:
        connection = self._usable_connection()
        try:
            # Each step frees one page; execute() would stop after the first.
            connection.executescript(f"PRAGMA incremental_vacuum({MAX_FREED_PAGES})")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise StoreError(str(error), no_space=_is_no_space(error)) from error

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
        file.parent.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        connection = _connect(file, COMMAND_BUSY_SECONDS)
        try:
            if 0 < check_format(connection, file) < FORMAT and is_locked(file.parent):
                raise OperatorError(
                    f"{file}: the gateway that uses it is older than this command:"
                    " restart the gateway"
                )
            _create(connection, schemas, SystemClocks())
            with _transaction(connection):
                yield connection
        finally:
            connection.close()


def inspect(file: Path) -> None:
    """Raise OperatorError unless this program can use a file; change nothing."""
    with _operator_errors(file):
        # Immutable: takes no lock that a running gateway would wait for.
        uri = f"{file.as_uri()}?mode=ro&immutable=1"
        with closing(sqlite3.connect(uri, uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            check_format(connection, file)
            # Some pages of a file that is in use are in its log only.
            if not any(file.parent.glob("*-wal")) and not is_locked(file.parent):
                _check_pages(connection)


def _check_pages(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("it is damaged")


def _connect(file: Path, busy_seconds: float) -> sqlite3.Connection:
    """Open a file, or make it, so that a commit survives a power cut."""
    make_private(file)
    connection = sqlite3.connect(
        file, isolation_level=None, check_same_thread=False, timeout=busy_seconds
    )
    try:
        check_format(connection, file)
        if connection.execute("PRAGMA auto_vacuum").fetchone() != (INCREMENTAL,):
            connection.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
            connection.execute("VACUUM")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        # The default of SQLite depends on how it was built.
        connection.execute("PRAGMA secure_delete=ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _take_over_old_inbox(file: Path) -> None:
    """Give the inbox of the first commits its present name, unless there is one."""
    old = file.with_name(OLD_INBOX)
    if file.exists() or not old.exists():
        return
    connection = sqlite3.connect(old)
    try:
        # Its log would stay behind under the old name.
        connection.execute("PRAGMA journal_mode=DELETE")
    finally:
        connection.close()
    old.rename(file)


def check_format(connection: sqlite3.Connection, file: Path) -> int:
    """Return the format of a file; raise OperatorError for a newer one."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > FORMAT:
        raise OperatorError(
            f"{file} was written by a newer crocbot (format {version}, this one"
            f" knows {FORMAT}); use that one"
        )
    return version


def _create(
    connection: sqlite3.Connection, schemas: Sequence[str], clocks: SystemClocks
) -> None:
    """
    Change an earlier format to this one; create the tables that the file lacks.

    A file that has everything is not written, so that a command works on a full disk.
    """
    with _transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version:
            migrations.migrate(connection, version, clocks.wall())
        for statement in ";".join([CLOCK_SCHEMA, *schemas]).split(";"):
            connection.execute(statement)
        if version != FORMAT:
            connection.execute(f"PRAGMA user_version={FORMAT}")
            clock = FileClock.load(connection, clocks)
            clock.save(connection, clock.read())


@contextmanager
def _synchronous(connection: sqlite3.Connection, durable: bool) -> Iterator[None]:
    """Let commits wait for the disk, or not."""
    if durable:
        yield
        return
    connection.execute("PRAGMA synchronous=NORMAL")
    try:
        yield
    finally:
        connection.execute("PRAGMA synchronous=FULL")


@contextmanager
def _transaction(connection: sqlite3.Connection, write: bool = True) -> Iterator[None]:
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


def _is_no_space(error: sqlite3.Error) -> bool:
    """Return whether a smaller write might succeed; a quota is an I/O error."""
    name = getattr(error, "sqlite_errorname", "")
    return name in ("SQLITE_FULL", "SQLITE_TOOBIG") or name.startswith("SQLITE_IOERR")


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
