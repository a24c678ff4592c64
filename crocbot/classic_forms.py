"""
The text of answers that were sent as rich messages, for readers who cannot see these.

    begin(update, chat, text) --> sent(update)    a crash between: not known
    text(update, chat)        --> the Markdown of the answer, or None

A press of the button below a rich message shows the text as an ordinary message.  Texts
are kept for 48 hours, at most MAX_TEXTS_BYTES together; the oldest are deleted first.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from crocbot.store import HELD, Connection, Store, Write
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
STORE = f"""
INSERT INTO classic_forms (update_id, chat_id, text, size, sent)
SELECT :update_id, :chat_id, :text, :size, :sent WHERE {HELD}
ON CONFLICT (update_id) DO UPDATE SET chat_id = excluded.chat_id, text = excluded.text,
    size = excluded.size, sent = excluded.sent
"""
OF_UPDATE = f"WHERE update_id = :update_id AND {HELD}"
SET_SENT = f"UPDATE classic_forms SET sent = :sent {OF_UPDATE}"  # noqa: S608
REMOVE = f"DELETE FROM classic_forms {OF_UPDATE}"  # noqa: S608
# Before a text is stored, which stays, however large it is.
MAKE_SPACE = """
DELETE FROM classic_forms WHERE id <= (
    SELECT max(id) FROM (
        SELECT id, sum(size) OVER latest AS total, row_number() OVER latest AS number
        FROM classic_forms WINDOW latest AS (ORDER BY id DESC)
    ) sizes
    WHERE number >= :max_texts OR total + :size > :max_bytes
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
        values = {
            "update_id": update_id,
            "chat_id": chat_id,
            "text": stored,
            "size": len(stored.encode()),
            "sent": SendState.UNKNOWN,
        }
        bounds = {"max_texts": MAX_TEXTS, "max_bytes": self._max_bytes}
        await self._write(MAKE_SPACE, {**bounds, "size": values["size"]})
        await self._write(STORE, values)

    async def sent(self, update_id: int) -> None:
        """Record that the rich message is in the chat."""
        await self._write(SET_SENT, {"sent": SendState.SENT, "update_id": update_id})

    async def remove(self, update_id: int) -> None:
        """Delete the text of an answer that is not sent as a rich message."""
        await self._write(REMOVE, {"update_id": update_id})

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

    async def _write(self, statement: str, values: Mapping[str, Any]) -> None:
        write = Write(statement=statement, values=values)
        await self._store.run(write, atomic=False)
