"""
The SQL of pushed messages: functions of a connection, each a part of one transaction.

- Rows are sent in the order of their ids, those of a chat one after the other.
- `totals` is changed in the transactions that close rows, so that
  accepted = sent + failed + open holds after any crash.
- The content of a row is deleted when it is closed; the row itself stays for
  RETENTION_SECONDS, for the operator.
- `accepted` and `closed` are times of the file (`FileClock`), `expires` is retention
  time.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from crocbot.delivery_outcomes import PushState
from crocbot.events import PushedState
from crocbot.model import ChatThread, Reply
from crocbot.outgoing import FileKind, OutgoingFile, SentSteps
from crocbot.pushed.request import PushedFullError, PushedMessage
from crocbot.store import Connection

MAX_OPEN_ROWS = 1000
MAX_OPEN_BYTES = 256 * 1024 * 1024
MAX_DELETED = 1000
MAX_REASON_CHARS = 300
RETENTION_SECONDS = 48 * 3600.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS pushed (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    chat_id   INTEGER NOT NULL,
    thread_id INTEGER,
    text      TEXT NOT NULL,
    markdown  INTEGER NOT NULL,
    size      INTEGER NOT NULL,
    accepted  REAL NOT NULL,
    messages  TEXT NOT NULL DEFAULT '[]',
    files     INTEGER NOT NULL DEFAULT 0,
    unknown   INTEGER NOT NULL DEFAULT 0,
    state     TEXT NOT NULL DEFAULT 'open',
    closed    REAL,
    expires   REAL,
    reason    TEXT
);
CREATE INDEX IF NOT EXISTS open_pushed ON pushed (id) WHERE state = 'open';
CREATE INDEX IF NOT EXISTS expiring_pushed ON pushed (expires) WHERE state != 'open';
CREATE TABLE IF NOT EXISTS pushed_files (
    id        INTEGER PRIMARY KEY,
    kind      TEXT NOT NULL,
    name      TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    size      INTEGER NOT NULL,
    caption   TEXT NOT NULL,
    content   BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS pushed_totals (
    state TEXT PRIMARY KEY, count INTEGER NOT NULL
);
INSERT OR IGNORE INTO pushed_totals VALUES ('sent', 0), ('failed', 0)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """An open row: a message to send, accepted at a time of the file, and its steps."""

    id: int
    accepted_at: float
    chat: ChatThread
    reply: Reply
    sent: SentSteps


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A row without its content, for the operator."""

    id: int
    chat: ChatThread
    state: PushState
    size: int
    accepted_at: float
    closed_at: float | None
    reason: str


def add(connection: Connection, message: PushedMessage, now: float) -> int:
    """Store a message; return its id.  Raise PushedFullError."""
    count, size = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM pushed WHERE state = 'open'"
    ).fetchone()
    if count >= MAX_OPEN_ROWS:
        raise PushedFullError(f"{MAX_OPEN_ROWS} messages wait to be sent")
    if size + message.size > MAX_OPEN_BYTES:
        raise PushedFullError(f"{MAX_OPEN_BYTES} bytes of messages wait to be sent")
    inserted = connection.execute(
        "INSERT INTO pushed (chat_id, thread_id, text, markdown, size, accepted)"
        " VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
        (
            *(message.chat.chat_id, message.chat.thread_id, message.reply.text),
            *(message.reply.markdown, message.size, now),
        ),
    )
    push_id: int = inserted.fetchone()[0]
    for file in message.reply.files:
        connection.execute(
            "INSERT INTO pushed_files VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(push_id, str(file.kind), file.name, file.mime_type, file.size),
                *(file.caption, message.content),
            ),
        )
    return push_id


def open_rows(connection: Connection) -> list[tuple[int, int]]:
    """Return the id and the chat of each open row, oldest first."""
    return connection.execute(
        "SELECT id, chat_id FROM pushed WHERE state = 'open' ORDER BY id"
    ).fetchall()


