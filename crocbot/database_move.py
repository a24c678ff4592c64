"""
What is in a state file into an empty PostgreSQL database, in one transaction of it.

    checked   the ledger of the file adds up; no replica works, the database is empty
    copied    each table, in batches
    derived   the chats of rows, the chats with open work, the next numbers
    checked   each table has as many rows as in the file; the ledger is the same

The times of a file are those of its `FileClock`, those of the database are the Unix
time of its server.  So each time is changed by the difference: ages, and what is left
of a retention time, are the same before and after.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from crocbot import envelope, inbox
from crocbot.errors import CrocbotError, OperatorError
from crocbot.limits import SLOT_SECONDS
from crocbot.replicas import report as replicas
from crocbot.replicas.times import LEASE_SECONDS

if TYPE_CHECKING:
    from crocbot.events import InboxState
    from crocbot.store import Connection, Reading

BATCH_ROWS = 500
BATCH_BYTES = 8 * 1024 * 1024
MAX_BIGINT = 2**63 - 1
NO_CHAT = 0

TABLES: Mapping[str, str] = {
    "rows": "seq",
    "ledger": "",
    "kept_replies": "",
    "reply_files": "",
    "pairings": "",
    "wrong_codes": "",
    "exchanges": "id",
    "tokens": "",
    "moved_chats": "",
    "message_digests": "id",
    "classic_forms": "id",
    "limit_slots": "",
    "limit_updates": "id",
    "pushed": "id",
    "pushed_files": "",
    "pushed_totals": "",
    "alerts": "",
    "starts": "id",
    "spending": "",
}
"""Tables that are moved --> the column whose values the database gives, if any."""

TOTALS = ("ledger", "pushed_totals")
"""Tables whose rows are there from the beginning, with counts of 0."""

STARTS = "starts"
"""The table that a start of the gateway fills: the database counts as empty with it."""

TIMES: Mapping[str, frozenset[str]] = {
    "rows": frozenset({"accepted", "closed"}),
    "pairings": frozenset({"asked"}),
    "wrong_codes": frozenset({"at"}),
    "pushed": frozenset({"accepted", "closed"}),
    "alerts": frozenset({"since", "at", "ended"}),
    "starts": frozenset({"at"}),
}
"""Tables --> their columns with a time of the file."""

RETENTION_TIMES = frozenset({("rows", "expires"), ("pushed", "expires")})


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved: the number of rows of each table, and the ledger."""

    counts: Mapping[str, int]
    ledger: InboxState


@dataclass(frozen=True, slots=True)
class TimeShift:
    """The seconds from a time of the file to the database's, also for retention."""

    time: float
    retention: float

    def slots(self, window: int) -> int:
        """Return the slots of a limit's window, rounded up, so that none is shorter."""
        return math.ceil(self.time / SLOT_SECONDS.get(window, 1))


def move(
    source: Connection, target: Connection, *, file_time: Reading, now: float
) -> Moved:
    """
    Copy all tables of a file, in the transaction of `target`.

    `file_time` is the time of the file, `now` that of the database.  Raise
    OperatorError or CrocbotError; then the transaction must not be committed.
    """
    before = inbox.state(source)
    if not _adds_up(before):
        raise CrocbotError(
            f"the ledger of the file does not add up: {inbox.describe_ledger(before)}"
        )
    _lock(target)
    _require_idle(target)
    _require_empty(target)
    for table in (*TOTALS, STARTS):
        target.execute(f"DELETE FROM {table}")  # noqa: S608
    shift = TimeShift(now - file_time.time, now - file_time.retention)
    counts = {table: _copy(source, target, table, shift) for table in TABLES}
    _derive_chats(target)
    _continue_numbers(source, target)
    _compare(target, counts, before)
    return Moved(counts, before)


def _adds_up(state: InboxState) -> bool:
    return state.accepted == sum(state.closed.values()) + state.open


def _lock(target: Connection) -> None:
    """Let no replica that starts now write before the transaction has ended."""
    tables = ", ".join([*TABLES, "chats", "leases"])
    target.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")


def _require_idle(target: Connection) -> None:
    """Raise OperatorError while a gateway works on the database."""
    if names := replicas.find(target).names:
        raise OperatorError(
            f"a gateway works on the database, {names[0]}: stop it; after a crash wait"
            f" {LEASE_SECONDS:g} s"
        )


def _require_empty(target: Connection) -> None:
    for table in [*TABLES, "chats"]:
        condition = "WHERE count != 0" if table in TOTALS else ""
        found = target.execute(
            f"SELECT 1 FROM {table} {condition} LIMIT 1"  # noqa: S608
        ).fetchone()
        if found is not None and table != STARTS:
            raise OperatorError(
                f"the database is not empty, its table {table} has rows:"
                " CROCBOT_DATABASE_URL must name an empty one"
            )


