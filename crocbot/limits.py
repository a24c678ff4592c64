"""
Limits: how many messages reach the agent, and how many tokens they take.

    take(message) --> None: it is counted, and may be answered
                  --> Refusal: which limit is reached, and when there is space again
    used(tokens)  --> what counts them when the answer has ended

- No minute, and no day of 24 hours, has more messages than its limit, wherever it
  begins: the window slides.  It is counted in slots of SLOT_SECONDS, and a slot that
  is partly in the window counts as a whole.
- Check and count are one transaction, so that chats at the same time cannot exceed a
  limit together.
- A message is counted once, by its update ids: a row that is tried again after a crash
  is neither counted again nor refused because of its own count.
- Tokens are known only after an answer.  What is begun is finished: the answers that
  run when the limit is reached may exceed it.
- Times are those of the file (`FileClock`): no step of the system's clock opens or
  closes a limit.
- The tables are bounded.  Beyond MAX_PERSON_SLOTS the oldest counts of persons are
  deleted; a sender with that many ids has that many shares anyway.  The counts of all
  persons together are never deleted before their time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from crocbot.store import Connection, Job, Store, Write
from crocbot.turn_outcomes import Limit

MINUTE = 60
DAY = 86_400
SLOT_SECONDS: Mapping[int, int] = {MINUTE: 1, DAY: 300}
"""Windows in seconds --> the length of their slots."""

# Each takes about 60 bytes with its index: 6 MB a window.
MAX_PERSON_SLOTS = 100_000
# Far more than the turns that can be running: only their rows are tried again.
MAX_COUNTED_UPDATES = 50_000
TRIM_EVERY = 500
# Of a process: its first messages cost no more than later ones.
FIRST_TRIM = 50
MAX_TOKENS = 10**12
EVERYBODY = 0
"""The key of the counts of all persons together; no one has this id."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS limit_slots (
    seconds  INTEGER NOT NULL,
    person   INTEGER NOT NULL,
    slot     INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    tokens   INTEGER NOT NULL,
    PRIMARY KEY (seconds, person, slot)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS limit_slots_by_age ON limit_slots (seconds, slot);
CREATE TABLE IF NOT EXISTS limit_updates (
    id        INTEGER PRIMARY KEY,
    update_id INTEGER NOT NULL UNIQUE
)
"""


ADD = (
    " ON CONFLICT (seconds, person, slot) DO UPDATE SET"
    " messages = limit_slots.messages + excluded.messages,"
    " tokens = limit_slots.tokens + excluded.tokens"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a limit counts: messages or tokens of a window, of one person or of all."""

    seconds: int
    one_person: bool
    tokens: bool = False

    def key(self, person: int) -> int:
        """Return the key of the counts that a message of this person adds to."""
        return person if self.one_person else EVERYBODY


SCOPES: Mapping[Limit, Scope] = {
    Limit.PERSON_MINUTE: Scope(seconds=MINUTE, one_person=True),
    Limit.PERSON_DAY: Scope(seconds=DAY, one_person=True),
    Limit.PERSON_DAY_TOKENS: Scope(seconds=DAY, one_person=True, tokens=True),
    Limit.ALL_MINUTE: Scope(seconds=MINUTE, one_person=False),
    Limit.ALL_DAY: Scope(seconds=DAY, one_person=False),
    Limit.ALL_DAY_TOKENS: Scope(seconds=DAY, one_person=False, tokens=True),
}
"""In the order in which they are tested: a person's own limits first."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The limit that a message exceeds, and the seconds until it does not."""

    limit: Limit
    wait_seconds: float


@dataclass(slots=True)
class Limits:
    """
    The counts in the file of `store`, which has SCHEMA.  Raises StoreError.

    `maximums` has the limits that are set; without one the file is not used.
    """

    store: Store
    maximums: Mapping[Limit, int]
    _until_trim: int = field(default=FIRST_TRIM, init=False)

    async def take(self, person: int, update_ids: Sequence[int]) -> Refusal | None:
        """Count a message of these updates, unless a limit is reached."""
        if not self.maximums:
            return None
        job = self.taking(person, update_ids, trim=self.trims())
        # It must survive the end of the process, but not a power cut.
        return await self.store.run(job, durable=False)

    def trims(self) -> bool:
        """Return whether the tables are to be bounded with the next message."""
        self._until_trim -= 1
        if self._until_trim > 0:
            return False
        self._until_trim = TRIM_EVERY
        return True

    def taking(
        self, person: int, update_ids: Sequence[int], *, trim: bool
    ) -> Job[Refusal | None]:
        """Return the job of several statements that counts a message."""
        return partial(
            take,
            person=person,
            update_ids=update_ids,
            maximums=self.maximums,
            now=self.store.clock.read().time,
            trim=trim,
        )

    def used(self, person: int, tokens: int) -> list[Write]:
        """Return what counts the tokens of an answer to this person."""
        scopes = [SCOPES[limit] for limit in self.maximums if SCOPES[limit].tokens]
        if not scopes or tokens <= 0:
            return []
        now = self.store.clock.read().time
        return [_added(scopes, person, now, min(tokens, MAX_TOKENS))]


