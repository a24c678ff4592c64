"""
The SQL of the leases of chats on PostgreSQL.

    claim --> renew ... --> look, release   the row of an empty chat is deleted
                      '---> give back       another replica takes the chat
    touch                                   a chat has new work

`inbox/postgresql.py` has the SQL of rows, and what holds for the statements of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from crocbot.leases import LEASE_SECONDS
from crocbot.store import Connection

CHANNEL = "crocbot"
CHATS = "chats"
"""The first word of a notification whose other words are ids of chats."""
MAX_NOTIFIED = 100
NO_EPOCH = 0
"""That of a chat that no replica holds."""

Key = tuple[int, int]
"""The chat and the epoch of a lease."""


@dataclass(frozen=True, slots=True)
class FoundChat:
    """
    A row of `chats` after a statement; `mine` means that this replica holds it.

    `moved_to` is the id that the chat has since its group became a supergroup.
    """

    chat: int
    epoch: int
    version: int
    mine: bool = field(default=True, kw_only=True)
    moved_to: int | None = field(default=None, kw_only=True)
    flood_seconds: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What became of a lease; `gone` means that the row of the chat was deleted."""

    chat: int
    epoch: int
    version: int
    gone: bool
    has_rows: bool
    has_pushed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """
    What waits in the database, counted up to a bound; `owners` have leases.

    `time` is the Unix time of the server.
    """

    rows: int
    chats: int
    owners: int
    time: float


@dataclass(frozen=True, slots=True)
class Looked:
    """What look() found: held chats, and which of their leases it gave back."""

    backlog: Backlog
    chats: Sequence[FoundChat]
    gone: set[Key]


# The rows of `chats` of given leases, locked, if they are still the same leases.
HELD = """
    SELECT c.chat, c.epoch, c.version
    FROM unnest(?::bigint[], ?::bigint[]) AS given(chat, epoch)
    JOIN chats c ON c.chat = given.chat AND c.epoch = given.epoch
    ORDER BY c.chat
    FOR UPDATE OF c
"""
UNTIL = f"clock_timestamp() + interval '{LEASE_SECONDS:g} seconds'"
NOW = "extract(epoch FROM now())::double precision"
# Parameters: a time of the server, TIMES times; NULL for no lease.  The server's
# clock may have been changed since that time was known: then a lease that was renewed
# meanwhile is neither over nor of the future.  One that ends much later than any lease
# may was taken before the clock was put back.
EXPIRED = f"""(?::double precision IS NOT NULL AND until NOT BETWEEN
    least(clock_timestamp(), to_timestamp(?::double precision))
    AND greatest(clock_timestamp(), to_timestamp(?::double precision))
        + interval '{2 * LEASE_SECONDS:g} seconds')"""
TIMES = 3
# A chat of `pushed` may have moved since: `chats` has its first id.
PUSHED_CHATS = """
    SELECT coalesce(m.old_id, p.chat_id) AS chat
    FROM pushed p LEFT JOIN moved_chats m ON m.new_id = p.chat_id
    WHERE p.state = 'open'
"""

CLAIM = f"""
WITH free AS (
    SELECT chat, owner FROM chats
    WHERE (owner IS NULL OR {EXPIRED})
        AND chat <> ALL (?::bigint[])
    ORDER BY waiting_since, chat LIMIT ?
    FOR UPDATE SKIP LOCKED
), claimed AS (
    UPDATE chats SET owner = ?::text, epoch = nextval('lease_epochs'), until = {UNTIL},
        version = version + 1
    FROM free WHERE chats.chat = free.chat
    RETURNING chats.chat, chats.epoch, chats.flood_until, free.owner AS last_owner
), crashed AS (
    UPDATE rows SET tries = tries + 1, trying = 0
    FROM claimed
    WHERE rows.chat = claimed.chat AND rows.disposition IS NULL AND rows.trying = 1
        AND claimed.last_owner IS NOT NULL
)
SELECT chat, epoch, greatest(0.0, coalesce(
    extract(epoch FROM flood_until - clock_timestamp()), 0.0))::double precision
FROM claimed
"""  # noqa: S608


def claim(
    connection: Connection,
    owner: str,
    limit: int,
    *,
    excluded: Sequence[int] = (),
    time: float | None = None,
) -> list[FoundChat]:
    """
    Take at most `limit` chats that no replica holds, those that wait longest first.

    With `time`, of the server, also those whose owner did not renew its lease until
    then; a turn that was running counts as a crash.  Return them with no version,
    because rows may have come that this statement does not see: load() reads them.
    Only a chat that accept() has just made has version 1.
    """
    parameters = (*[time] * TIMES, list(excluded), limit, owner)
    found = connection.execute(CLAIM, parameters)
    return [
        FoundChat(chat, epoch, -1, flood_seconds=flood) for chat, epoch, flood in found
    ]


