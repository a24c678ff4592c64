"""
This process among the replicas of its bot: the tasks that keep its leases.

    heartbeat    the lease of the leader, flood waits and moves of chats
    wake         notifications of the database
    chat leases  which chats this process works

They run on while turns end after a request to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from crocbot import leases, log
from crocbot.botapi import Client
from crocbot.chat_moves import ChatMoves
from crocbot.errors import StoreError
from crocbot.events import EventListener
from crocbot.replica_events import DatabaseUnreached, LeaderState
from crocbot.replicas import bots
from crocbot.replicas.chats import ChatLeases
from crocbot.replicas.floods import SharedFloods
from crocbot.replicas.heartbeat import Heartbeat
from crocbot.replicas.held import HeldChats, Worker
from crocbot.replicas.leader import Leader
from crocbot.replicas.moves import SharedMoves
from crocbot.replicas.name import replica_name
from crocbot.replicas.times import RENEW_SECONDS
from crocbot.replicas.wake import LeaderWake, Notifications, Wake
from crocbot.store import Store

RESIGN_SECONDS = 1.0
SETTLE_SECONDS = 0.5
# For the heartbeat, to renew leases of chats, and to claim chats, at the same time.
LEASE_CONNECTIONS = 3
# Updates are stored while fewer wait in the database.
MAX_ROWS_PER_TURN = 40
MAX_CHATS_PER_TURN = 4

logger = log.logger(__name__)


class SharedStore(Store, Notifications, Protocol):
    """A database that replicas share."""

    def beside(self, connections: int) -> AbstractAsyncContextManager[SharedStore]:
        """Open the same database on other connections, for what must not wait."""

    async def settle(self) -> None:
        """Wait for jobs that run on after their callers were cancelled."""


@dataclass(slots=True)
class LeaderEvents:
    """A TermListener that emits which epoch this replica leads."""

    bot: int
    events: EventListener

    def changed(self, epoch: int | None) -> None:
        """Emit the epoch, 0 for a standby."""
        self.events.emit(LeaderState(bot=self.bot, epoch=epoch or 0))


class Replica:
    """
    What this process knows of the others, and its leases.

    `bot` is the id of the bot.  `polls` is False if Telegram sends updates to a
    webhook.
    """

    def __init__(
        self, store: SharedStore, events: EventListener, *, bot: int, polls: bool
    ) -> None:
        self.name = replica_name()
        self.leader = Leader(self.name, leases.now)
        self.chats = HeldChats(owner=self.name, events=events)
        self.startup_error: str | None = "not reached yet"
        self._store = store
        self._events = events
        self._lease_store = store
        self._role = "poller" if polls else "leader"
        self._heartbeat = Heartbeat(
            store=store, leader=self.leader, clock=leases.now, events=events
        )
        self._chat_leases: ChatLeases | None = None
        self._floods: SharedFloods | None = None
        self._wake: Wake | None = None
        self._tasks: list[asyncio.Task[None]] = []
        # Also while the database cannot be reached: then no replica leads.
        listener = self.leader.listener = LeaderEvents(bot, events)
        listener.changed(None)

    @property
    def database_error(self) -> str | None:
        """Return why the database gives no answer, None if it does."""
        return self.startup_error or self._heartbeat.error

    @property
    def standby_note(self) -> str | None:
        """Return that another replica polls, and which; None if this one does."""
        if self.leader.term is not None:
            return None
        return f"standby; the {self._role} is {self.leader.leader or 'not known'}"

    def connect(
        self,
        *,
        client: Client,
        moves: ChatMoves,
        worker: Worker,
        max_turns: int,
    ) -> None:
        """Take what the tasks need, before `run`."""
        chats = self._chat_leases = ChatLeases(
            store=self._lease_store,
            chats=self.chats,
            worker=worker,
            events=self._events,
            max_rows=max_turns * MAX_ROWS_PER_TURN,
            max_chats=max_turns * MAX_CHATS_PER_TURN,
        )
        self._floods = client.floods.listener = SharedFloods(
            self._lease_store, client.floods, self.name
        )
        known_moves = self.chats.moves = SharedMoves(moves)
        self._heartbeat.listeners = (self._floods, known_moves)
        look = LeaderWake(self.leader)
        self._wake = Wake(
            source=self._store,
            listeners={
                "chats": chats,
                "flood": self._floods,
                "leader": look,
                "moves": look,
            },
        )

    def not_reached(self, error: StoreError) -> None:
        """Take that the database cannot be reached at the start."""
        self.startup_error = str(error)
        self._events.emit(DatabaseUnreached())

    async def join(self, bot: int) -> bool:
        """
        Begin as a replica of a bot, as often as it takes; return True.

        Raise OperatorError if another bot works on the database.
        """
        self._heartbeat.bot = bot
        job = partial(bots.join, owner=self.name, bot=bot)
        while True:
            try:
                await self._lease_store.run(job)
            except StoreError as error:
                self.not_reached(error)
                logger.warning("the database gives no answer", error=str(error))
                await asyncio.sleep(RENEW_SECONDS)
            else:
                self.startup_error = None
                return True

    async def wait_for_room(self) -> int:
        """Wait until more updates may be stored; return how many: a Backlog."""
        assert self._chat_leases is not None
        return await self._chat_leases.wait_for_room()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Have connections for leases, which wait for no other job."""
        async with self._store.beside(LEASE_CONNECTIONS) as store:
            self._lease_store = self._heartbeat.store = store
            yield

    async def run(self) -> None:
        """Run all tasks until cancelled; only a bug ends them."""
        assert self._chat_leases is not None
        assert self._wake is not None
        works = (self._heartbeat.run(), self._wake.run(), self._chat_leases.run())
        self._tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.gather(*self._tasks)
        finally:
            await self._end_tasks()

    async def _end_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def resign(self) -> None:
        """Begin to drain: leave the lead and new chats to the other replicas."""
        if self._chat_leases is not None:
            self._chat_leases.stop_claiming()
        try:
            async with asyncio.timeout(RESIGN_SECONDS):
                await self._heartbeat.resign()
        except (StoreError, TimeoutError) as error:
            logger.warning(
                "the other replicas were not told that this one stops",
                error=str(error) or type(error).__name__,
            )

    async def leave(self) -> None:
        """Give all chats back, after the last turn."""
        await self._end_tasks()
        with suppress(TimeoutError):
            # A claim or a heartbeat that comes after what follows would count for 10 s.
            async with asyncio.timeout(SETTLE_SECONDS):
                await asyncio.gather(self._store.settle(), self._lease_store.settle())
        with suppress(StoreError, TimeoutError):
            async with asyncio.timeout(RESIGN_SECONDS):
                if self._chat_leases is not None:
                    await self._chat_leases.release_all()
                # Heartbeats went on.
                await self._heartbeat.resign()
        if self._floods is not None:
            await self._floods.close()

    def describe(self) -> tuple[str, str | None, int]:
        """Return this replica, the leader if it is known, and its number of chats."""
        return self.name, self.leader.leader, len(self.chats)
