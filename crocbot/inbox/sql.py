"""
The SQL of the inbox: functions of a connection, each a part of one transaction.

- The order of rows is `seq`, the order in which they were accepted.
- A row whose update is delivered again is not inserted, because `update_id` is unique.
  For that a closed row stays for RETENTION_SECONDS, without its content unless it
  failed or was set aside.
- The ledger is kept in the same transactions, so that after any crash
  accepted = sum over the dispositions + open.
- `trying` marks the rows of running turns.  Rows that are marked when a process starts
  were in a turn when the last one ended; `tries` counts how often that was a crash.
- Times are the file's (`FileClock`); `expires` is retention time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crocbot.events import InboxState
from crocbot.inbox import replies
from crocbot.model import Disposition, Outcome, RawUpdate, Reply, Row
from crocbot.store import Connection

RETENTION_SECONDS = 48 * 3600.0
MAX_DELETED = 1000
# More than there can be: a LIMIT that both engines take for none.
MAX_ROWS = 2**62
MAX_REASON_LENGTH = 300
CONTENT_KEPT = frozenset({Disposition.FAILED, Disposition.SET_ASIDE})

# A ledger line is only ever changed in the transaction that it counts.
SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS rows (
    seq         INTEGER PRIMARY KEY,
    update_id   INTEGER NOT NULL UNIQUE,
    raw         TEXT NOT NULL,
    accepted    REAL NOT NULL,
    disposition TEXT,
    closed      REAL,
    expires     REAL,
    reason      TEXT,
    reply       TEXT,
    markdown    INTEGER NOT NULL DEFAULT 0,
    reopened    INTEGER NOT NULL DEFAULT 0,
    retried     INTEGER NOT NULL DEFAULT 0,
    trying      INTEGER NOT NULL DEFAULT 0,
    tries       INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS open_rows ON rows (seq) WHERE disposition IS NULL;
CREATE INDEX IF NOT EXISTS expiring_rows ON rows (expires)
    WHERE disposition IS NOT NULL;
CREATE INDEX IF NOT EXISTS failed_rows ON rows (seq) WHERE disposition = 'failed';
CREATE TABLE IF NOT EXISTS ledger (line TEXT PRIMARY KEY, count INTEGER NOT NULL);
INSERT OR IGNORE INTO ledger VALUES ('accepted', 0), ('duplicates', 0),
    ('answered', 0), ('failed', 0), ('denied', 0), ('cancelled', 0), ('ignored', 0),
    ('set_aside', 0);
CREATE TABLE IF NOT EXISTS probe (id INTEGER PRIMARY KEY, content BLOB NOT NULL);
"""
    + replies.SCHEMA
)


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
    rows = []
    for raw in updates:
        inserted = connection.execute(
            "INSERT INTO rows (update_id, raw, accepted) VALUES (?, ?, ?)"
            " ON CONFLICT (update_id) DO NOTHING",
            (raw["update_id"], json.dumps(raw, separators=(",", ":")), now),
        )
        if inserted.rowcount:
            rows.append(Row(raw["update_id"], raw, now))
    count(connection, "accepted", len(rows))
    count(connection, "duplicates", len(updates) - len(rows))
    return rows


def close_rows(
    connection: Connection, outcomes: Sequence[Outcome], now: float, retention: float
) -> list[int]:
    """
    Close the rows of outcomes; return how many of each were open.

    `now` and `retention` are the two times of the file.
    """
    expires = retention + RETENTION_SECONDS
    return [_close_one(connection, outcome, now, expires) for outcome in outcomes]


def _close_one(
    connection: Connection, outcome: Outcome, now: float, expires: float
) -> int:
    closed = 0
    reply = outcome.undelivered
    keeps_files = bool(reply and (reply.files or reply.buttons))
    for update_id in outcome.update_ids:
        if not keeps_files:
            replies.remove(connection, update_id)
        closed += connection.execute(
            "UPDATE rows SET disposition = ?, closed = ?, expires = ?, reason = ?,"
            " reply = ?, markdown = ?, reopened = 0,"
            " raw = CASE WHEN ? = 1 THEN raw ELSE '' END"
            " WHERE update_id = ? AND disposition IS NULL",
            (
                str(outcome.disposition),
                now,
                expires,
                outcome.reason and _storable(outcome.reason)[:MAX_REASON_LENGTH],
                reply and _storable(reply.text),
                reply is not None and reply.markdown,
                outcome.disposition in CONTENT_KEPT,
                update_id,
            ),
        ).rowcount
        # One row of the turn is enough to deliver it.
        reply = None
        if outcome.replaced_by is not None:
            _take_place(connection, update_id, outcome.replaced_by)
    count(connection, str(outcome.disposition), closed)
    return closed


def _take_place(connection: Connection, update_id: int, row: Row) -> None:
    """Give an open row the place in the order, and the age, of a closed one."""
    connection.execute(
        "UPDATE rows SET raw = ? WHERE update_id = ? AND disposition IS NULL",
        (json.dumps(row.raw, separators=(",", ":")), row.update_id),
    )
    (old, accepted), (new, _) = (
        connection.execute(
            "SELECT seq, accepted FROM rows WHERE update_id = ?", (each,)
        ).fetchone()
        for each in (update_id, row.update_id)
    )
    if new > old:
        for seq, each in ((-1, update_id), (old, row.update_id), (new, update_id)):
            connection.execute(
                "UPDATE rows SET seq = ? WHERE update_id = ?", (seq, each)
            )
        connection.execute(
            "UPDATE rows SET accepted = ? WHERE update_id = ?",
            (accepted, row.update_id),
        )


