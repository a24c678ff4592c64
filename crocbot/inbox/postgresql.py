"""
The SQL of the inbox on PostgreSQL, where several replicas work the rows.

    accept --> rows of a chat, whose lease this replica may have --> begin --> close
       '----> NOTIFY --> the replica that has it: load, or any other one: claim

Each function runs one statement, which is a transaction of its own in READ COMMITTED.
Such a statement waits for a row lock and then sees the new version of the locked row,
but all other rows as they were when it began.  So:

- What must not be missed is counted in `chats.version`, in the row that is locked; no
  statement decides by rows that another one may have added meanwhile.
- `seq` is taken while the row of the chat is locked: its order is that of the commits.
- A lease is a row of `chats` with an epoch that is never used again.  What a lost lease
  would change is not changed, because its epoch is not found (`held`).
- Locks are taken in one order: the leader's lease, chats by id, rows, lines of the
  ledger by name.  So no two statements wait for each other.

A row of `chats` exists while its chat has open rows or pushed messages, or is held.
`places.py` has what needs several statements.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from crocbot.inbox import replies
from crocbot.leases_sql import (
    CHANNEL,
    CHATS,
    HELD,
    NO_EPOCH,
    NOW,
    UNTIL,
    FoundChat,
    Key,
    columns,
)
from crocbot.model import Disposition, Outcome, RawUpdate, Reply, Row
from crocbot.store import Connection

RETENTION_SECONDS = 48 * 3600.0
MAX_REASON_LENGTH = 300
CONTENT_KEPT = frozenset({Disposition.FAILED, Disposition.SET_ASIDE})


@dataclass(frozen=True, slots=True)
class Arrival:
    """An update to store; `claims` means that this replica may take its chat."""

    raw: RawUpdate
    chat: int
    claims: bool = False


@dataclass(frozen=True, slots=True)
class FoundRow:
    """An open row and its place in the order."""

    seq: int
    chat: int
    row: Row


@dataclass(frozen=True, slots=True)
class Found:
    """What accept() stored, or load() read."""

    chats: tuple[FoundChat, ...] = ()
    rows: tuple[FoundRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """
    A row to close; `again` means that an earlier try may have closed it.

    `reply` is set for one row of the outcome, which is enough to deliver it.
    """

    update_id: int
    key: Key
    outcome: Outcome
    reply: Reply | None = None
    again: bool = False


ACCEPT = f"""
WITH leader AS (
    SELECT 1 FROM leases WHERE name = 'leader' AND epoch = ?::bigint FOR SHARE
), input AS MATERIALIZED (
    SELECT given.place, given.update_id, given.raw, given.claims,
        coalesce((SELECT min(old_id) FROM moved_chats WHERE new_id = given.chat),
            given.chat) AS chat
    FROM unnest(?::bigint[], ?::bigint[], ?::text[], ?::int[])
        WITH ORDINALITY AS given(update_id, chat, raw, claims, place)
    WHERE ?::bigint IS NULL OR EXISTS (SELECT 1 FROM leader)
), locked AS (
    INSERT INTO chats (chat, owner, epoch, until, version, waiting_since)
    SELECT chat,
        CASE WHEN max(claims) = 1 THEN ?::text END,
        CASE WHEN max(claims) = 1 THEN nextval('lease_epochs') ELSE {NO_EPOCH} END,
        CASE WHEN max(claims) = 1 THEN {UNTIL} END,
        1, {NOW}
    FROM input GROUP BY chat ORDER BY chat
    ON CONFLICT (chat) DO UPDATE SET version = chats.version + 1
    RETURNING chat, owner, epoch, version
), added AS (
    INSERT INTO rows (update_id, raw, accepted, chat)
    SELECT input.update_id, input.raw, {NOW}, input.chat
    FROM input JOIN locked USING (chat) ORDER BY input.place
    ON CONFLICT (update_id) DO NOTHING
    RETURNING seq, update_id, chat, accepted
), counts AS (
    SELECT 'accepted' AS line, count(*) AS number FROM added
    UNION ALL
    SELECT 'duplicates', (SELECT count(*) FROM input) - count(*) FROM added
), lines AS (
    SELECT ledger.line, counts.number FROM ledger JOIN counts USING (line)
    WHERE counts.number > 0 ORDER BY ledger.line FOR UPDATE OF ledger
), counted AS (
    UPDATE ledger SET count = ledger.count + lines.number
    FROM lines WHERE ledger.line = lines.line
), noted AS MATERIALIZED (
    SELECT pg_notify('{CHANNEL}', '{CHATS}' || string_agg(' ' || chat, ''))
    FROM (SELECT DISTINCT chat FROM added) new JOIN locked USING (chat)
    WHERE locked.owner IS DISTINCT FROM ?::text HAVING count(*) > 0
)
SELECT locked.chat, locked.epoch, locked.version, moved.new_id,
    coalesce(locked.owner = ?::text, false), added.seq, added.update_id,
    added.accepted, (SELECT count(*) FROM noted)
