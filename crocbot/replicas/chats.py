"""
The task that gets chats from the database, and gives them back.

    every RENEW_SECONDS  renew all leases; what is not renewed is lost
    every POLL_SECONDS   look what waits; give back chats that are empty
    when woken           load new rows of held chats; claim chats for free turns

It is woken by notifications of other replicas, and by turns that end.  Only while turns
are free are chats claimed, those first that have waited longest.

After an outage of the database, leases of other replicas are not claimed for
LEASE_SECONDS: until then their owners, which were cut off as well, renew them.  So a
claim of such a lease means that its owner has crashed, or is cut off alone.  The same
holds after a change of the server's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

from crocbot import leases, leases_sql, log
from crocbot.errors import StoreError
from crocbot.events import EventListener
from crocbot.inbox import postgresql
from crocbot.leases import LEASE_SECONDS, RENEW_SECONDS
from crocbot.leases_sql import Backlog, Key, Looked
from crocbot.replica_events import ChatsHeld
from crocbot.replicas.held import UNKNOWN, HeldChat, HeldChats, Worker, lease_end
from crocbot.replicas.inbox import monotonic
from crocbot.replicas.server_time import ServerTime
from crocbot.store import Job, Store
from crocbot.store.clock import ServerClock

POLL_SECONDS = 1.0
OUTAGE_SECONDS = LEASE_SECONDS / 2
PAUSE_SECONDS = 0.5
MAX_BATCH = 100
MAX_REPLICAS = 64

Result = TypeVar("Result")
logger = log.logger(__name__)


class ChatLeases:
    """
    Keeps `chats` as the database has them, and `worker` busy.

    It is the Backlog of the dispatcher, and a WakeListener.

    Updates are stored while at most `max_rows` rows for each replica and `max_chats`
    chats wait.  `renewed_at` is when, by `leases.now()`, leases were last renewed.
    """

    def __init__(
        self,
        *,
        store: Store,
        chats: HeldChats,
        worker: Worker,
        events: EventListener,
        max_rows: int,
        max_chats: int,
    ) -> None:
        self._store = store
        self._chats = chats
        self._worker = chats.worker = worker
        self._events = events
        self._max_rows = max_rows
        self._max_chats = max_chats
        self._claims = True
        self._unclaimed = True
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._expired_from = 0.0
        self._server_time = ServerTime()
        self._look_at = 0.0
        self.renewed_at: float | None = None

    async def run(self) -> None:
        """Repeat until cancelled; an error of the database ends only one step."""
        await asyncio.gather(self._renew_always(), self._work_always())

    def woken(self, words: Sequence[str]) -> None:
        """Take a notification: these chats, or any, have new rows or are free."""
        chats = [int(word) for word in words if word.removeprefix("-").isdecimal()]
        for chat in chats:
            held = self._chats.get(chat)
            if held is None:
                self._unclaimed = True
            else:
                held.stale = True
        if not chats:
            self._look_at = 0.0
        self._chats.wake.set()

    async def wait_for_room(self) -> int:
        """Wait until few rows wait in the database; return how many may be stored."""
        await self._has_room.wait()
        return MAX_BATCH

    def stop_claiming(self) -> None:
        """Begin to drain: claim and load nothing more."""
        self._claims = False

    async def release_all(self) -> None:
        """Give all chats back; what still runs may neither write nor send."""
        self._claims = False
        empty = [each for each in self._chats if not each.lease.users]
        release = partial(
            leases_sql.release,
            keys=[each.key for each in empty],
            versions=[each.version for each in empty],
        )
        with _releasing(empty), suppress(StoreError):
            await self._run(release)
        for each in self._chats:
            self._chats.remove(each)
        with suppress(StoreError):
            await self._run(partial(leases_sql.give_all_back, owner=self._chats.owner))

    async def _renew_always(self) -> None:
        while True:
            pause = RENEW_SECONDS
            try:
                if not await self.renew():
                    pause = min(pause, PAUSE_SECONDS)
            except StoreError as error:
                logger.debug("leases cannot be renewed", error=str(error))
                pause = PAUSE_SECONDS
            await asyncio.sleep(pause)

    async def renew(self) -> bool:
        """
        Renew all leases but new ones; take the loss of those that another replica has.

        Return False if some have to be tried again soon.
        """
        asked_at = leases.now()
        # A chat with one message that is answered at once is given back before that.
        ends_before = lease_end(asked_at) - RENEW_SECONDS / 2
        held = [each for each in self._chats if each.lease.until <= ends_before]
        locked: set[Key] = set()
        if held:
            found, locked = await self._run(
                partial(leases_sql.renew, keys=[each.key for each in held])
            )
            latest = {(each.chat, each.epoch): each.version for each in found}
            for each in held:
                if each.key in latest:
                    if each.key not in locked:
                        each.lease.renew(lease_end(asked_at))
                    each.latest = max(each.latest, latest[each.key])
                elif not each.releasing:
                    self._chats.lose(each)
            self._reached()
        self._events.emit(ChatsHeld(len(self._chats)))
        return not locked

    def _reached(self) -> None:
        """Take an answer of the database."""
        last, now = self.renewed_at, leases.now()
        # Also if it was asked before the outage.
        if last is not None and now - last > OUTAGE_SECONDS:
            self._expired_from = now + LEASE_SECONDS
        self.renewed_at = now

    def _take_time(self, time: float, asked_at: float) -> None:
        """Take the server's time; after a step its leases have to be renewed first."""
        answered_at = leases.now()
        if isinstance(clock := self._store.clock, ServerClock):
            clock.sample(time, clock.begin() - (answered_at - asked_at))
        if self._server_time.sample(time, asked_at=asked_at, answered_at=answered_at):
            logger.warning("the clock of the database was changed")
            self._expired_from = answered_at + LEASE_SECONDS

    def _expired_before(self, now: float) -> float | None:
        """Return when leases that can be taken have ended; None to take none."""
        if now < self._expired_from:
            return None
        return self._server_time.earliest(now)

    async def _work_always(self) -> None:
        while True:
            try:
                await self.work()
            except StoreError as error:
                logger.debug("chats cannot be claimed", error=str(error))
                await asyncio.sleep(PAUSE_SECONDS)
            left = self._look_at - leases.now()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(left, 0.0)):
                    await self._chats.wake.wait()

    async def work(self) -> None:
        """Look, if that is due; load and claim what is known to wait."""
        self._chats.wake.clear()
        if leases.now() >= self._look_at:
            self._look_at = leases.now() + POLL_SECONDS
            await self._look()
        if self._chats.unwanted:
            keys, self._chats.unwanted = self._chats.unwanted, []
            await self._give_back(keys)
        if self._claims:
            await self._load([each for each in self._chats if each.is_behind])
            await self._claim()

    async def _look(self) -> None:
        """Look what waits, and give back chats of which nothing is here."""
        held, asked_at = list(self._chats), leases.now()
        empty = [each for each in held if _is_idle(each)]
        job = partial(
            leases_sql.look,
            keys=[each.key for each in held],
            max_rows=self._max_rows * MAX_REPLICAS,
            max_chats=self._max_chats + 1,
            time=self._server_time.earliest(asked_at),
            empty={each.key: each.version for each in empty},
        )
        with _releasing(empty):
            found = await self._run(job, write=bool(empty))
        self._reached()
        self._take_time(found.backlog.time, asked_at)
        self._take_versions(held, empty, found)
        self._take_backlog(found.backlog)

    def _take_versions(
        self, held: Sequence[HeldChat], empty: Sequence[HeldChat], found: Looked
    ) -> None:
        """Take what is known of held chats; remove those that were given back."""
        latest = {(each.chat, each.epoch): each.version for each in found.chats}
        for each in held:
            each.latest = max(each.latest, latest.get(each.key, UNKNOWN))
        for each in empty:
            # Others have pushed messages, or rows that came meanwhile, or that a bug
            # has left open until this process ends.
            if each.key in found.gone:
                self._chats.remove(each)
            elif each.key not in latest:
                self._chats.lose(each)

    def _take_backlog(self, backlog: Backlog) -> None:
        self._unclaimed = backlog.chats > 0
        max_rows = self._max_rows * max(backlog.owners, 1)
        if backlog.rows < max_rows and backlog.chats <= self._max_chats:
            self._has_room.set()
        else:
            self._has_room.clear()

    async def _load(self, held: Sequence[HeldChat]) -> None:
        """Queue new rows of held chats, as many as each has room for."""
        held = [each for each in held if each.room]
        if not held:
            return
        rooms = [each.room for each in held]
        job = partial(
            postgresql.load,
            keys=[each.key for each in held],
            after=[each.last_seq for each in held],
            room=rooms,
        )
        for each in held:
            each.stale = False
        try:
            found = await self._run(job, write=False)
            await self._chats.moves.know(found.chats)
        except StoreError:
            for each in held:
                each.stale = True
            raise
        found = monotonic(found, self._store.clock.read())
        versions = {(each.chat, each.epoch): each for each in found.chats}
        rows = []
        for each, room in zip(held, rooms, strict=True):
            chat = versions.get(each.key)
            if chat is None:
                self._chats.lose(each)
                continue
            of_chat = [row for row in found.rows if row.chat == chat.chat]
            rows += self._chats.take_loaded(each, chat, of_chat, room)
        self._worker.resume(rows)

    async def _claim(self) -> None:
        """Take chats that no replica holds, for turns that are free."""
        limit = self._worker.free_turns
        if not limit or not self._unclaimed:
            return
        asked_at = leases.now()
        found = await self._run(
            partial(
                leases_sql.claim,
                owner=self._chats.owner,
                limit=limit,
                # A lease that ended here while it was being renewed is no crash.
                excluded=[
                    *self._chats.lost,
                    *(each.lease.chat for each in self._chats),
                ],
                time=self._expired_before(asked_at),
            )
        )
        self._unclaimed = len(found) == limit
        added = [self._chats.add(each, lease_end(asked_at)) for each in found]
        await self._load([each for each in added if each is not None])

    async def _give_back(self, keys: Sequence[Key]) -> None:
        if keys:
            await self._run(partial(leases_sql.give_back, keys=keys))

    async def _run(self, job: Job[Result], *, write: bool = True) -> Result:
        return await self._store.run(job, write=write, atomic=False)


@contextmanager
def _releasing(held: Sequence[HeldChat]) -> Iterator[None]:
    """Note that a statement gives chats back."""
    for each in held:
        each.releasing = True
    try:
        yield
    finally:
        for each in held:
            each.releasing = False


def _is_idle(held: HeldChat) -> bool:
    """Return whether a chat may be given back, as far as is known here."""
    return not held.lease.users and not held.is_behind
