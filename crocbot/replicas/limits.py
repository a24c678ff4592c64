"""
Limits in a database that replicas share: a message is counted by one statement.

    take(message) --> one statement --> counted, or which limit is reached
          '-- another replica has counted one meanwhile: again
          '-- often, or when the tables are to be bounded: in a transaction

A statement sees the counts as they were when it began, and others may be added while it
waits.  So the row GUARD has the number of changes: if it is still the one that the
statement has seen, once its row is locked, no other message was counted since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from crocbot import leases
from crocbot.errors import LeaseLostError, StoreError
from crocbot.leases import Lease
from crocbot.limits import (
    ADD,
    SCOPES,
    SLOT_SECONDS,
    Limits,
    Refusal,
    Scope,
    first_slot,
    slots,
    wait_seconds,
)
from crocbot.store import Connection, Job
from crocbot.turn_outcomes import Limit

MAX_TRIES = 10
# A server that needs longer would not answer a second time, either.
MAX_FIRST_TRY_SECONDS = 1.0
# Of no window and no person.  `messages` counts the changes; `tokens` is 1 if the last
# statement that locked it had seen all of them.
GUARD = "seconds = 0 AND person = 0 AND slot = 0"
CHANGE = """
    INSERT INTO limit_slots VALUES (0, 0, 0, 1, 1)
    ON CONFLICT (seconds, person, slot) DO UPDATE
    SET messages = limit_slots.messages + 1
