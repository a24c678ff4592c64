"""
Rows that get another place in the order of their chat, on PostgreSQL.

    replace_row    an edit takes the place of its message
    reopen         failed rows go to the end

Each is several statements of one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from crocbot.inbox.postgresql import Closing, close_rows
from crocbot.leases_sql import touch
from crocbot.model import Disposition, Row
from crocbot.store import Connection


def replace_row(connection: Connection, closing: Closing, row: Row) -> bool | None:
    """Close a row like close_rows(); give its place to another open row."""
    closed = close_rows(connection, [closing])[closing.update_id]
    if not closed:
        return closed
    (old, accepted), (new, _) = (
        connection.execute(
            "SELECT seq, accepted FROM rows WHERE update_id = ?", (each,)
        ).fetchone()
        for each in (closing.update_id, row.update_id)
    )
    connection.execute(
        "UPDATE rows SET raw = ? WHERE update_id = ? AND disposition IS NULL",
        (json.dumps(row.raw, separators=(",", ":")), row.update_id),
    )
    if new > old:
        # The place of each is unique; that of the chat's last row stays.
        places = ((-old, closing.update_id), (old, row.update_id))
        for seq, update_id in (*places, (new, closing.update_id)):
            connection.execute(
                "UPDATE rows SET seq = ? WHERE update_id = ?", (seq, update_id)
            )
        connection.execute(
            "UPDATE rows SET accepted = ? WHERE update_id = ?",
            (accepted, row.update_id),
        )
    return True


def reopen(connection: Connection, update_ids: Sequence[int] | None) -> int:
    """
    Open failed rows again, all of them for None; return how many there were.

    They go to the end of their chats, since the replica that holds a chat has read the
    rows before it.
    """
    failed = str(Disposition.FAILED)
    chosen = connection.execute(
        "SELECT update_id, chat FROM rows WHERE disposition = ?"
        " AND (?::int = 1 OR update_id = ANY (?::bigint[])) ORDER BY seq",
        (failed, int(update_ids is None), list(update_ids or ())),
    ).fetchall()
    touch(connection, sorted({chat for _, chat in chosen}))
    reopened = 0
    for update_id, _ in chosen:
        reopened += connection.execute(
            "UPDATE rows SET disposition = NULL, closed = NULL, expires = NULL,"
            " reason = NULL, retried = 1, trying = 0, tries = 0,"
            " seq = nextval(pg_get_serial_sequence('rows', 'seq'))"
            " WHERE update_id = ? AND disposition = ?",
            (update_id, failed),
        ).rowcount
    connection.execute(
        "UPDATE ledger SET count = count - ? WHERE line = ?", (reopened, failed)
    )
    return reopened