def load(connection: Connection, push_id: int) -> Push | None:
    """Return an open row; None if it is closed."""
    found = connection.execute(
        "SELECT chat_id, thread_id, text, markdown, accepted, messages, files, unknown"
        " FROM pushed WHERE id = ? AND state = 'open'",
        (push_id,),
    ).fetchone()
    if found is None:
        return None
    chat_id, thread_id, text, markdown, accepted, messages, files, unknown = found
    return Push(
        id=push_id,
        accepted_at=accepted,
        chat=ChatThread(chat_id, thread_id),
        reply=Reply(text, bool(markdown), files=_files(connection, push_id)),
        sent=SentSteps(
            messages=tuple(json.loads(messages)), files=files, unknown=bool(unknown)
        ),
    )


def content(connection: Connection, push_id: int) -> bytes | None:
    """Return the content of the file of a row, None if it has none."""
    found = connection.execute(
        "SELECT content FROM pushed_files WHERE id = ?", (push_id,)
    ).fetchone()
    return None if found is None else bytes(found[0])


def record(connection: Connection, push_id: int, sent: SentSteps) -> None:
    """Record how far a row has been sent."""
    connection.execute(
        "UPDATE pushed SET messages = ?, files = ?, unknown = ?"
        " WHERE id = ? AND state = 'open'",
        (json.dumps(sent.messages), sent.files, sent.unknown, push_id),
    )


def close(
    connection: Connection,
    push_id: int,
    reason: str | None,
    *,
    now: float,
    retention: float,
) -> None:
    """Close a row as sent, or with a reason as failed, and delete its content."""
    state = PushState.SENT if reason is None else PushState.FAILED
    closed = connection.execute(
        "UPDATE pushed SET state = ?, reason = ?, closed = ?, expires = ?, text = ''"
        " WHERE id = ? AND state = 'open'",
        (
            str(state),
            reason and reason.encode("utf-8", "replace").decode()[:MAX_REASON_CHARS],
            *(now, retention + RETENTION_SECONDS, push_id),
        ),
    ).rowcount
    connection.execute("DELETE FROM pushed_files WHERE id = ?", (push_id,))
    connection.execute(
        "UPDATE pushed_totals SET count = count + ? WHERE state = ?",
        (closed, str(state)),
    )


def state(connection: Connection) -> PushedState:
    """Return the number of rows by state, closed ones since the file was made."""
    totals = dict(connection.execute("SELECT state, count FROM pushed_totals"))
    (count,) = connection.execute(
        "SELECT count(*) FROM pushed WHERE state = 'open'"
    ).fetchone()
    return PushedState({PushState.OPEN: count, **_by_state(totals)})


def listed(connection: Connection, limit: int) -> list[Listed]:
    """Return the latest rows, newest first."""
    found = connection.execute(
        "SELECT id, chat_id, thread_id, state, size, accepted, closed,"
        " coalesce(reason, '') FROM pushed ORDER BY id DESC LIMIT ?",
        (limit,),
    )
    return [
        Listed(
            id=push_id,
            chat=ChatThread(chat_id, thread_id),
            state=PushState(state),
            size=size,
            accepted_at=accepted,
            closed_at=closed,
            reason=reason,
        )
        for push_id, chat_id, thread_id, state, size, accepted, closed, reason in found
    ]


def delete_expired(connection: Connection, retention: float) -> None:
    """Delete closed rows that expired before a retention time."""
    connection.execute(
        "DELETE FROM pushed WHERE id IN (SELECT id FROM pushed"
        " WHERE state != 'open' AND expires < ? LIMIT ?)",
        (retention, MAX_DELETED),
    )


def _by_state(totals: dict[str, int]) -> dict[PushState, int]:
    return {PushState(state): count for state, count in totals.items()}


def _files(connection: Connection, push_id: int) -> tuple[OutgoingFile, ...]:
    found = connection.execute(
        "SELECT kind, name, mime_type, size, caption FROM pushed_files WHERE id = ?",
        (push_id,),
    )
    return tuple(
        OutgoingFile(
            kind=FileKind(kind),
            name=name,
            mime_type=mime_type,
            size=size,
            caption=caption,
        )
        for kind, name, mime_type, size, caption in found
    )
