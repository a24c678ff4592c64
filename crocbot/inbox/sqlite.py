"""
The SQL of the inbox: functions of a connection, each a part of one transaction.

- A row whose update is delivered again is not inserted, because of the primary key.
  For that a closed row stays for RETENTION_SECONDS, without its content unless it
  failed or was set aside.
- The ledger is kept in the same transactions, so that after any crash
  accepted = sum over the dispositions + open.
- Times are Unix time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crocbot.events import InboxState
from crocbot.model import Disposition, Outcome, RawUpdate, Reply, Row

if TYPE_CHECKING:
    from sqlite3 import Connection

RETENTION_SECONDS = 48 * 3600.0
MAX_DELETED = 1000
MAX_REASON_LENGTH = 300
CONTENT_KEPT = frozenset({Disposition.FAILED, Disposition.SET_ASIDE})

# A ledger line is only ever changed in the transaction that it counts.  The column
# `markdown` came later: a reply without it is plain text.
SCHEMA = """
CREATE TABLE IF NOT EXISTS rows (
    update_id   INTEGER PRIMARY KEY,
    raw         TEXT NOT NULL,
    accepted    REAL NOT NULL,
    disposition TEXT,
    closed      REAL,
    reason      TEXT,
    reply       TEXT,
    reopened    INTEGER NOT NULL DEFAULT 0
);
ALTER TABLE rows ADD COLUMN markdown INTEGER NOT NULL DEFAULT 0;
CREATE INDEX IF NOT EXISTS open_rows ON rows (accepted, update_id)
    WHERE disposition IS NULL;
CREATE INDEX IF NOT EXISTS finished_rows ON rows (closed)
    WHERE disposition IS NOT NULL;
