"""
Raw updates to rows that survive a crash, until each has ended.

    accept(raws) --> rows --> close(update_id, disposition)
       | one transaction          | many closes share one transaction
       v                          v
    inbox.sqlite3: WAL, synchronous=FULL, so a commit survives a power cut, too

- Telegram is told only after `accept` returned: the poller raises its offset then.
- An update that Telegram delivers again dies on the primary key.  For that a finished
  row stays for `KEEP` seconds, without its content unless it was set aside.
- The ledger is kept in the same transactions, so that it closes after any crash:
  accepted = the sum over the dispositions + open.

One thread owns the connection; the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from crocbot.errors import InboxError, OperatorError
from crocbot.model import Disposition, Raw, Row

FILE = "inbox.sqlite3"
VERSION = 1
KEEP = 48 * 3600.0
MOST_DELETED = 1000

# A ledger line is only ever changed in the transaction that it counts.
SCHEMA = """
CREATE TABLE rows (
    update_id   INTEGER PRIMARY KEY,
    raw         TEXT NOT NULL,
    accepted    REAL NOT NULL,
    disposition TEXT,
    closed      REAL
);
CREATE INDEX open_rows ON rows (accepted, update_id) WHERE disposition IS NULL;
CREATE INDEX finished_rows ON rows (closed) WHERE disposition IS NOT NULL;
CREATE TABLE ledger (line TEXT PRIMARY KEY, count INTEGER NOT NULL);
"""

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Ledger:
    """Totals since the file was made.  `open` is counted, not computed."""

    accepted: int
    open: int
    closed: Mapping[Disposition, int]


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Hold the state directory; a second gateway on it must not start."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperatorError(
            f"CROCBOT_STATE_DIR: cannot write in {state_dir}: {error.strerror}"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OperatorError(
                f"CROCBOT_STATE_DIR: another crocbot gateway works in {state_dir};"
                " stop it or choose another directory"
            ) from error
        yield
    finally:
        os.close(lock)


class Inbox:
    """
    The rows of one state directory, which the caller has locked.

    Owned by the event loop; the connection lives in the inbox's own thread.
    """

    def __init__(self, file: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="inbox")
        self._connection: sqlite3.Connection | None = None
        self._closing: list[tuple[int, Disposition, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        try:
            await self._run(self._open)
        except InboxError as error:
            self._thread.shutdown(wait=False)
            raise OperatorError(
                f"{self._file} cannot be used as inbox: {error};"
                " move it away to start with an empty one"
            ) from error
        except OperatorError:
            self._thread.shutdown(wait=False)
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Write what is still to be closed, then let go of the file."""
        if self._writer is not None:
            await asyncio.wait([self._writer])
        if self._connection is not None:
            await self._run(self._connection.close)
        self._thread.shutdown()

    async def accept(self, raws: Sequence[Raw]) -> list[Row]:
        """Store updates; returns the new ones.  Each has a whole `update_id`."""
        if not raws:
            return []
        return await self._run(partial(self._accept, raws))

    async def open_rows(self) -> list[Row]:
        """What an earlier run, or this one, did not finish; oldest first."""
        return await self._run(self._open_rows)

    async def ledger(self) -> Ledger:
        """Count everything, in one transaction."""
        return await self._run(self._ledger)

    async def close(self, update_id: int, disposition: Disposition) -> None:
        """
        End a row; returns when that is on disk.

        Closes that come while the disk is busy are written together.  They are
        written even if the caller is cancelled meanwhile.
        """
        done = asyncio.get_running_loop().create_future()
        self._closing.append((update_id, disposition, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_closes())
        await done

    async def _write_closes(self) -> None:
        while self._closing:
            batch, self._closing = self._closing, []
            ends = [(update_id, disposition) for update_id, disposition, _ in batch]
            fault: Exception | None = None
            try:
                await self._run(partial(self._close, ends))
            except Exception as error:
                # Whatever it is, those who wait must hear of it.
                fault = error
            for _, _, done in batch:
                if done.cancelled():
                    continue
                if fault is None:
                    done.set_result(None)
                else:
                    done.set_exception(fault)
        self._writer = None

    async def _run(self, job: Callable[[], Result]) -> Result:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, job)
        except sqlite3.Error as error:
            raise InboxError(str(error)) from error

    # Everything below runs in the inbox's thread.

    def _open(self) -> None:
        self._connection = connection = sqlite3.connect(
            self._file, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            with self._transaction():
                self._migrate(connection)
        except BaseException:
            connection.close()
            self._connection = None
            raise

    def _migrate(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise OperatorError(
                f"{self._file} was written by a newer crocbot (format {version},"
                f" this one knows {VERSION}); use that one"
            )
        if version == 0:
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            lines = ["accepted", *Disposition]
            connection.executemany(
                "INSERT INTO ledger VALUES (?, 0)", [(str(line),) for line in lines]
            )
            connection.execute(f"PRAGMA user_version={VERSION}")

    def _accept(self, raws: Sequence[Raw]) -> list[Row]:
        now = self._clock()
        fresh = []
        with self._transaction() as connection:
            # First, so that an id that Telegram uses again after a week is free.
            connection.execute(
                "DELETE FROM rows WHERE update_id IN (SELECT update_id FROM rows"
                " WHERE disposition IS NOT NULL AND closed < ? LIMIT ?)",
                (now - KEEP, MOST_DELETED),
            )
            for raw in raws:
                stored = connection.execute(
                    "INSERT OR IGNORE INTO rows (update_id, raw, accepted)"
                    " VALUES (?, ?, ?)",
                    (raw["update_id"], json.dumps(raw, separators=(",", ":")), now),
                )
                if stored.rowcount:
                    fresh.append(Row(raw["update_id"], raw, now))
            self._count(connection, "accepted", len(fresh))
        return fresh

    def _close(self, ends: Sequence[tuple[int, Disposition]]) -> None:
        now = self._clock()
        with self._transaction() as connection:
            for update_id, disposition in ends:
                kept = disposition is Disposition.SET_ASIDE
                ended = connection.execute(
                    "UPDATE rows SET disposition = ?, closed = ?,"
                    " raw = iif(?, raw, '')"
                    " WHERE update_id = ? AND disposition IS NULL",
                    (str(disposition), now, kept, update_id),
                )
                self._count(connection, str(disposition), ended.rowcount)

    def _open_rows(self) -> list[Row]:
        with self._transaction() as connection:
            found = connection.execute(
                "SELECT update_id, raw, accepted FROM rows"
                " WHERE disposition IS NULL ORDER BY accepted, update_id"
            )
            return [Row(number, json.loads(raw), at) for number, raw, at in found]

    def _ledger(self) -> Ledger:
        with self._transaction() as connection:
            lines = dict(connection.execute("SELECT line, count FROM ledger"))
            (still_open,) = connection.execute(
                "SELECT count(*) FROM rows WHERE disposition IS NULL"
            ).fetchone()
        return Ledger(
            lines["accepted"], still_open, {end: lines[end] for end in Disposition}
        )

    @staticmethod
    def _count(connection: sqlite3.Connection, line: str, by: int) -> None:
        connection.execute(
            "UPDATE ledger SET count = count + ? WHERE line = ?", (by, line)
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        if connection is None:
            raise InboxError("the inbox is closed")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            # After some faults, a full disk for one, SQLite has rolled back itself.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