"""
# Not waited for the disk: a power cut may lose counts.
TAKE = f"""
WITH held AS (
    SELECT 1 FROM chats, (SELECT set_config('synchronous_commit', 'off', true)) quick
    WHERE chat = :lease AND epoch = :epoch FOR SHARE OF chats
), seen AS MATERIALIZED (
    SELECT coalesce((SELECT messages FROM limit_slots WHERE {GUARD}), 0) AS changes,
        EXISTS (
            SELECT 1 FROM limit_updates WHERE update_id = ANY (:update_ids::bigint[])
        ) AS counted,
        (SELECT min(place)
        FROM unnest(:scope_seconds::bigint[], :scope_persons::bigint[],
            :scope_starts::bigint[], :scope_tokens::int[], :scope_maximums::bigint[])
            WITH ORDINALITY AS scope(seconds, person, start, tokens, maximum, place)
        WHERE maximum <= (
            SELECT coalesce(sum(CASE WHEN scope.tokens = 1
                THEN slots.tokens ELSE slots.messages END), 0)
            FROM limit_slots slots
            WHERE slots.seconds = scope.seconds AND slots.person = scope.person
                AND slots.slot >= scope.start)
        ) AS reached
), guard AS (
    INSERT INTO limit_slots SELECT 0, 0, 0, 1, 1 FROM held
    ON CONFLICT (seconds, person, slot) DO UPDATE
    SET (messages, tokens) = (
        SELECT limit_slots.messages + (fresh AND NOT counted AND reached IS NULL)::int,
            fresh::int
        FROM (SELECT *, changes = limit_slots.messages AS fresh FROM seen) seen
    )
    RETURNING tokens = 1 AS fresh
), admitted AS MATERIALIZED (
    SELECT 1 FROM guard, seen WHERE fresh AND NOT counted AND reached IS NULL
), added AS (
    INSERT INTO limit_slots
    SELECT given.*, 1, 0 FROM admitted,
        unnest(:seconds::bigint[], :persons::bigint[], :starts::bigint[]) AS given
    ORDER BY 1, 2, 3{ADD}
), noted AS (
    INSERT INTO limit_updates (update_id)
    SELECT given FROM admitted, unnest(:update_ids::bigint[]) AS given
    ON CONFLICT (update_id) DO NOTHING
), outdated AS (
    DELETE FROM limit_slots USING admitted,
        unnest(:window_seconds::bigint[], :window_starts::bigint[])
            AS window_(seconds, start)
    WHERE limit_slots.seconds = window_.seconds AND limit_slots.slot < window_.start
)
SELECT guard.fresh, seen.counted, seen.reached
FROM seen LEFT JOIN guard ON true
"""  # noqa: S608


@dataclass(frozen=True, slots=True)
class Found:
    """
    What one statement found; nothing is counted unless it is `fresh`.

    `reached` is the position in SCOPES, among the limits that are set, of the first one
    that is reached.
    """

    fresh: bool
    reached: int | None


@dataclass(slots=True)
class SharedLimits(Limits):
    """
    The counts of all replicas.

    Statements of this process run one after the other, since they would only meet in
    the database.  What waits for one that fails fails with it, so that many messages
    do not wait for a server without an answer in turn.
    """

    _lock: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _failed_at: float = field(default=0.0, init=False)
    _error: str = field(default="", init=False)

    async def take(self, person: int, update_ids: Sequence[int]) -> Refusal | None:
        """Count a message of these updates, unless a limit is reached."""
        if not self.maximums:
            return None
        lease, trim = leases.current(), self.trims()
        if lease is None or trim:
            return await self._take_alone(person, update_ids, trim=trim)
        for _ in range(MAX_TRIES):
            now = self.store.clock.read().time
            values = self._values(person, update_ids, now)
            found = await self._count(partial(_take, lease=lease, values=values))
            if not found.fresh:
                continue
            if found.reached is None:
                return None
            refusal = await self._refusal(person, now, found.reached)
            if refusal is not None:
                return refusal
        return await self._take_alone(person, update_ids)

    async def _take_alone(
        self, person: int, update_ids: Sequence[int], *, trim: bool = False
    ) -> Refusal | None:
        """Count a message in a transaction, in which no other one is counted."""
        take = self.taking(person, update_ids, trim=trim)

        def job(connection: Connection) -> Refusal | None:
            connection.execute(CHANGE)
            return take(connection)

        return await self.store.run(job, durable=False)

    async def _count(self, job: Job[Found]) -> Found:
        """Return what a statement found, once it is its turn."""
        asked_at = leases.now()
        async with self._lock:
            if self._failed_at >= asked_at:
                raise StoreError(self._error)
            try:
                return await self._run(job)
            except LeaseLostError:
                raise
            except StoreError as error:
                self._failed_at, self._error = leases.now(), str(error)
                raise

    async def _run(self, job: Job[Found]) -> Found:
        """Run a statement; again after its connection has ended: none counts twice."""
        began = leases.now()
        try:
            return await self.store.run(job, atomic=False)
        except LeaseLostError:
            raise
        except StoreError:
            if leases.now() - began > MAX_FIRST_TRY_SECONDS:
                raise
            return await self.store.run(job, atomic=False)

    async def _refusal(self, person: int, now: float, reached: int) -> Refusal | None:
        """Return the refusal, None if there is space by now."""
        limit, scope, maximum = self._scopes()[reached - 1]
        job = partial(
            wait_seconds, scope=scope, key=scope.key(person), now=now, maximum=maximum
        )
        wait = await self.store.run(job, write=False, atomic=False)
        return None if wait is None else Refusal(limit, wait)

    def _scopes(self) -> list[tuple[Limit, Scope, int]]:
        """Return the limits that are set, in the order in which they are tested."""
        return [
            (limit, scope, self.maximums[limit])
            for limit, scope in SCOPES.items()
            if limit in self.maximums
        ]

    def _values(
        self, person: int, update_ids: Sequence[int], now: float
    ) -> Mapping[str, Any]:
        """Return the parameters of TAKE."""
        tested = self._scopes()
        scopes = [scope for _, scope, _ in tested]
        added = slots([each for each in scopes if not each.tokens], person, now)
        return {
            "update_ids": list(update_ids),
            "scope_seconds": [each.seconds for each in scopes],
            "scope_persons": [each.key(person) for each in scopes],
            "scope_starts": [first_slot(each.seconds, now) for each in scopes],
            "scope_tokens": [int(each.tokens) for each in scopes],
            "scope_maximums": [maximum for _, _, maximum in tested],
            "seconds": [seconds for seconds, _, _ in added],
            "persons": [key for _, key, _ in added],
            "starts": [slot for _, _, slot in added],
            "window_seconds": list(SLOT_SECONDS),
            "window_starts": [first_slot(each, now) for each in SLOT_SECONDS],
        }


def _take(connection: Connection, lease: Lease, values: Mapping[str, Any]) -> Found:
    """Count a message; raise LeaseLostError."""
    values = {**values, "lease": lease.chat, "epoch": lease.epoch}
    fresh, counted, reached = connection.execute(TAKE, values).fetchone()
    if fresh is None:
        raise LeaseLostError(lease.chat)
    return Found(fresh, None if counted else reached)
