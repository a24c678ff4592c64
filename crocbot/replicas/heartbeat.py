"""
The heartbeat of a replica: one statement every RENEW_SECONDS, for the lease `leader`.

    leader    renews its lease, if it still has it
    standby   takes the lease, if it is free or over
    both      say that they run; read what replicas share: the leader, the flood wait
              of the bot, the number of moves of chats

It is one statement outside of a transaction, so that a pooler of connections in
transaction mode is enough, and a pause of this process at any point leaves no lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from crocbot import log
from crocbot.errors import StoreError
from crocbot.events import NO_EVENTS, EventListener
from crocbot.model import Clock
from crocbot.replica_events import DatabaseOutcome, HeartbeatSent
from crocbot.replicas.leader import Leader
from crocbot.replicas.times import LEASE_SECONDS, RENEW_SECONDS
from crocbot.store import Connection, Store

FORGET_SECONDS = 60.0
# After the end of another replica's lease, by the clock of the database.
TAKE_AFTER_SECONDS = 0.05

logger = log.logger(__name__)

_SEEN = """
WITH seen AS (
    INSERT INTO replicas (owner, seen, bot) VALUES (:owner, clock_timestamp(), :bot)
    ON CONFLICT (owner) DO UPDATE SET seen = excluded.seen
),
"""
_RENEWED = """
held AS (
    UPDATE leases
    SET until = clock_timestamp() + make_interval(secs => :lease)
    WHERE name = 'leader' AND owner = :owner AND epoch = :epoch
    RETURNING owner, epoch, until
),
forgotten AS (
    DELETE FROM replicas
    WHERE owner <> :owner AND seen NOT BETWEEN
        clock_timestamp() - make_interval(secs => :forget)
        AND clock_timestamp() + make_interval(secs => :forget)
), waited AS (
    -- Or it would hold again, should the server's clock be put back.
    DELETE FROM shared WHERE at < clock_timestamp()
)
"""
# A lease that ends much later than any lease may is over: it was taken before the
# server's clock was put back, by a replica that has not renewed it since.
_VALID = """until BETWEEN clock_timestamp()
    AND clock_timestamp() + 2 * make_interval(secs => :lease)"""
# Only where the lease is free or over: an attempt would lock its row.
_TAKEN = f"""
held AS (
    INSERT INTO leases (name, owner, epoch, until)
    SELECT 'leader', :owner, nextval('lease_epochs'),
        clock_timestamp() + make_interval(secs => :lease)
    WHERE :takes = 1 AND NOT EXISTS (
        SELECT 1 FROM leases WHERE name = 'leader' AND owner <> :owner
        AND {_VALID}
    )
    ON CONFLICT (name) DO UPDATE
    SET owner = excluded.owner, epoch = excluded.epoch, until = excluded.until
    WHERE leases.owner = :owner OR NOT leases.{_VALID}
    RETURNING owner, epoch, until
)
"""  # noqa: S608
_READ = """
SELECT held.epoch, lease.owner,
    CAST(extract(epoch FROM lease.until - clock_timestamp()) AS DOUBLE PRECISION),
    (SELECT CAST(extract(epoch FROM at - clock_timestamp()) AS DOUBLE PRECISION)
        FROM shared WHERE name = 'flood'),
    (SELECT count(*) FROM moved_chats)
FROM (SELECT 1) AS one
LEFT JOIN held ON TRUE
LEFT JOIN leases AS lease ON lease.name = 'leader'
"""
RENEW = _SEEN + _RENEWED + _READ
TAKE = _SEEN + _TAKEN + _READ
GIVE_BACK = """
WITH stopped AS (DELETE FROM replicas WHERE owner = :owner),
free AS (
    DELETE FROM leases WHERE name = 'leader' AND owner = :owner RETURNING name
)
SELECT pg_notify('crocbot', name) FROM free
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """
    What the database answered to a heartbeat.

    `epoch` is that of this replica's lease, None without one; `leader` the owner of the
    lease and `left` its rest in seconds, if there is one.  `flood_seconds` is the rest
    of the flood wait of the bot, and `moves` how many chats have moved.
    """

    epoch: int | None
    leader: str | None
    left: float
    flood_seconds: float
    moves: int