def _copy(source: Connection, target: Connection, table: str, shift: TimeShift) -> int:
    """Copy the rows of a table; return how many there are."""
    found = source.execute("SELECT name FROM pragma_table_info(?)", (table,))
    columns = [name for (name,) in found.fetchall()]
    added = ["chat"] if table == "rows" else []
    names = ", ".join([*columns, *added])
    places = ", ".join("?" * (len(columns) + len(added)))
    rows = source.execute(f"SELECT {', '.join(columns)} FROM {table}")  # noqa: S608
    count = 0
    for batch in _batches(_changed(table, columns, rows, shift)):
        target.executemany(
            f"INSERT INTO {table} ({names}) VALUES ({places})",  # noqa: S608
            batch,
        )
        count += len(batch)
    return count


def _changed(
    table: str, columns: Sequence[str], rows: Any, shift: TimeShift
) -> Iterator[tuple[Any, ...]]:
    """Yield rows as they are in the database."""
    seconds = [_seconds(table, column, shift) for column in columns]
    for row in rows:
        values = [
            value if not by or value is None else value + by
            for value, by in zip(row, seconds, strict=True)
        ]
        if table == "limit_slots":
            slot, window = columns.index("slot"), row[columns.index("seconds")]
            values[slot] += shift.slots(window)
        if table == "rows":
            update_id, raw = columns.index("update_id"), columns.index("raw")
            values.append(_chat(row[update_id], row[raw]))
        yield tuple(values)


def _seconds(table: str, column: str, shift: TimeShift) -> float:
    """Return what is added to the values of a column, 0 if they are no times."""
    if (table, column) in RETENTION_TIMES:
        return shift.retention
    return shift.time if column in TIMES.get(table, ()) else 0.0


def _chat(update_id: int, raw: str) -> int:
    """Return the chat of an update; of one without content, which is closed, none."""
    try:
        update = json.loads(raw) if raw else {}
    except (ValueError, RecursionError):
        update = None
    if not isinstance(update, dict):
        raise OperatorError(
            f"update {update_id} of the file is damaged, it is no JSON object: nothing"
            " was moved"
        )
    chat = envelope.chat_key(update)
    return chat if isinstance(chat, int) and abs(chat) <= MAX_BIGINT else NO_CHAT


def _batches(rows: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    """Yield rows in lists that are bounded in rows and in bytes."""
    batch: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(len(value) for value in row if isinstance(value, str | bytes))
        if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _derive_chats(target: Connection) -> None:
    """Give rows the first id of their chat, and find the chats with open work."""
    target.execute(
        "UPDATE rows SET chat = (SELECT min(old_id) FROM moved_chats"
        " WHERE new_id = rows.chat) WHERE chat IN (SELECT new_id FROM moved_chats)"
    )
    target.execute(
        "INSERT INTO chats (chat, waiting_since)"
        " SELECT chat, min(accepted) FROM"
        " (SELECT chat, accepted FROM rows WHERE disposition IS NULL"
        "  UNION ALL SELECT coalesce(old_id, chat_id), accepted FROM pushed"
        "  LEFT JOIN moved_chats ON new_id = chat_id WHERE state = 'open') AS work"
        " GROUP BY chat"
        # A trigger has added those of pushed messages, as if they came now.
        " ON CONFLICT (chat) DO UPDATE SET waiting_since = excluded.waiting_since"
    )


def _continue_numbers(source: Connection, target: Connection) -> None:
    """Let the numbers that the database gives begin behind those of the file."""
    given = dict(source.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    for table, column in TABLES.items():
        if column:
            (largest,) = target.execute(
                f"SELECT coalesce(max({column}), 0) FROM {table}"  # noqa: S608
            ).fetchone()
            # A number that was given to a row that is deleted now is not given again.
            target.execute(
                "SELECT setval(pg_get_serial_sequence(?, ?), ?)",
                (table, column, max(largest, given.get(table, 0), 1)),
            )


def _compare(target: Connection, counts: Mapping[str, int], before: InboxState) -> None:
    """Raise CrocbotError unless the database has what the file has."""
    for table, expected in counts.items():
        (count,) = target.execute(
            f"SELECT count(*) FROM {table}"  # noqa: S608
        ).fetchone()
        if count != expected:
            raise CrocbotError(
                f"{table} has {count} rows in the database, {expected} in the file:"
                " nothing was moved"
            )
    after = inbox.state(target)
    if (after.accepted, after.closed, after.open, after.duplicates) != (
        *(before.accepted, before.closed, before.open, before.duplicates),
    ):
        raise CrocbotError(
            "the ledger of the database is another one than that of the file:"
            f" {inbox.describe_ledger(after)}: nothing was moved"
        )