FROM locked LEFT JOIN added USING (chat)
LEFT JOIN moved_chats moved ON moved.old_id = locked.chat ORDER BY added.seq
"""  # noqa: S608


def accept(
    connection: Connection,
    arrivals: Sequence[Arrival],
    owner: str,
    leader: int | None = None,
) -> Found | None:
    """
    Insert the updates that are new, in this order; return their rows and all chats.

    Return None, with nothing stored, if `leader` is not the epoch of the leader's
    lease.
    """
    found = connection.execute(
        ACCEPT,
        (
            leader,
            [each.raw["update_id"] for each in arrivals],
            [each.chat for each in arrivals],
            [json.dumps(each.raw, separators=(",", ":")) for each in arrivals],
            [int(each.claims) for each in arrivals],
            leader,
            *(owner, owner, owner),
        ),
    ).fetchall()
    if arrivals and not found:
        return None
    # Of an update that is there twice the first one is stored.
    raws = {each.raw["update_id"]: each.raw for each in reversed(arrivals)}
    return Found(
        _found_chats(each[:5] for each in found),
        tuple(
            FoundRow(seq, chat, Row(update_id, raws[update_id], accepted))
            for chat, *_, seq, update_id, accepted, _ in found
            if seq is not None
        ),
    )


LOAD = """
SELECT c.chat, c.epoch, c.version, m.new_id, r.seq, r.update_id, r.raw, r.accepted,
    r.reply, r.markdown, r.retried, r.tries,
    EXISTS (SELECT 1 FROM kept_replies k WHERE k.update_id = r.update_id)
FROM unnest(?::bigint[], ?::bigint[], ?::bigint[], ?::bigint[])
    AS given(chat, epoch, after, room)
JOIN chats c ON c.chat = given.chat AND c.epoch = given.epoch
LEFT JOIN moved_chats m ON m.old_id = c.chat
LEFT JOIN LATERAL (
    SELECT * FROM rows
    WHERE rows.chat = given.chat AND rows.disposition IS NULL
        AND rows.seq > given.after
    ORDER BY rows.seq LIMIT given.room
) r ON true
ORDER BY r.seq
"""


def load(
    connection: Connection,
    keys: Sequence[Key],
    after: Sequence[int],
    room: Sequence[int],
) -> Found:
    """
    Return the open rows of held chats after a `seq` of each, as many as it has room.

    It takes no lock, so that the version and the rows of a chat are of one moment.
    """
    chats, epochs = [chat for chat, _ in keys], [epoch for _, epoch in keys]
    parameters = (chats, epochs, list(after), list(room))
    found = connection.execute(LOAD, parameters).fetchall()
    return Found(
        _found_chats((*each[:4], True) for each in found),
        tuple(
            _found_row(connection, each[0], each[4:])
            for each in found
            if each[4] is not None
        ),
    )


def _found_chats(found: Iterable[Sequence[Any]]) -> tuple[FoundChat, ...]:
    """Return each chat once, of its first row."""
    chats: dict[int, FoundChat] = {}
    for chat, epoch, version, moved_to, mine in found:
        if chat not in chats:
            chats[chat] = FoundChat(chat, epoch, version, mine=mine, moved_to=moved_to)
    return tuple(chats.values())


def _found_row(connection: Connection, chat: int, found: Sequence[Any]) -> FoundRow:
    """Return a row of LOAD, with its kept reply, which only its holder changes."""
    seq, update_id, raw, accepted, text, markdown, retried, tries, kept = found
    reply, sent = None if text is None else Reply(text, bool(markdown)), None
    if kept and (loaded := replies.load(connection, update_id)) is not None:
        reply, sent = loaded
    row = Row(
        update_id,
        json.loads(raw),
        accepted,
        reply=reply,
        sent=sent,
        retried=bool(retried),
        tries=tries,
    )
    return FoundRow(seq, chat, row)


@dataclass(frozen=True, slots=True)
class Begun:
    """
    What the turn of a chat needs to know at once, so that it asks no more.

    `paired` means that the chat is the private one of a person whom the operator has
    approved, `rich` that one of the turns that begin may have sent a rich message.
    """

    paired: bool
    rich: bool


# Not waited for the disk: no message can end the machine.
BEGIN = f"""
WITH held AS ({HELD}), begun AS (
    UPDATE rows SET trying = 1
    FROM held, (SELECT set_config('synchronous_commit', 'off', true)) quick
    WHERE rows.chat = held.chat AND rows.update_id = ANY (?::bigint[])
        AND rows.disposition IS NULL
)
SELECT chat, EXISTS (
    SELECT 1 FROM pairings
    WHERE pairings.user_id = held.chat AND pairings.approved IS NOT NULL),
    EXISTS (SELECT 1 FROM classic_forms WHERE update_id = ANY (?::bigint[]))