def take(
    connection: Connection,
    *,
    person: int,
    update_ids: Sequence[int],
    maximums: Mapping[Limit, int],
    now: float,
    trim: bool,
) -> Refusal | None:
    """Count a message unless a limit is reached; `trim` also bounds the tables."""
    _delete_old(connection, now)
    if trim:
        _trim(connection)
    if _is_counted(connection, update_ids):
        return None
    for limit, scope in SCOPES.items():
        maximum = maximums.get(limit)
        if maximum is None:
            continue
        wait = wait_seconds(connection, scope, scope.key(person), now, maximum)
        if wait is not None:
            return Refusal(limit, wait)
    scopes = [SCOPES[limit] for limit in maximums if not SCOPES[limit].tokens]
    if scopes:
        _added(scopes, person, now)(connection)
    connection.executemany(
        "INSERT INTO limit_updates (update_id) VALUES (?)"
        " ON CONFLICT (update_id) DO NOTHING",
        [(update_id,) for update_id in update_ids],
    )
    return None


def wait_seconds(
    connection: Connection, scope: Scope, key: int, now: float, maximum: int
) -> float | None:
    """Return the seconds until a window has space, None if it has."""
    column = "tokens" if scope.tokens else "messages"
    slots = connection.execute(
        f"SELECT slot, {column} FROM limit_slots"  # noqa: S608
        " WHERE seconds = ? AND person = ? AND slot >= ? ORDER BY slot",
        (scope.seconds, key, first_slot(scope.seconds, now)),
    ).fetchall()
    total = sum(count for _, count in slots)
    if total < maximum:
        return None
    length = SLOT_SECONDS[scope.seconds]
    for slot, count in slots:
        total -= count
        if total < maximum:
            return float((slot + 1) * length + scope.seconds - now)
    return float(scope.seconds)


def first_slot(seconds: int, now: float) -> int:
    """Return the slot in which the window begins that ends now."""
    return int((now - seconds) // SLOT_SECONDS[seconds])


def slots(
    scopes: Iterable[Scope], person: int, now: float
) -> list[tuple[int, int, int]]:
    """Return the keys of the slots of windows now: seconds, person and slot."""
    # In one order, so that no two statements wait for each other.
    return sorted(
        {
            (each.seconds, each.key(person), int(now // SLOT_SECONDS[each.seconds]))
            for each in scopes
        }
    )


def _added(
    scopes: Iterable[Scope], person: int, now: float, tokens: int | None = None
) -> Write:
    """Return what adds tokens, or one message, to the slots of windows."""
    values = {"slot_messages": int(tokens is None), "slot_tokens": tokens or 0}
    rows = []
    for number, slot in enumerate(slots(scopes, person, now)):
        names = [f"slot_{each}_{number}" for each in ("seconds", "person", "start")]
        values |= dict(zip(names, slot, strict=True))
        columns = [f":{each}" for each in (*names, "slot_messages", "slot_tokens")]
        rows.append(f"({', '.join(columns)})")
    statement = f"INSERT INTO limit_slots VALUES {', '.join(rows)}{ADD}"  # noqa: S608
    return Write(statement=statement, values=values)


def _is_counted(connection: Connection, update_ids: Sequence[int]) -> bool:
    """Return whether a message with one of these updates was counted before."""
    return any(
        connection.execute(
            "SELECT 1 FROM limit_updates WHERE update_id = ?", (update_id,)
        ).fetchone()
        for update_id in update_ids
    )


def _delete_old(connection: Connection, now: float) -> None:
    """Delete the slots that are in no window any more."""
    for seconds in SLOT_SECONDS:
        connection.execute(
            "DELETE FROM limit_slots WHERE seconds = ? AND slot < ?",
            (seconds, first_slot(seconds, now)),
        )


def _trim(connection: Connection) -> None:
    """Delete the oldest slots of persons, and update ids, beyond the bounds."""
    connection.execute(
        "DELETE FROM limit_updates WHERE id <= (SELECT max(id) FROM limit_updates) - ?",
        (MAX_COUNTED_UPDATES,),
    )
    for seconds in SLOT_SECONDS:
        (count,) = connection.execute(
            "SELECT count(*) FROM limit_slots WHERE seconds = ? AND person != ?",
            (seconds, EVERYBODY),
        ).fetchone()
        if count > MAX_PERSON_SLOTS:
            connection.execute(
                "DELETE FROM limit_slots WHERE seconds = ? AND (person, slot) IN"
                " (SELECT person, slot FROM limit_slots"
                "  WHERE seconds = ? AND person != ? ORDER BY slot LIMIT ?)",
                (seconds, seconds, EVERYBODY, count - MAX_PERSON_SLOTS),
            )
