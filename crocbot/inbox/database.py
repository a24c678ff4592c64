"""
The file behind the inbox: every transaction that there is, for one thread.

- An update that Telegram delivers again dies on the primary key.  For that a finished
  row stays for `KEEP` seconds, without its content unless it failed or was set aside.
- The ledger is kept in the same transactions, so that it closes after any crash:
  accepted = the sum over the dispositions + open.
- What cannot be used raises InboxError, and nothing of that transaction happened.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from crocbot import store
from crocbot.errors import InboxError, OperatorError
from crocbot.events import InboxState
from crocbot.model import Disposition, Outcome, RawUpdate, Row

VERSION = 1
KEEP = 48 * 3600.0
MOST_DELETED = 1000
BUSY_SECONDS = 2.0
FREE_PAGES = 1000
INCREMENTAL = 2
LONGEST_REASON = 300
KEPT = frozenset({Disposition.FAILED, Disposition.SET_ASIDE})

# A ledger line is only ever changed in the transaction that it counts.
SCHEMA = """
CREATE TABLE rows (
    update_id   INTEGER PRIMARY KEY,
    raw         TEXT NOT NULL,
    accepted    REAL NOT NULL,
    disposition TEXT,
    closed      REAL,
    reason      TEXT,
    reply       TEXT,
    reopened    INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX open_rows ON rows (accepted, update_id) WHERE disposition IS NULL;
CREATE INDEX finished_rows ON rows (closed) WHERE disposition IS NOT NULL;
CREATE TABLE ledger (line TEXT PRIMARY KEY, count INTEGER NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """A row that failed or was set aside, for the operator; `closed` is when."""

    update_id: int
    closed: float
    reason: str
    raw: RawUpdate
    disposition: Disposition = Disposition.FAILED


class Database:
    """
    The rows of one file.  `clock` is Unix time.

    Used by one thread at a time.  Two processes may have it open: the gateway and a
    command of the operator.
    """

    def __init__(self, file: Path, clock: Callable[[], float]) -> None:
        self._file = file
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def open(self) -> None:
        """Open the file, or make it; OperatorError if it is not ours to use."""
        try:
            self._open()
        except sqlite3.OperationalError as error:
            # Locked, no room, not writable: the file itself is good.
            raise OperatorError(
                f"{self._file} cannot be used as inbox: {error}"
            ) from error
        except (sqlite3.Error, InboxError) as error:
            raise OperatorError(
                f"{self._file} cannot be used as inbox: {error};"
                " move it away to start with an empty one"
            ) from error

    def _open(self) -> None:
        self._connection = connection = store.connect(self._file, BUSY_SECONDS)
        try:
            self._inode = self._file.stat().st_ino
            if connection.execute("PRAGMA auto_vacuum").fetchone() != (INCREMENTAL,):
                connection.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
                connection.execute("VACUUM")
            store.make_durable(connection)
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise InboxError("it is damaged")
            with self._transaction():
                self._migrate(connection)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

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
            lines = ["accepted", "duplicates", *Disposition]
            connection.executemany(
                "INSERT INTO ledger VALUES (?, 0)", [(str(line),) for line in lines]
            )
            connection.execute(f"PRAGMA user_version={VERSION}")

    def accept(self, raws: Sequence[RawUpdate]) -> list[Row]:
        """Store updates; returns the new ones."""
        now = self._clock()
        fresh = []
        with self._transaction() as connection:
            # First, so that an id that Telegram uses again after a week is free.
            self._forget(connection, now)
            for raw in raws:
                stored = connection.execute(
                    "INSERT OR IGNORE INTO rows (update_id, raw, accepted)"
                    " VALUES (?, ?, ?)",
                    (raw["update_id"], json.dumps(raw, separators=(",", ":")), now),
                )
                if stored.rowcount:
                    fresh.append(Row(raw["update_id"], raw, now))
            self._count(connection, "accepted", len(fresh))
            self._count(connection, "duplicates", len(raws) - len(fresh))
        return fresh

    def end(self, outcomes: Sequence[Outcome]) -> list[int]:
        """End the rows of some outcomes; returns how many of each were open."""
        with self._transaction() as connection:
            return [self._end(connection, outcome) for outcome in outcomes]

    def _end(self, connection: sqlite3.Connection, outcome: Outcome) -> int:
        ended = 0
        kept = outcome.disposition in KEPT
        for place, update_id in enumerate(outcome.update_ids):
            ended += connection.execute(
                "UPDATE rows SET disposition = ?, closed = ?, reason = ?, reply = ?,"
                " reopened = 0, raw = iif(?, raw, '')"
                " WHERE update_id = ? AND disposition IS NULL",
                (
                    str(outcome.disposition),
                    self._clock(),
                    outcome.reason and _clean(outcome.reason)[:LONGEST_REASON],
                    # One of the rows that made it is enough.
                    None
                    if place
                    else outcome.undelivered and _clean(outcome.undelivered),
                    kept,
                    update_id,
                ),
            ).rowcount
        self._count(connection, str(outcome.disposition), ended)
        return ended

    def open_rows(self) -> list[Row]:
        """What has not ended, oldest first."""
        with self._transaction() as connection:
            self._settle(connection)
            return list(_rows(connection, "disposition IS NULL"))

    def reopened(self) -> list[Row]:
        """What the operator opened again since the last time, oldest first."""
        chosen = "disposition IS NULL AND reopened"
        with self._transaction(write=False) as connection:
            if not any(_rows(connection, chosen)):
                return []
        with self._transaction() as connection:
            found = list(_rows(connection, chosen))
            self._settle(connection)
        return found

    @staticmethod
    def _settle(connection: sqlite3.Connection) -> None:
        """A row that was opened again is told of once."""
        connection.execute(
            "UPDATE rows SET reopened = 0 WHERE disposition IS NULL AND reopened"
        )

    def waiting(self, most: int) -> list[Row]:
        """Show so many of the rows that have not ended, oldest first."""
        with self._transaction(write=False) as connection:
            return list(islice(_rows(connection, "disposition IS NULL"), most))

    def failures(self) -> list[Failure]:
        """Rows that failed or were set aside, not yet forgotten, oldest first."""
        with self._transaction() as connection:
            found = connection.execute(
                "SELECT update_id, closed, coalesce(reason, ''), raw, disposition"
                " FROM rows WHERE disposition IN (?, ?) ORDER BY closed, update_id",
                (str(Disposition.FAILED), str(Disposition.SET_ASIDE)),
            ).fetchall()
        return [
            Failure(number, closed, reason, json.loads(raw), Disposition(end))
            for number, closed, reason, raw, end in found
        ]

    def reopen(self, update_ids: Sequence[int] | None) -> int:
        """Open failed rows again, all of them if none are named; returns how many."""
        with self._transaction() as connection:
            if update_ids is None:
                chosen = connection.execute(
                    "SELECT update_id FROM rows WHERE disposition = ?",
                    (str(Disposition.FAILED),),
                )
                update_ids = [number for (number,) in chosen]
            opened = 0
            for update_id in update_ids:
                opened += connection.execute(
                    "UPDATE rows SET disposition = NULL, closed = NULL, reason = NULL,"
                    " reopened = 1 WHERE update_id = ? AND disposition = ?",
                    (update_id, str(Disposition.FAILED)),
                ).rowcount
            self._count(connection, str(Disposition.FAILED), -opened)
        return opened

    def state(self) -> InboxState:
        """Count everything, in one transaction."""
        with self._transaction(write=False) as connection:
            lines = dict(connection.execute("SELECT line, count FROM ledger"))
            still_open, oldest = connection.execute(
                "SELECT count(*), min(accepted) FROM rows WHERE disposition IS NULL"
            ).fetchone()
        return InboxState(
            accepted=lines["accepted"],
            open=still_open,
            closed={end: lines[end] for end in Disposition},
            duplicates=lines["duplicates"],
            oldest_accepted_at=oldest,
        )

    def probe(self) -> None:
        """Write something of no consequence: can the next update be stored?"""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO ledger VALUES ('probe', 1)"
                " ON CONFLICT (line) DO UPDATE SET count = 1 - count"
            )

    def tidy(self) -> None:
        """Forget what is old and give its room back to the file system."""
        with self._transaction() as connection:
            self._forget(connection, self._clock())
        try:
            # Each step frees one page; execute() would stop after the first.
            connection.executescript(f"PRAGMA incremental_vacuum({FREE_PAGES})")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise InboxError(str(error)) from error

    @staticmethod
    def _forget(connection: sqlite3.Connection, now: float) -> None:
        connection.execute(
            "DELETE FROM rows WHERE update_id IN (SELECT update_id FROM rows"
            " WHERE disposition IS NOT NULL AND closed < ? LIMIT ?)",
            (now - KEEP, MOST_DELETED),
        )

    @staticmethod
    def _count(connection: sqlite3.Connection, line: str, by: int) -> None:
        connection.execute(
            "UPDATE ledger SET count = count + ? WHERE line = ?", (by, line)
        )

    @contextmanager
    def _transaction(self, *, write: bool = True) -> Iterator[sqlite3.Connection]:
        connection = self._connection
        if connection is None:
            raise InboxError("the inbox is closed")
        self._still_there()
        try:
            with store.transaction(connection, write=write):
                yield connection
        except sqlite3.Error as error:
            raise InboxError(str(error)) from error

    def _still_there(self) -> None:
        """SQLite would go on writing to a file that nobody can open again."""
        try:
            inode = os.stat(self._file).st_ino
        except OSError as error:
            raise InboxError(f"{self._file}: {error.strerror}") from error
        if inode != self._inode:
            raise InboxError(f"{self._file} is another file now: restart the gateway")


def _rows(connection: sqlite3.Connection, where: str) -> Iterator[Row]:
    found = connection.execute(
        "SELECT update_id, raw, accepted, reply FROM rows"  # noqa: S608 (ours)
        f" WHERE {where} ORDER BY accepted, update_id"
    )
    for update_id, raw, accepted, reply in found:
        yield Row(update_id, json.loads(raw), accepted, reply)


def _clean(text: str) -> str:
    """Half a surrogate pair cannot be stored."""
    return text.encode("utf-8", "replace").decode("utf-8")