def begin(connection: Connection, update_ids: Sequence[int]) -> None:
    """Mark the rows of turns that begin."""
    connection.executemany(
        "UPDATE rows SET trying = 1 WHERE update_id = ? AND disposition IS NULL",
        [(update_id,) for update_id in update_ids],
    )


def recover(connection: Connection, *, orderly: bool) -> None:
    """
    Count the tries that the end of the last process ended, unless that was orderly.

    Called once a process, before the first begin().
    """
    if not orderly:
        connection.execute(
            "UPDATE rows SET tries = tries + 1 WHERE disposition IS NULL AND trying = 1"
        )
    connection.execute(
        "UPDATE rows SET trying = 0 WHERE disposition IS NULL AND trying = 1"
    )
    replies.remove_stale(connection)


def open_rows(connection: Connection) -> list[Row]:
    """Return the open rows, oldest first."""
    take_reopened(connection)
    return list(_rows(connection))


def has_reopened(connection: Connection) -> bool:
    """Return whether take_reopened() would return a row; writes nothing."""
    return next(_rows(connection, "AND reopened = 1"), None) is not None


def take_reopened(connection: Connection) -> list[Row]:
    """Return the rows that the operator opened again, oldest first; each once."""
    rows = list(_rows(connection, "AND reopened = 1"))
    connection.execute(
        "UPDATE rows SET reopened = 0 WHERE disposition IS NULL AND reopened = 1"
    )
    return rows


def oldest_open(connection: Connection, limit: int) -> list[Row]:
    """Return the oldest open rows, at most `limit`."""
    return list(_rows(connection, limit=limit))


def failures(connection: Connection) -> list[Failure]:
    """Return the rows that failed or were set aside and are still kept, by time."""
    found = connection.execute(
        "SELECT update_id, closed, coalesce(reason, ''), raw, disposition"
        " FROM rows WHERE disposition IN (?, ?) ORDER BY closed, seq",
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
            "UPDATE rows SET disposition = NULL, closed = NULL, expires = NULL,"
            " reason = NULL, reopened = 1, retried = 1, trying = 0, tries = 0"
            " WHERE update_id = ? AND disposition = ?",
            (update_id, failed),
        ).rowcount
    count(connection, failed, -reopened)
    return reopened


def state(connection: Connection) -> InboxState:
    """Return the ledger, the number of open rows and the age of the oldest one."""
    lines = dict(connection.execute("SELECT line, count FROM ledger"))
    (open_count,) = connection.execute(
        "SELECT count(*) FROM rows WHERE disposition IS NULL"
    ).fetchone()
    oldest = connection.execute(
        "SELECT accepted FROM rows WHERE disposition IS NULL ORDER BY seq LIMIT 1"
    ).fetchone()
    return InboxState(
        accepted=lines["accepted"],
        open=open_count,
        closed={disposition: lines[disposition] for disposition in Disposition},
        duplicates=lines["duplicates"],
        oldest_accepted_at=oldest and oldest[0],
    )


def count_kept_replies(connection: Connection, except_reason: str) -> int:
    """Return how many failed rows have a reply, except for reasons that begin so."""
    (count,) = connection.execute(
        "SELECT count(*) FROM rows WHERE disposition = 'failed'"
        " AND reply IS NOT NULL AND substr(coalesce(reason, ''), 1, ?) != ?",
        (len(except_reason), except_reason),
    ).fetchone()
    return int(count)


def probe(connection: Connection, size: int) -> None:
    """Write bytes without meaning, to find out whether updates can be stored."""
    # Random: SQLite does not write what has not changed.
    connection.execute(
        "INSERT INTO probe VALUES (1, ?) ON CONFLICT (id) DO UPDATE"
        " SET content = excluded.content",
        (os.urandom(size),),
    )


def delete_expired(connection: Connection, retention: float) -> None:
    """Delete rows that expired before a retention time, at most MAX_DELETED."""
    connection.execute(
        "DELETE FROM rows WHERE seq IN (SELECT seq FROM rows"
        " WHERE disposition IS NOT NULL AND expires < ? LIMIT ?)",
        (retention, MAX_DELETED),
    )
    replies.remove_expired(connection)


def count(connection: Connection, line: str, by: int) -> None:
    """Change a line of the ledger, in the transaction that changes its rows."""
    connection.execute("UPDATE ledger SET count = count + ? WHERE line = ?", (by, line))


def _rows(
    connection: Connection, condition: str = "", limit: int = MAX_ROWS
) -> Iterator[Row]:
    found = connection.execute(
        "SELECT update_id, raw, accepted, reply, markdown, retried, tries"  # noqa: S608
        f" FROM rows WHERE disposition IS NULL {condition} ORDER BY seq LIMIT ?",
        (limit,),
    )
    for update_id, raw, accepted, text, markdown, retried, tries in found:
        reply, sent = None if text is None else Reply(text, bool(markdown)), None
        if (kept := replies.load(connection, update_id)) is not None:
            reply, sent = kept
        yield Row(
            update_id,
            json.loads(raw),
            accepted,
            reply=reply,
            sent=sent,
            retried=bool(retried),
            tries=tries,
        )


def _storable(text: str) -> str:
    """Replace half surrogate pairs, which no database can store."""
    return text.encode("utf-8", "replace").decode("utf-8")
