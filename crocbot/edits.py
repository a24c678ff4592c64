"""
Which edits of messages the agent is told of.

    edited message --> access --> CROCBOT_EDITS=answer? --> changed? --> agent
                                      '-- IGNORED             '-- UNCHANGED

To know what changed, a digest of the content of each message whose sender has access is
kept, only with CROCBOT_EDITS=answer, and of the latest MAX_DIGESTS messages.
"""

from __future__ import annotations

from collections.abc import Sequence

from crocbot import envelope, log
from crocbot.arrival_outcomes import EditOutcome
from crocbot.errors import StoreError
from crocbot.events import EventListener
from crocbot.model import ErrorEvent, Message, Row
from crocbot.store import Connection, Store

ANSWER = "answer"
MAX_DIGESTS = 10_000

SCHEMA = """
CREATE TABLE IF NOT EXISTS message_digests (
    id         INTEGER PRIMARY KEY,
    chat_id    INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    update_id  INTEGER NOT NULL,
    digest     BLOB NOT NULL,
    UNIQUE (chat_id, message_id)
)
"""

logger = log.logger(__name__)


class Edits:
    """The policy for edits; `mode` is CROCBOT_EDITS."""

    def __init__(self, store: Store, events: EventListener, *, mode: str) -> None:
        self._store = store
        self._events = events
        self._answer = mode == ANSWER

    async def decide(self, message: Message, rows: Sequence[Row]) -> EditOutcome | None:
        """
        Return what becomes of an edit whose sender has access, None for a new message.

        The content of both is remembered.  An edit of a message that is not remembered
        counts as a change.
        """
        if not self._answer:
            return EditOutcome.IGNORED if message.edited else None
        changed = await self._remember(rows)
        if not message.edited:
            return None
        if message.command is not None:
            return EditOutcome.COMMAND
        if not changed or any(envelope.is_position(row.raw) for row in rows):
            return EditOutcome.UNCHANGED
        return EditOutcome.ANSWERED

    async def _remember(self, rows: Sequence[Row]) -> bool:
        """Remember the contents of rows; return whether one of them differs."""
        try:
            return await self._store.run(lambda connection: _remember(connection, rows))
        except StoreError as error:
            logger.error("an edit cannot be compared", error=str(error))
            self._events.emit(ErrorEvent(error.type, error.severity))
            return True


def _remember(connection: Connection, rows: Sequence[Row]) -> bool:
    differs = [_remember_one(connection, row) for row in rows]
    connection.execute(
        "DELETE FROM message_digests"
        " WHERE id <= (SELECT max(id) FROM message_digests) - ?",
        (MAX_DIGESTS,),
    )
    return any(differs)


def _remember_one(connection: Connection, row: Row) -> bool:
    """Return whether a content differs from the one of an earlier update."""
    key = envelope.message_key(row.raw)
    if key is None:
        return False
    digest = envelope.content_digest(row.raw)
    known = connection.execute(
        "SELECT update_id, digest FROM message_digests"
        " WHERE chat_id = ? AND message_id = ?",
        key,
    ).fetchone()
    # A row whose turn did not end is decided again, in the same way.
    if known is not None and known[0] != row.update_id and known[1] == digest:
        return False
    # A new row, so that its id is the order of the latest changes.
    connection.execute(
        "DELETE FROM message_digests WHERE chat_id = ? AND message_id = ?", key
    )
    connection.execute(
        "INSERT INTO message_digests (chat_id, message_id, update_id, digest)"
        " VALUES (?, ?, ?, ?)",
        (*key, row.update_id, digest),
    )
    return True
