"""
Strangers to people who are let in: a one-time code, which the operator approves.

    stranger writes --> offer() --> "K7QM2XPD" --> he shows it to the operator
    operator: crocbot pairing approve K7QM2XPD --> is_paired() from then on

- A code is good for an hour and for one approval.
- It is told three times at most; what a stranger writes then is not answered.
- At most a hundred codes wait at a time; then no stranger gets one until one expires.
- Five wrong codes an hour, and no code is approved for the rest of it: a guess does
  not get anybody in.

All of it is in the state directory's database, so that the command and a running
gateway see the same at once.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from crocbot.errors import OperatorError
from crocbot.store import Store

if TYPE_CHECKING:
    from sqlite3 import Connection

# Without those that are mistaken for each other: 0 and O, 1 and I and L.
ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
LENGTH = 8
GOOD_FOR = 3600.0
MOST_TOLD = 3
MOST_PENDING = 100
MOST_WRONG = 5

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


@dataclass(frozen=True, slots=True)
class Pairing:
    """One person: with a code that waits, or approved."""

    user_id: int
    code: str | None
    asked: float
    approved: float | None


class Pairings:
    """What the gateway asks of the pairings, without waiting for the disk."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    async def is_paired(self, user_id: int) -> bool:
        """Whether the operator approved this person, as of now."""
        return await self._store.run(lambda connection: is_paired(connection, user_id))

    async def offer(self, user_id: int) -> str | None:
        """Find the code to tell this stranger; None if he is to be told nothing."""
        now = self._clock()
        return await self._store.run(lambda connection: offer(connection, user_id, now))


def is_paired(connection: Connection, user_id: int) -> bool:
    """Whether this person is approved."""
    found = connection.execute(
        "SELECT 1 FROM pairings WHERE user_id = ? AND approved IS NOT NULL", (user_id,)
    )
    return found.fetchone() is not None


def offer(connection: Connection, user_id: int, now: float) -> str | None:
    """Take a code that waits, or make one, within the bounds."""
    _expire(connection, now)
    found = connection.execute(
        "SELECT code, told FROM pairings WHERE user_id = ?", (user_id,)
    ).fetchone()
    if found is not None:
        code, told = found
        if told >= MOST_TOLD:
            return None
        connection.execute(
            "UPDATE pairings SET told = told + 1 WHERE user_id = ?", (user_id,)
        )
        return str(code) if code else None
    (pending,) = connection.execute(
        "SELECT count(*) FROM pairings WHERE approved IS NULL"
    ).fetchone()
    if pending >= MOST_PENDING:
        return None
    code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    connection.execute(
        "INSERT INTO pairings (user_id, code, asked, told) VALUES (?, ?, ?, 1)",
        (user_id, code, now),
    )
    return code


def approve(connection: Connection, code: str, now: float) -> int | None:
    """
    Let in whom a code was told; None if there is no such code.

    Raises OperatorError when too many wrong ones were tried.
    """
    _expire(connection, now)
    (wrong,) = connection.execute("SELECT count(*) FROM wrong_codes").fetchone()
    if wrong >= MOST_WRONG:
        raise OperatorError(
            f"{MOST_WRONG} wrong codes within an hour: no code is approved for the rest"
            " of it; CROCBOT_ALLOW_FROM lets people in as well"
        )
    found = connection.execute(
        "SELECT user_id FROM pairings WHERE code = ?", (code.strip().upper(),)
    ).fetchone()
    if found is None:
        connection.execute("INSERT INTO wrong_codes VALUES (?)", (now,))
        return None
    connection.execute(
        "UPDATE pairings SET approved = ?, code = NULL WHERE user_id = ?",
        (now, found[0]),
    )
    return int(found[0])


def revoke(connection: Connection, user_id: int) -> bool:
    """Forget a person, approved or waiting; tells whether there was one."""
    removed = connection.execute("DELETE FROM pairings WHERE user_id = ?", (user_id,))
    return removed.rowcount > 0


def listed(connection: Connection, now: float) -> Sequence[Pairing]:
    """Everybody who waits or is approved, the latest first."""
    found = connection.execute(
        "SELECT user_id, code, asked, approved FROM pairings"
        " WHERE approved IS NOT NULL OR asked >= ? ORDER BY asked DESC, user_id",
        (now - GOOD_FOR,),
    )
    return [Pairing(*row) for row in found]


def describe(pairing: Pairing, now: float) -> str:
    """One line about a person, for the operator."""
    if pairing.approved is not None:
        since = datetime.fromtimestamp(pairing.approved, UTC)
        return f"user {pairing.user_id}  let in since {since:%Y-%m-%d %H:%M} UTC"
    left = max(0, int(pairing.asked + GOOD_FOR - now)) // 60 + 1
    return f"user {pairing.user_id}  waits with code {pairing.code}, {left} min left"


def _expire(connection: Connection, now: float) -> None:
    connection.execute(
        "DELETE FROM pairings WHERE approved IS NULL AND asked < ?", (now - GOOD_FOR,)
    )
    connection.execute("DELETE FROM wrong_codes WHERE at < ?", (now - GOOD_FOR,))