# A row that another statement has locked is passed over: one that is slow would let all
# other leases end.  No replica can claim it meanwhile.
RENEW = f"""
WITH held AS ({HELD} SKIP LOCKED), renewed AS (
    UPDATE chats SET until = {UNTIL} FROM held WHERE chats.chat = held.chat
    RETURNING chats.chat, chats.version
)
SELECT c.chat, c.epoch, coalesce(renewed.version, c.version), renewed.chat IS NOT NULL
FROM unnest(?::bigint[], ?::bigint[]) AS given(chat, epoch)
JOIN chats c ON c.chat = given.chat AND c.epoch = given.epoch
LEFT JOIN renewed ON renewed.chat = c.chat
"""  # noqa: S608


def renew(
    connection: Connection, keys: Sequence[Key]
) -> tuple[list[FoundChat], set[Key]]:
    """
    Renew leases; return those that are still held, also after they had expired.

    Return as well which of them were not renewed, since their rows were locked.
    """
    parameters = (*columns(keys), *columns(keys))
    found = connection.execute(RENEW, parameters).fetchall()
    locked = {(chat, epoch) for chat, epoch, _, renewed in found if not renewed}
    return [FoundChat(*each[:3]) for each in found], locked


# The rows of `chats` to be given back, locked: each that has nothing left and has not
# changed since a version is deleted.
_GIVEN_BACK = """
    SELECT c.chat, c.epoch, c.version, c.version = given.version AS known
    FROM unnest(?::bigint[], ?::bigint[], ?::bigint[]) AS given(chat, epoch, version)
    JOIN chats c ON c.chat = given.chat AND c.epoch = given.epoch
    ORDER BY c.chat FOR UPDATE OF c
"""
_GONE = f"""
), work AS MATERIALIZED (
    SELECT held.*,
        EXISTS (SELECT 1 FROM rows
            WHERE rows.chat = held.chat AND rows.disposition IS NULL) AS has_rows,
        held.chat IN ({PUSHED_CHATS}) AS has_pushed
    FROM held
), gone AS (
    DELETE FROM chats USING work
    WHERE chats.chat = work.chat AND work.known
        AND NOT work.has_rows AND NOT work.has_pushed
    RETURNING chats.chat
)
"""  # noqa: S608
RELEASE = f"""
WITH held AS ({_GIVEN_BACK}{_GONE}
SELECT work.chat, work.epoch, work.version, gone.chat IS NOT NULL, work.has_rows,
    work.has_pushed
FROM work LEFT JOIN gone USING (chat)
"""  # noqa: S608


def release(
    connection: Connection, keys: Sequence[Key], versions: Sequence[int]
) -> list[Released]:
    """
    Delete the rows of chats that are empty and have not changed since a version.

    The version is in the locked row, so it is certain that nothing was added; what
    was closed under this lease before is seen as closed.
    """
    given = sorted(zip(keys, versions, strict=True))
    parameters = (*columns(keys), [version for _, version in given])
    return [
        Released(
            chat=chat,
            epoch=epoch,
            version=version,
            gone=gone,
            has_rows=has_rows,
            has_pushed=has_pushed,
        )
        for chat, epoch, version, gone, has_rows, has_pushed in connection.execute(
            RELEASE, parameters
        )
    ]


# A row that another statement has locked is passed over, and given back later.
LOOK = f"""
WITH held AS ({_GIVEN_BACK} SKIP LOCKED{_GONE}
SELECT (SELECT count(*) FROM (
        SELECT 1 FROM rows WHERE disposition IS NULL LIMIT ?) r),
    (SELECT count(*) FROM (
        SELECT 1 FROM chats WHERE owner IS NULL OR {EXPIRED} LIMIT ?) c),
    (SELECT count(DISTINCT owner) FROM chats WHERE until >= clock_timestamp()),
    extract(epoch FROM clock_timestamp())::double precision,
    c.chat, c.epoch, coalesce(work.version, c.version), gone.chat IS NOT NULL
FROM (SELECT 1) one LEFT JOIN (
    unnest(?::bigint[], ?::bigint[]) AS given(chat, epoch)
    JOIN chats c ON c.chat = given.chat AND c.epoch = given.epoch
    LEFT JOIN work ON work.chat = c.chat
    LEFT JOIN gone ON gone.chat = c.chat
) ON true
"""  # noqa: S608


