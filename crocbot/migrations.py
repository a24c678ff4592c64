"""
Earlier formats of the state file to the current one, each by one step.

    format 1 (0.1.0)    rows in the order of their time of acceptance; no clock
    format 2            rows in the order of `seq`; the clock of `FileClock`
    format 3            replies with files or buttons are kept: new tables, which the
                        schemas create; no step
    format 4            pushed messages: new tables; no step

A step runs before the schemas, in the transaction that sets the format.  It has the
table definitions of its own format, so that it does not change when they do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite3 import Connection

RETENTION_SECONDS = 48 * 3600.0
MIN_RETENTION_SECONDS = 3600.0
MAX_AGE_SECONDS = 7 * 86_400.0

ROWS_2 = """
CREATE TABLE rows_2 (
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
)
"""


def migrate(connection: Connection, version: int, now: float) -> None:
    """Change a file of an earlier format to the current one; `now` is Unix time."""
    for earlier, step in STEPS.items():
        if version <= earlier:
            step(connection, now)


def _from_1(connection: Connection, now: float) -> None:
    """Number the rows, and bound times of a clock that may have been wrong."""
    columns = _columns(connection, "rows")
    if columns:
        connection.execute(ROWS_2)
        connection.execute(
            _copy_rows(columns),
            {
                "now": now,
                "oldest": now - MAX_AGE_SECONDS,
                "retention": RETENTION_SECONDS,
                "first": now + MIN_RETENTION_SECONDS,
                "last": now + RETENTION_SECONDS,
            },
        )
        connection.execute("DROP TABLE rows")
        connection.execute("ALTER TABLE rows_2 RENAME TO rows")
        connection.execute("DELETE FROM ledger WHERE line = 'probe'")
    for table, column in (("pairings", "asked"), ("wrong_codes", "at")):
        if _columns(connection, table):
            connection.execute(
                f"UPDATE {table} SET {column} = min({column}, ?)",  # noqa: S608
                (now,),
            )


def _copy_rows(columns: frozenset[str]) -> str:
    """Return the statement that copies the rows; some columns of 0.1.0 came later."""

    def column(name: str, default: str) -> str:
        return name if name in columns else default

    # A reply is only kept for a row that the operator may reopen.
    retried = f"disposition IS NULL AND {column('reply', 'NULL')} IS NOT NULL"
    reopened = column("reopened", "0")
    # The first commits kept nothing of rows that failed.
    may_be_read = "disposition IN ('failed', 'set_aside')"
    return f"""
        INSERT INTO rows_2 (
            update_id, raw, accepted, disposition, closed, expires,
            reason, reply, markdown, reopened, retried
        )
        SELECT
            update_id,
            iif(raw = '' AND {may_be_read}, json_object('update_id', update_id), raw),
            max(:oldest, min(accepted, :now)), disposition,
            max(:oldest, min(closed, :now)),
            max(:first, min(closed + :retention, :last)),
            {column("reason", "NULL")}, {column("reply", "NULL")},
            {column("markdown", "0")}, {reopened}, {reopened} OR ({retried})
        FROM rows ORDER BY accepted, update_id
    """  # noqa: S608


def _columns(connection: Connection, table: str) -> frozenset[str]:
    """Return the names of a table's columns; empty if there is no such table."""
    found = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    return frozenset(name for (name,) in found)


STEPS: Mapping[int, Callable[[Connection, float], None]] = {1: _from_1}
"""The step from each earlier format, in order."""