FROM held
"""  # noqa: S608


def begin(
    connection: Connection, keys: Sequence[Key], update_ids: Sequence[int]
) -> dict[int, Begun]:
    """Mark the rows of turns that begin; return the chats whose lease is held."""
    parameters = (*columns(keys), list(update_ids), list(update_ids))
    found = connection.execute(BEGIN, parameters)
    return {chat: Begun(paired, rich) for chat, paired, rich in found}


CLOSE = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM unnest(?::bigint[], ?::bigint[], ?::bigint[], ?::text[], ?::text[],
        ?::text[], ?::int[], ?::int[], ?::int[], ?::int[]) AS given(update_id, chat,
        epoch, disposition, reason, reply, markdown, keeps_raw, keeps_files, again)
), held AS (
    {HELD}
), mine AS (
    SELECT given.*, rows.disposition IS NOT NULL AS was_closed
    FROM given JOIN held USING (chat, epoch)
    JOIN rows ON rows.update_id = given.update_id AND rows.chat = held.chat
), closed AS (
    UPDATE rows SET disposition = mine.disposition, closed = {NOW},
        expires = {NOW} + {RETENTION_SECONDS}, reason = mine.reason,
        reply = mine.reply, markdown = mine.markdown, reopened = 0,
        raw = CASE WHEN mine.keeps_raw = 1 THEN rows.raw ELSE '' END
    FROM mine
    WHERE rows.update_id = mine.update_id AND rows.disposition IS NULL
    RETURNING rows.update_id, rows.disposition
), removed AS (
    DELETE FROM kept_replies USING mine
    WHERE kept_replies.update_id = mine.update_id AND mine.keeps_files = 0
), removed_files AS (
    DELETE FROM reply_files USING mine
    WHERE reply_files.update_id = mine.update_id AND mine.keeps_files = 0
), lines AS (
    SELECT ledger.line, counts.number FROM ledger
    JOIN (SELECT disposition AS line, count(*) AS number FROM closed GROUP BY 1) counts
        USING (line)
    ORDER BY ledger.line FOR UPDATE OF ledger
), counted AS (
    UPDATE ledger SET count = ledger.count + lines.number
    FROM lines WHERE ledger.line = lines.line
)
SELECT given.update_id, mine.update_id IS NOT NULL,
    closed.update_id IS NOT NULL OR coalesce(mine.was_closed AND given.again = 1, false)
FROM given LEFT JOIN mine USING (update_id) LEFT JOIN closed USING (update_id)
"""  # noqa: S608


def close_rows(
    connection: Connection, closings: Sequence[Closing]
) -> dict[int, bool | None]:
    """
    Close rows whose lease is held; return for each whether it was closed.

    None means that the lease is lost.  A row that an earlier try has closed counts as
    closed, because only this replica could do that under this lease.
    """
    outcomes = [each.outcome for each in closings]
    keys = [each.key for each in closings]
    found = connection.execute(
        CLOSE,
        (
            [each.update_id for each in closings],
            *([chat for chat, _ in keys], [epoch for _, epoch in keys]),
            [str(each.disposition) for each in outcomes],
            [
                each.reason and _storable(each.reason)[:MAX_REASON_LENGTH]
                for each in outcomes
            ],
            [each.reply and _storable(each.reply.text) for each in closings],
            [int(bool(each.reply and each.reply.markdown)) for each in closings],
            [int(each.disposition in CONTENT_KEPT) for each in outcomes],
            [int(_keeps_files(each)) for each in outcomes],
            [int(each.again) for each in closings],
            *columns(keys),
        ),
    )
    return {
        update_id: bool(closed) if held else None for update_id, held, closed in found
    }


def _keeps_files(outcome: Outcome) -> bool:
    """Return whether the files of an undelivered answer are kept for a retry."""
    reply = outcome.undelivered
    return bool(reply and (reply.files or reply.buttons))


def _storable(text: str) -> str:
    """Replace half surrogate pairs and NUL, which PostgreSQL cannot store."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
