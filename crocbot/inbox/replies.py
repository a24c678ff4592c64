"""
Replies with files or buttons, kept until they are delivered.

    add_file ... --> keep(reply) --> record(step) ... --> closed with the row
      | a file at a time                | what a crash does not send again

- A reply without either is not kept: after a crash the agent is asked again.
- The reply and its files are deleted when their row is closed, unless it failed with
  this reply: then `crocbot inbox retry` sends what is left of it.
- All kept files together have at most MAX_KEPT_BYTES.
- The changes survive the end of the process, not a power cut, after which the agent is
  asked again.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from crocbot.errors import StoreError
from crocbot.model import Reply
from crocbot.outgoing import Button, Buttons, FileKind, OutgoingFile, SentSteps
from crocbot.store import HELD, Connection, Job, Store, Write

MAX_KEPT_BYTES = 512 * 1024 * 1024
SCHEMA = """
CREATE TABLE IF NOT EXISTS kept_replies (
    update_id INTEGER PRIMARY KEY,
    text      TEXT NOT NULL,
    markdown  INTEGER NOT NULL,
    buttons   TEXT NOT NULL,
    messages  TEXT NOT NULL DEFAULT '[]',
    files     INTEGER NOT NULL DEFAULT 0,
    unknown   INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS reply_files (
    update_id INTEGER NOT NULL,
    position  INTEGER NOT NULL,
    size      INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    name      TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    caption   TEXT NOT NULL,
    wanted    TEXT,
    content   BLOB NOT NULL,
    PRIMARY KEY (update_id, position)
)
"""


STORE = f"""
INSERT INTO kept_replies
    (update_id, text, markdown, buttons, messages, files, unknown)
SELECT :update_id, :text, :markdown, :buttons, :messages, :files, :unknown
WHERE {HELD}
ON CONFLICT (update_id) DO UPDATE SET text = excluded.text,
    markdown = excluded.markdown, buttons = excluded.buttons,
    messages = excluded.messages, files = excluded.files, unknown = excluded.unknown
"""
RECORD = f"""
UPDATE kept_replies SET messages = :messages, files = :files, unknown = :unknown
WHERE update_id = :update_id AND {HELD}
"""  # noqa: S608


class KeptReplies:
    """The kept replies in the file of `store`.  Raises StoreError."""

    def __init__(self, store: Store, *, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._store = store
        self._max_bytes = max_bytes

    async def add_file(
        self, update_id: int, position: int, file: OutgoingFile, content: bytes
    ) -> None:
        """Keep a file of an answer, the first of which replaces all earlier ones."""

        def job(connection: Connection) -> None:
            if position == 0:
                remove(connection, update_id)
            (kept,) = connection.execute(
                "SELECT coalesce(sum(size), 0) FROM reply_files"
            ).fetchone()
            if kept + len(content) > self._max_bytes:
                raise StoreError(f"more than {self._max_bytes} bytes of files are kept")
            connection.execute(
                "INSERT INTO reply_files VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(update_id, position, len(content), str(file.kind), file.name),
                    *(file.mime_type, _storable(file.caption)),
                    *(file.wanted and str(file.wanted), content),
                ),
            )

        await self._run(job)

    async def keep(self, update_id: int, reply: Reply, sent: SentSteps) -> None:
        """Keep a reply, whose files were added before."""
        buttons = json.dumps(
            [[asdict(button) for button in row] for row in reply.buttons]
        )

        values = {
            "text": _storable(reply.text),
            "markdown": reply.markdown,
            "buttons": buttons,
            **_steps(update_id, sent),
        }
        await self._run(Write(statement=STORE, values=values), atomic=False)

    async def record(self, update_id: int, sent: SentSteps) -> None:
        """Record how far a kept reply has been sent."""
        write = Write(statement=RECORD, values=_steps(update_id, sent))
        await self._run(write, atomic=False)

    async def content(self, update_id: int, position: int) -> bytes:
        """Return the content of a file."""

        def job(connection: Connection) -> bytes:
            found = connection.execute(
                "SELECT content FROM reply_files WHERE update_id = ? AND position = ?",
                (update_id, position),
            ).fetchone()
            if found is None:
                raise StoreError("the file of a reply is not there")
            content: bytes = found[0]
            return content

        return await self._store.run(job, write=False, atomic=False)

    async def _run(self, job: Job[None], *, atomic: bool = True) -> None:
        await self._store.run(job, durable=False, atomic=atomic)


def load(connection: Connection, update_id: int) -> tuple[Reply, SentSteps] | None:
    """Return the kept reply of a row, and how far it has been sent."""
    found = connection.execute(
        "SELECT text, markdown, buttons, messages, files, unknown FROM kept_replies"
        " WHERE update_id = ?",
        (update_id,),
    ).fetchone()
    if found is None:
        return None
    text, markdown, buttons, messages, files, unknown = found
    reply = Reply(
        text,
        bool(markdown),
        files=_files(connection, update_id),
        buttons=_buttons(buttons),
    )
    sent = SentSteps(
        messages=tuple(json.loads(messages)), files=files, unknown=bool(unknown)
    )
    return reply, sent


def remove(connection: Connection, update_id: int) -> None:
    """Delete the kept reply of a row and its files."""
    connection.execute("DELETE FROM kept_replies WHERE update_id = ?", (update_id,))
    connection.execute("DELETE FROM reply_files WHERE update_id = ?", (update_id,))


def remove_stale(connection: Connection) -> None:
    """
    Delete the kept replies without a row, and files without a reply.

    Such files are of answers that were not complete when the process ended.
    """
    connection.execute(
        "DELETE FROM kept_replies WHERE update_id NOT IN (SELECT update_id FROM rows)"
    )
    connection.execute(
        "DELETE FROM reply_files"
        " WHERE update_id NOT IN (SELECT update_id FROM kept_replies)"
    )


def remove_expired(connection: Connection) -> None:
    """Delete the kept replies whose row was deleted, with their files."""
    gone = connection.execute(
        "SELECT update_id FROM kept_replies"
        " WHERE update_id NOT IN (SELECT update_id FROM rows)"
    ).fetchall()
    for (update_id,) in gone:
        remove(connection, update_id)


def _steps(update_id: int, sent: SentSteps) -> dict[str, Any]:
    return {
        "update_id": update_id,
        "messages": json.dumps(sent.messages),
        "files": sent.files,
        "unknown": sent.unknown,
    }


def _files(connection: Connection, update_id: int) -> tuple[OutgoingFile, ...]:
    found = connection.execute(
        "SELECT kind, name, mime_type, size, caption, wanted FROM reply_files"
        " WHERE update_id = ? ORDER BY position",
        (update_id,),
    )
    return tuple(
        OutgoingFile(
            kind=FileKind(kind),
            name=name,
            mime_type=mime_type,
            size=size,
            caption=caption,
            wanted=wanted and FileKind(wanted),
        )
        for kind, name, mime_type, size, caption, wanted in found
    )


def _buttons(text: str) -> Buttons:
    return tuple(tuple(Button(**each) for each in row) for row in json.loads(text))


def _storable(text: str) -> str:
    """Replace half surrogate pairs, which no database can store."""
    return text.encode("utf-8", "replace").decode("utf-8")
