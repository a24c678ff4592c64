"""
Pairing: the operator approves unknown senders by a one-time code.

    a sender writes --> offer() --> "K7QM2XPD" --> they show it to the operator
    operator: crocbot pairing approve K7QM2XPD --> is_paired() is true from then on

- A code is valid for an hour, whatever the system's clock does, and for one approval.
- It is sent three times at most; further messages of its sender are not answered.
- At most a hundred codes are pending; then no sender gets one until one expires.
- After five wrong codes within an hour no code is approved for the rest of it, so that
  a code cannot be guessed.

The state is in the database of the state directory, so that a change by the command is
seen by a running gateway at once.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from crocbot import leases
from crocbot.errors import OperatorError
from crocbot.store import Connection, Store

# Without those that look alike: 0 and O, 1 and I and L.
CODE_ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
CODE_LENGTH = 8
CODE_VALID_SECONDS = 3600.0
MAX_TIMES_SENT = 3
MAX_PENDING_CODES = 100
MAX_WRONG_CODES = 5

# `asked` is the time at which the code was made, `told` how often it was sent.
SCHEMA = """
CREATE TABLE IF NOT EXISTS pairings (
    user_id  INTEGER PRIMARY KEY,
    code     TEXT UNIQUE,
    asked    REAL NOT NULL,
    told     INTEGER NOT NULL,
    approved REAL
);
CREATE TABLE IF NOT EXISTS wrong_codes (at REAL NOT NULL)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """
    A sender with a pending code, or one who was approved.

    `created_at` is a time of the file (`FileClock`), `approved_at` Unix time.
    """

    user_id: int
    code: str | None
    created_at: float
    approved_at: float | None


class Pairings:
    """The pairings for the gateway, whose event loop never waits for the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def is_paired(self, user_id: int) -> bool:
        """Return whether the operator has approved this sender."""
        if (paired := leases.take_paired(user_id)) is not None:
            return paired
        return await self._store.run(
            lambda connection: is_paired(connection, user_id),
            write=False,
            atomic=False,
        )

    async def offer(self, user_id: int) -> str | None:
        """Return the code to send to this sender; None to send nothing."""
        now = self._store.clock.read().time
        return await self._store.run(lambda connection: offer(connection, user_id, now))


def is_paired(connection: Connection, user_id: int) -> bool:
    """Return whether the operator has approved this sender."""
    found = connection.execute(
        "SELECT 1 FROM pairings WHERE user_id = ? AND approved IS NOT NULL", (user_id,)
    )
    return found.fetchone() is not None


def offer(connection: Connection, user_id: int, now: float) -> str | None:
    """Return the sender's pending code, or a new one; None beyond the bounds."""
    _expire(connection, now)
    found = connection.execute(
        "SELECT code, told FROM pairings WHERE user_id = ?", (user_id,)
    ).fetchone()
    if found is not None:
        code, times_sent = found
        if times_sent >= MAX_TIMES_SENT:
            return None
        connection.execute(
            "UPDATE pairings SET told = told + 1 WHERE user_id = ?", (user_id,)
        )
        return str(code) if code else None
    (pending,) = connection.execute(
        "SELECT count(*) FROM pairings WHERE approved IS NULL"
    ).fetchone()
    if pending >= MAX_PENDING_CODES:
        return None
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    connection.execute(
        "INSERT INTO pairings (user_id, code, asked, told) VALUES (?, ?, ?, 1)",
        (user_id, code, now),
    )
    return code


def approve(
    connection: Connection, code: str, now: float, approved_at: float
) -> int | None:
    """
    Approve the sender with this code; return their id, None if it is not pending.

    `approved_at` is the Unix time that the list shows.  Raise OperatorError after too
    many wrong codes.
    """
    _expire(connection, now)
    (wrong,) = connection.execute("SELECT count(*) FROM wrong_codes").fetchone()
    if wrong >= MAX_WRONG_CODES:
        raise OperatorError(
            f"{MAX_WRONG_CODES} wrong codes within an hour: try again in an hour, or"
            " add the user id to CROCBOT_ALLOW_FROM"
        )
    found = connection.execute(
        "SELECT user_id FROM pairings WHERE code = ?", (code.strip().upper(),)
    ).fetchone()
    if found is None:
        connection.execute("INSERT INTO wrong_codes VALUES (?)", (now,))
        return None
    connection.execute(
        "UPDATE pairings SET approved = ?, code = NULL WHERE user_id = ?",
        (approved_at, found[0]),
    )
    return int(found[0])


def revoke(connection: Connection, user_id: int) -> bool:
    """Delete a sender, approved or pending; return whether there was one."""
    removed = connection.execute("DELETE FROM pairings WHERE user_id = ?", (user_id,))
    return removed.rowcount > 0


def listed(connection: Connection, now: float) -> Sequence[Pairing]:
    """Return all who are pending or approved, the latest first."""
    found = connection.execute(
        "SELECT user_id, code, asked, approved FROM pairings"
        " WHERE approved IS NOT NULL OR asked >= ? ORDER BY asked DESC, user_id",
        (now - CODE_VALID_SECONDS,),
    )
    return [
        Pairing(user_id=user_id, code=code, created_at=created, approved_at=approved)
        for user_id, code, created, approved in found
    ]


def describe(pairing: Pairing, now: float) -> str:
    """Return one line about a sender, for the operator."""
    if pairing.approved_at is not None:
        since = datetime.fromtimestamp(pairing.approved_at, UTC)
        return f"user {pairing.user_id}  approved {since:%Y-%m-%d %H:%M} UTC"
    left = max(0, int(pairing.created_at + CODE_VALID_SECONDS - now)) // 60 + 1
    return f"user {pairing.user_id}  pending, code {pairing.code}, {left} min left"


def _expire(connection: Connection, now: float) -> None:
    connection.execute(
        "DELETE FROM pairings WHERE approved IS NULL AND asked < ?",
        (now - CODE_VALID_SECONDS,),
    )
    connection.execute(
        "DELETE FROM wrong_codes WHERE at < ?", (now - CODE_VALID_SECONDS,)
    )