CREATE TABLE IF NOT EXISTS ledger (line TEXT PRIMARY KEY, count INTEGER NOT NULL);
INSERT OR IGNORE INTO ledger VALUES ('accepted', 0), ('duplicates', 0),
    ('answered', 0), ('failed', 0), ('denied', 0), ('cancelled', 0), ('ignored', 0),
    ('set_aside', 0)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A row that failed or was set aside at `closed_at`, for the operator."""

    update_id: int
    closed_at: float
    reason: str
    raw: RawUpdate
    disposition: Disposition = Disposition.FAILED


def accept(
    connection: Connection, updates: Sequence[RawUpdate], now: float
) -> list[Row]:
    """Insert the updates that are new; return their rows."""
    # First, so that an id that Telegram uses again after a week is free.
    delete_old(connection, now)
    rows = []
    for raw in updates:
        inserted = connection.execute(
            "INSERT OR IGNORE INTO rows (update_id, raw, accepted) VALUES (?, ?, ?)",
            (raw["update_id"], json.dumps(raw, separators=(",", ":")), now),
        )
        if inserted.rowcount:
            rows.append(Row(raw["update_id"], raw, now))
    _count(connection, "accepted", len(rows))
    _count(connection, "duplicates", len(updates) - len(rows))
    return rows


def close_rows(
    connection: Connection, outcomes: Sequence[Outcome], now: float
) -> list[int]:
    """Close the rows of outcomes; return how many of each were open."""
    return [_close_one(connection, outcome, now) for outcome in outcomes]


def _close_one(connection: Connection, outcome: Outcome, now: float) -> int:
    closed = 0
    reply = outcome.undelivered
    for update_id in outcome.update_ids:
        closed += connection.execute(
            "UPDATE rows SET disposition = ?, closed = ?, reason = ?, reply = ?,"
            " markdown = ?, reopened = 0, raw = iif(?, raw, '')"
            " WHERE update_id = ? AND disposition IS NULL",
            (
                str(outcome.disposition),
                now,
                outcome.reason and _storable(outcome.reason)[:MAX_REASON_LENGTH],
                reply and _storable(reply.text),
                reply is not None and reply.markdown,
                outcome.disposition in CONTENT_KEPT,
                update_id,
            ),
        ).rowcount
        # One row of the turn is enough to deliver it.
        reply = None
    _count(connection, str(outcome.disposition), closed)
    return closed


def open_rows(connection: Connection) -> list[Row]:
    """Return the open rows, oldest first."""
    take_reopened(connection)
    return list(_rows(connection))


def has_reopened(connection: Connection) -> bool:
    """Return whether take_reopened() would return a row; writes nothing."""
    return next(_rows(connection, "AND reopened"), None) is not None


def take_reopened(connection: Connection) -> list[Row]:
    """Return the rows that the operator opened again, oldest first; each once."""
    rows = list(_rows(connection, "AND reopened"))
    connection.execute(
        "UPDATE rows SET reopened = 0 WHERE disposition IS NULL AND reopened"
    )
    return rows


def oldest_open(connection: Connection, limit: int) -> list[Row]:
    """Return the oldest open rows, at most `limit`."""
    return list(_rows(connection, limit=limit))


def failures(connection: Connection) -> list[Failure]:
    """Return the rows that failed or were set aside and are still kept, by time."""
    found = connection.execute(
        "SELECT update_id, closed, coalesce(reason, ''), raw, disposition"
        " FROM rows WHERE disposition IN (?, ?) ORDER BY closed, update_id",
        (str(Disposition.FAILED), str(Disposition.SET_ASIDE)),
    )
    return [
        Failure(
            update_id=update_id,
            closed_at=closed,
            reason=reason,
            raw=json.loads(raw),
            disposition=Disposition(disposition),
        )
        for update_id, closed, reason, raw, disposition in found
    ]


def reopen(connection: Connection, update_ids: Sequence[int] | None) -> int:
    """Open failed rows again, all of them for None; return how many there were."""
    failed = str(Disposition.FAILED)
    if update_ids is None:
        chosen = connection.execute(
            "SELECT update_id FROM rows WHERE disposition = ?", (failed,)
        )
        update_ids = [update_id for (update_id,) in chosen]
    reopened = 0
    for update_id in update_ids:
        reopened += connection.execute(
            "UPDATE rows SET disposition = NULL, closed = NULL, reason = NULL,"
            " reopened = 1 WHERE update_id = ? AND disposition = ?",
            (update_id, failed),
        ).rowcount
    _count(connection, failed, -reopened)
    return reopened


def state(connection: Connection) -> InboxState:
    """Return the ledger, the number of open rows and the age of the oldest one."""
    lines = dict(connection.execute("SELECT line, count FROM ledger"))
    open_count, oldest = connection.execute(
        "SELECT count(*), min(accepted) FROM rows WHERE disposition IS NULL"
    ).fetchone()
    return InboxState(
        accepted=lines["accepted"],
        open=open_count,
        closed={disposition: lines[disposition] for disposition in Disposition},
        duplicates=lines["duplicates"],
        oldest_accepted_at=oldest,
    )


def probe(connection: Connection) -> None:
    """Write a value without meaning, to find out whether an update can be stored."""
    connection.execute(
        "INSERT INTO ledger VALUES ('probe', 1)"
        " ON CONFLICT (line) DO UPDATE SET count = 1 - count"
    )


def delete_old(connection: Connection, now: float) -> None:
    """Delete rows that were closed long ago, at most MAX_DELETED."""
    connection.execute(
        "DELETE FROM rows WHERE update_id IN (SELECT update_id FROM rows"
        " WHERE disposition IS NOT NULL AND closed < ? LIMIT ?)",
        (now - RETENTION_SECONDS, MAX_DELETED),
    )


def _count(connection: Connection, line: str, by: int) -> None:
    connection.execute("UPDATE ledger SET count = count + ? WHERE line = ?", (by, line))


def _rows(
    connection: Connection, condition: str = "", limit: int = -1
) -> Iterator[Row]:
    found = connection.execute(
        "SELECT update_id, raw, accepted, reply, markdown FROM rows"  # noqa: S608
        f" WHERE disposition IS NULL {condition} ORDER BY accepted, update_id LIMIT ?",
        (limit,),
    )
    for update_id, raw, accepted, text, markdown in found:
        reply = None if text is None else Reply(text, bool(markdown))
        yield Row(update_id, json.loads(raw), accepted, reply=reply)


def _storable(text: str) -> str:
    """Replace half surrogate pairs, which SQLite cannot store."""
    return text.encode("utf-8", "replace").decode("utf-8")
