"""
The inbox of a process that shares its database with other replicas.

    accept(updates) --> rows of chats that this process holds --> the dispatcher
                    '-> rows of other chats: their holders are notified
    begin, close_rows --> only under the lease of the chat

Updates that come at the same time, such as those of several webhook requests, are
stored by one statement.  What is closed under a lost lease changes nothing, is counted
and logged.

Rows are given to the dispatcher in the step that takes them, so that no later row of
the chat, which another statement reads, comes before them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from crocbot import envelope, leases, leases_sql, log
from crocbot.errors import InboxError, LeaderLostError, LeaseLostError
from crocbot.events import NO_EVENTS, EventListener
from crocbot.inbox import Accepted, Inbox, places, postgresql
from crocbot.inbox.inbox import Close
from crocbot.inbox.postgresql import Arrival, Closing, Found, FoundRow
from crocbot.model import Outcome, RawUpdate, Row, Sleep
from crocbot.replica_events import WriteRefused
from crocbot.replicas.held import HeldChats, lease_end
from crocbot.store import Reading, Store

MAX_BATCH = 100
NO_CHAT = 0
MAX_CHAT_ID = 2**63 - 1
LEADER_LOST = "another replica leads now"
LAPSED = 0.0

Result = TypeVar("Result")
logger = log.logger(__name__)


@dataclass(slots=True, eq=False)
class Batch:
    """Updates of one caller, and what becomes of them."""

    updates: Sequence[RawUpdate]
    leader: int | None
    accepted: asyncio.Future[Accepted] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class LeasedInbox(Inbox):
    """The rows in the database of `store`, worked under the leases of `chats`."""

    def __init__(
        self,
        store: Store,
        events: EventListener = NO_EVENTS,
        *,
        chats: HeldChats,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        super().__init__(store, events, sleep=sleep)
        self._chats = chats
        self._arriving: list[Batch] = []
        self._accept_lock = asyncio.Lock()
        self._tried: set[int] = set()

    async def recover(self, *, orderly: bool) -> None:
        """Do nothing: the replica that claims a chat counts its owner's crash."""

    async def open_rows(self) -> list[Row]:
        """Return nothing: open rows come with the chats that are claimed."""
        return []

    async def reopened(self) -> list[Row]:
        """Return nothing: they come like new rows of their chats."""
        return []

    async def open_again(self, update_ids: Sequence[int]) -> list[Row]:
        """Open failed rows again, for the holders of their chats."""
        await self._run(partial(places.reopen, update_ids=update_ids))
        return []

    async def tidy(self) -> None:
        """Delete expired rows; note chats that have work and no row of their own."""
        await super().tidy()
        await self._run(leases_sql.adopt)

    async def _accept(
        self, updates: Sequence[RawUpdate], leader: int | None
    ) -> Accepted:
        batch = Batch(updates, leader)
        self._arriving.append(batch)
        async with self._accept_lock:
            # A caller that was cancelled has left its own batch before this one.
            while not batch.accepted.done():
                await self._accept_arriving()
        return await batch.accepted

    async def _accept_arriving(self) -> None:
        """Store the batches that wait, as many as one statement takes."""
        batches = [self._arriving.pop(0)]
        count = len(batches[0].updates)
        while self._arriving and self._arriving[0].leader == batches[0].leader:
            count += len(self._arriving[0].updates)
            if count > MAX_BATCH:
                break
            batches.append(self._arriving.pop(0))
        updates = [update for batch in batches for update in batch.updates]
        try:
            rows = await self._accept_together(updates, batches[0].leader)
        except Exception as error:
            for batch in batches:
                if not batch.accepted.done():
                    batch.accepted.set_exception(error)
        except BaseException:
            for batch in batches:
                batch.accepted.cancel()
            raise
        else:
            deal(batches, rows)

    async def _accept_together(
        self, updates: Sequence[RawUpdate], leader: int | None
    ) -> list[Row]:
        """Store updates, and give the dispatcher what it can work; return new rows."""
        asked_at = leases.now()
        job = partial(
            postgresql.accept,
            arrivals=self._arrivals(updates),
            owner=self._chats.owner,
            leader=leader,
        )
        found = await self._run(job, atomic=False)
        if found is None:
            raise LeaderLostError(LEADER_LOST)
        await self._chats.moves.know(found.chats)
        found = monotonic(found, self._store.clock.read())
        self._take(found, lease_end(asked_at))
        return [each.row for each in found.rows]

    def _take(self, found: Found, until: float) -> None:
        workable: list[Row] = []
        for chat in found.chats:
            # Only the lease of a new chat begins now.  One of an earlier statement,
            # whose answer was lost, is worked once it is renewed.
            end = until if chat.version == 1 else LAPSED
            held = self._chats.add(chat, end) if chat.mine else None
            if held is not None:
                rows = [each for each in found.rows if each.chat == chat.chat]
                workable += self._chats.take_accepted(held, chat, rows)
        self._chats.worker.resume(workable)

    def _arrivals(self, updates: Sequence[RawUpdate]) -> list[Arrival]:
        """Return the updates, with the chats that this process would take."""
        free, lost = self._chats.worker.free_turns, self._chats.lost
        claims: dict[int, bool] = {}
        arrivals = []
        for raw in updates:
            chat = chat_id(raw)
            if chat not in claims:
                is_held = self._chats.get(chat) is not None
                claims[chat] = is_held or (free > 0 and chat not in lost)
                free -= claims[chat] and not is_held
            arrivals.append(Arrival(raw, chat, claims[chat]))
        return arrivals

    async def begin(self, rows: Sequence[Row]) -> None:
        """
        Record that a turn of these rows begins, before anything of it runs.

        Calls at the same time share one statement.  Raise LeaseLostError if another
        replica works the chat, InboxError if the database cannot be written.
        """
        update_ids = {row.update_id for row in rows}
        self._beginning |= update_ids
        async with self._begin_lock:
            if update_ids & self._beginning:
                batch, self._beginning = self._beginning, set()
                await self._begin(sorted(batch))
        for row in rows:
            if row.lease is not None and row.lease.lost:
                self._chats.lose_lease(row.lease)
                raise LeaseLostError(row.lease.chat)

    async def _begin(self, update_ids: Sequence[int]) -> None:
        found = [self._chats.lease_of_update(each) for each in update_ids]
        held = [lease for lease in found if lease is not None and not lease.lost]
        keys = [(lease.chat, lease.epoch) for lease in held]
        for lease in held:
            lease.paired, lease.unsent = None, frozenset()
        job = partial(postgresql.begin, keys=keys, update_ids=update_ids)
        chats = await self._run(job, atomic=False)
        for lease in held:
            begun = chats.get(lease.chat)
            if begun is None:
                self._chats.lose_lease(lease)
                continue
            lease.paired = begun.paired
            if not begun.rich:
                lease.unsent = frozenset(update_ids)

    def _start_writer(self) -> asyncio.Task[None]:
        # It closes rows of many chats, and must not inherit the lease of one.
        return asyncio.create_task(self._write_closes(), context=Context())

    def _next_closes(self) -> list[Close]:
        """Return the closes of the next statement; one that replaces a row is alone."""
        batch = super()._next_closes()
        for index, (outcome, _) in enumerate(batch):
            if outcome.replaced_by is not None:
                return batch[: max(index, 1)]
        return batch

    async def _write(self, outcomes: Sequence[Outcome]) -> Sequence[int]:
        """Close the rows of outcomes; return how many of each were open."""
        closings = [self._closings(outcome) for outcome in outcomes]
        all_closings = [each for of_one in closings for each in of_one]
        ends: dict[int, bool | None] = {}
        if all_closings:
            try:
                ends = await self._close(all_closings, outcomes[0].replaced_by)
            except InboxError:
                # It may be done all the same, if the connection ended too early.
                self._tried.update(each.update_id for each in all_closings)
                raise
        return [
            sum(
                self._ended(each.update_id, ends.get(each.update_id)) for each in of_one
            )
            for of_one in closings
        ]

    async def _close(
        self, closings: Sequence[Closing], row: Row | None
    ) -> dict[int, bool | None]:
        """Close rows; give the place of the only one to `row`, if there is one."""
        if row is None:
            job = partial(postgresql.close_rows, closings=closings)
            return await self._run(job, atomic=False)
        replacing = partial(places.replace_row, closing=closings[0], row=row)
        return {closings[0].update_id: await self._run(replacing)}

    def _closings(self, outcome: Outcome) -> list[Closing]:
        """Return the rows of an outcome whose lease may be held."""
        closings: list[Closing] = []
        for update_id in outcome.update_ids:
            lease = self._chats.lease_of_update(update_id)
            if lease is None:
                # It was closed before.
                continue
            if lease.lost:
                self._refuse_close(update_id)
                self._chats.lose_lease(lease)
                continue
            closings.append(
                Closing(
                    update_id=update_id,
                    key=(lease.chat, lease.epoch),
                    outcome=outcome,
                    reply=None if closings else outcome.undelivered,
                    again=update_id in self._tried,
                )
            )
        return closings

    def _ended(self, update_id: int, closed: bool | None) -> int:
        """Take what became of a row; return 1 if it was closed now, else 0."""
        self._tried.discard(update_id)
        if closed is not None:
            self._chats.closed(update_id)
            return int(closed)
        self._refuse_close(update_id)
        lease = self._chats.lease_of_update(update_id)
        if lease is not None:
            self._chats.lose_lease(lease)
        return 0

    def _refuse_close(self, update_id: int) -> None:
        """Log and count a row that is not closed, because its lease is lost."""
        self._tried.discard(update_id)
        logger.warning("row not closed, its lease is lost", update=update_id)
        self._events.emit(WriteRefused())


def deal(batches: Sequence[Batch], rows: Sequence[Row]) -> None:
    """Give each caller its new rows; those that are to be worked are queued."""
    new = {row.update_id: row for row in rows}
    for batch in batches:
        own = [new.pop(update["update_id"], None) for update in batch.updates]
        if not batch.accepted.done():
            batch.accepted.set_result(
                Accepted(
                    rows=[row for row in own if row is not None],
                    stored=len(batch.updates),
                    workable=(),
                )
            )


def monotonic(found: Found, now: Reading) -> Found:
    """Translate the times of rows from the database's."""

    def translated(each: FoundRow) -> FoundRow:
        accepted_at = now.to_monotonic(each.row.accepted_at)
        return replace(each, row=replace(each.row, accepted_at=accepted_at))

    return replace(found, rows=tuple(translated(each) for each in found.rows))


def chat_id(raw: RawUpdate) -> int:
    """Return the id of the chat of an update; NO_CHAT without one that can be."""
    chat = envelope.chat_key(raw)
    if isinstance(chat, int) and abs(chat) <= MAX_CHAT_ID:
        return chat
    return NO_CHAT