class BeatListener(Protocol):
    """What follows what replicas share."""

    async def follow(self, beat: Beat) -> None:
        """Take what the database answered.  Raise StoreError."""


@dataclass(slots=True, kw_only=True)
class Heartbeat:
    """
    Sends heartbeats for `leader`, and passes each answer to `listeners`.

    `bot` is the id of the bot.  `error` is why the last one failed.  After `resign()`
    the lease is not taken again.
    """

    store: Store
    leader: Leader
    listeners: Sequence[BeatListener] = ()
    clock: Clock = time.monotonic
    events: EventListener = NO_EVENTS
    bot: int | None = None
    error: str | None = field(default=None, init=False)
    _takes: bool = field(default=True, init=False)
    _pause: float = field(default=RENEW_SECONDS, init=False)

    async def run(self) -> None:
        """Repeat until cancelled; an error ends only this heartbeat."""
        while True:
            await self.beat()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause):
                    await self.leader.asked.wait()

    async def beat(self) -> None:
        """Renew or take the lease, and pass on what the database answered."""
        waiting, began = self.leader.take_waiting(), self.clock()
        self._pause, outcome = RENEW_SECONDS, DatabaseOutcome.OK
        try:
            await self._beat()
        except StoreError as error:
            outcome = DatabaseOutcome.FAILED
            if self.error is None:
                logger.warning("the database gives no answer", error=str(error))
            self.error = str(error)
        else:
            if self.error is not None:
                logger.info("the database answers again")
            self.error = None
        finally:
            for answered in waiting:
                if not answered.done():
                    answered.set_result(None)
        known = outcome is DatabaseOutcome.OK and self.leader.leader is not None
        self.events.emit(HeartbeatSent(outcome, self.clock() - began, known))

    async def resign(self) -> None:
        """Give the lease back at once, for the next leader.  Raise StoreError."""
        self._takes = False
        self.leader.resign()
        await self._give_back()

    async def _give_back(self) -> None:
        job = partial(_give_back, owner=self.leader.name)
        await self.store.run(job, atomic=False)

    async def _beat(self) -> None:
        term, sent_at = self.leader.term, self.clock()
        values = {
            "owner": self.leader.name,
            "bot": self.bot,
            "epoch": None if term is None else term.epoch,
            "lease": LEASE_SECONDS,
            "forget": FORGET_SECONDS,
            "takes": self._takes,
        }
        found = await self.store.run(partial(_send, values=values), atomic=False)
        if found.epoch is not None and not self._takes:
            # This statement took the lease while resign() gave it back.
            await self._give_back()
        self._follow_lease(found, sent_at)
        for listener in self.listeners:
            await listener.follow(found)

    def _follow_lease(self, found: Beat, sent_at: float) -> None:
        if found.epoch is not None and self._takes:
            self.leader.owns(found.epoch, sent_at)
            return
        is_over = found.left <= 0 or found.leader == self.leader.name
        self.leader.sees(None if is_over else found.leader)
        if self._takes:
            wait = max(found.left, 0.0) + TAKE_AFTER_SECONDS
            self._pause = min(RENEW_SECONDS, wait)


def _send(connection: Connection, values: Mapping[str, Any]) -> Beat:
    statement = TAKE if values["epoch"] is None else RENEW
    row = connection.execute(statement, values).fetchone()
    epoch, leader, left, flood_seconds, moves = row
    return Beat(
        epoch=epoch,
        # The statement sees the lease as it was before it took it.
        leader=values["owner"] if epoch is not None else leader,
        left=left or 0.0,
        flood_seconds=flood_seconds or 0.0,
        moves=moves,
    )


def _give_back(connection: Connection, owner: str) -> None:
    connection.execute(GIVE_BACK, {"owner": owner}).fetchall()