def look(
    connection: Connection,
    keys: Sequence[Key],
    *,
    max_rows: int,
    max_chats: int,
    time: float | None = None,
    empty: Mapping[Key, int] = MappingProxyType({}),
) -> Looked:
    """
    Return what waits, up to these numbers, and the versions of held chats.

    Of these, give those back that are `empty` here, as of a version, like release():
    replicas look each second anyway.  `time` is as for claim().
    """
    given = sorted(empty.items())
    parameters = (
        *columns([key for key, _ in given]),
        [version for _, version in given],
        *(max_rows, *[time] * TIMES, max_chats),
        *columns(keys),
    )
    found = connection.execute(LOOK, parameters).fetchall()
    rows, waiting, owners, now = found[0][:4]
    held = [each[4:] for each in found if each[4] is not None]
    return Looked(
        Backlog(rows=rows, chats=waiting, owners=owners, time=now),
        [FoundChat(*each[:3]) for each in held],
        {(chat, epoch) for chat, epoch, _, gone in held if gone},
    )


OWNED = "SELECT chat FROM chats WHERE owner = ? ORDER BY chat FOR UPDATE"
FREE = f"""
), ended AS (
    UPDATE rows SET trying = 0
    FROM held
    WHERE rows.chat = held.chat AND rows.disposition IS NULL AND rows.trying = 1
), freed AS (
    UPDATE chats SET owner = NULL, until = NULL, epoch = {NO_EPOCH}
    FROM held WHERE chats.chat = held.chat
    RETURNING chats.chat
), noted AS MATERIALIZED (
    SELECT pg_notify('{CHANNEL}', CASE WHEN count(*) <= {MAX_NOTIFIED}
        THEN '{CHATS}' || string_agg(' ' || chat, '') ELSE '{CHATS}' END)
    FROM freed HAVING count(*) > 0
)
SELECT freed.chat, (SELECT count(*) FROM noted) FROM freed
"""  # noqa: S608
GIVE_BACK = f"WITH held AS ({HELD}{FREE}"
GIVE_ALL_BACK = f"WITH held AS ({OWNED}{FREE}"


def give_back(connection: Connection, keys: Sequence[Key]) -> set[int]:
    """
    Let other replicas take chats, whatever work they have; return those that were held.

    None of their turns counts as a crash.  Nothing can be done under these leases after
    that, even before another replica has the chat.
    """
    return {chat for chat, _ in connection.execute(GIVE_BACK, columns(keys))}


def give_all_back(connection: Connection, owner: str) -> set[int]:
    """
    Give back all chats of a replica like give_back(); return them.

    It may not know of some: a statement that took them was cancelled here, or its
    answer was lost.
    """
    return {chat for chat, _ in connection.execute(GIVE_ALL_BACK, (owner,))}


TOUCH = f"""
WITH touched AS (
    INSERT INTO chats (chat, version, waiting_since)
    SELECT DISTINCT given.chat, 1, {NOW} FROM unnest(?::bigint[]) AS given(chat)
    ORDER BY given.chat
    ON CONFLICT (chat) DO UPDATE SET version = chats.version + 1
    RETURNING chat
), noted AS MATERIALIZED (
    SELECT pg_notify('{CHANNEL}', CASE WHEN count(*) <= {MAX_NOTIFIED}
        THEN '{CHATS}' || string_agg(' ' || chat, '') ELSE '{CHATS}' END)
    FROM touched HAVING count(*) > 0
)
SELECT count(*), (SELECT count(*) FROM noted) FROM touched
"""  # noqa: S608


def touch(connection: Connection, chats: Sequence[int]) -> None:
    """
    Note that chats, by their first ids, have new work; add it in this transaction.

    Replicas are notified when that is committed.
    """
    if chats:
        connection.execute(TOUCH, (list(chats),)).fetchall()


ORPHANS = f"""
SELECT work.chat FROM (
    SELECT chat FROM rows WHERE disposition IS NULL UNION {PUSHED_CHATS}
) work
WHERE NOT EXISTS (SELECT 1 FROM chats WHERE chats.chat = work.chat)
"""  # noqa: S608


def adopt(connection: Connection) -> None:
    """
    Add the rows of `chats` that are missing: of pushed messages before a move.

    One that is not needed is claimed, found empty and deleted.
    """
    touch(connection, [chat for (chat,) in connection.execute(ORPHANS)])


SET_FLOOD = f"""
WITH held AS ({HELD})
UPDATE chats SET flood_until = clock_timestamp() + make_interval(secs => ?)
FROM held WHERE chats.chat = held.chat
"""  # noqa: S608


def set_flood(connection: Connection, key: Key, seconds: float) -> None:
    """Keep with a lease how long Telegram refuses messages to its chat."""
    connection.execute(SET_FLOOD, (*columns([key]), seconds))


def columns(keys: Sequence[Key]) -> tuple[list[int], list[int]]:
    """Return the chats and the epochs of leases, each once: a lock is taken once."""
    unique = sorted(set(keys))
    return [chat for chat, _ in unique], [epoch for _, epoch in unique]
