"""
The text of answers that were sent as rich messages, for readers who cannot see these.

    begin(update, chat, text) --> sent(update)    a crash between: not known
    text(update, chat)        --> the Markdown of the answer, or None

A press of the button below a rich message shows the text as an ordinary message.  Texts
are kept for 48 hours, at most MAX_TEXTS_BYTES together; the oldest are deleted first.
"""

from __future__ import annotations

from enum import IntEnum

from crocbot.store import Connection, Store
from crocbot.text import replace_lone_surrogates

MAX_TEXTS_BYTES = 16 * 1024 * 1024
MAX_TEXTS = 2000
SCHEMA = """
CREATE TABLE IF NOT EXISTS classic_forms (
    id        INTEGER PRIMARY KEY,
    update_id INTEGER NOT NULL UNIQUE,
    chat_id   INTEGER NOT NULL,
    text      TEXT NOT NULL,
    size      INTEGER NOT NULL,
    sent      INTEGER NOT NULL
)
"""


class SendState(IntEnum):
    """How far the rich message of an answer was sent."""

    UNKNOWN = 0
    SENT = 1


class ClassicForms:
    """The kept texts, in the file of `store`.  Raises StoreError."""

    def __init__(self, store: Store, *, max_bytes: int = MAX_TEXTS_BYTES) -> None:
        self._store = store
        self._max_bytes = max_bytes

    async def begin(self, update_id: int, chat_id: int, text: str) -> None:
        """Keep the text of an answer whose rich message is about to be sent."""
        stored = replace_lone_surrogates(text)
        size = len(stored.encode())

        def job(connection: Connection) -> None:
            _remove(connection, update_id)
            connection.execute(
                "INSERT INTO classic_forms"
                " (update_id, chat_id, text, size, sent) VALUES (?, ?, ?, ?, ?)",
                (update_id, chat_id, stored, size, SendState.UNKNOWN),
            )
            self._delete_oldest(connection)

        await self._store.run(job)

    async def sent(self, update_id: int) -> None:
        """Record that the rich message is in the chat."""

        def job(connection: Connection) -> None:
            connection.execute(
                "UPDATE classic_forms SET sent = ? WHERE update_id = ?",
                (SendState.SENT, update_id),
            )

        await self._store.run(job)

    async def remove(self, update_id: int) -> None:
        """Delete the text of an answer that is not sent as a rich message."""
        await self._store.run(lambda connection: _remove(connection, update_id))

    async def state(self, update_id: int) -> SendState | None:
        """Return how far a rich message was sent; None if it was not."""

        def job(connection: Connection) -> SendState | None:
            found = connection.execute(
                "SELECT sent FROM classic_forms WHERE update_id = ?", (update_id,)
            ).fetchone()
            return None if found is None else SendState(found[0])

        return await self._store.run(job, write=False, atomic=False)

    async def text(self, update_id: int, chat_id: int) -> str | None:
        """Return the text of an answer in this chat; None if it is not kept."""

        def job(connection: Connection) -> str | None:
            found = connection.execute(
                "SELECT text FROM classic_forms WHERE update_id = ? AND chat_id = ?",
                (update_id, chat_id),
            ).fetchone()
            return None if found is None else str(found[0])

        return await self._store.run(job, write=False, atomic=False)

    def _delete_oldest(self, connection: Connection) -> None:
        """Delete what exceeds the bounds."""
        kept = total = 0
        for number, size in connection.execute(
            "SELECT id, size FROM classic_forms ORDER BY id DESC"
        ).fetchall():
            kept, total = kept + 1, total + size
            if kept > MAX_TEXTS or (total > self._max_bytes and kept > 1):
                connection.execute("DELETE FROM classic_forms WHERE id <= ?", (number,))
                return


def _remove(connection: Connection, update_id: int) -> None:
    connection.execute("DELETE FROM classic_forms WHERE update_id = ?", (update_id,))
