"""
The database of a gateway, and what else depends on its engine.

    SQLite        opened before all else: an error ends the start
    PostgreSQL    opened once the health pages are served, and tried again while it
                  cannot be reached, because it may start after the gateway
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from typing import cast

from crocbot import log
from crocbot.backoff import Backoff
from crocbot.errors import InboxError, OperatorError, StoreError
from crocbot.events import EventListener
from crocbot.inbox import Inbox
from crocbot.replicas.inbox import LeasedInbox
from crocbot.replicas.leader import Leadership, SoleLeader
from crocbot.service.replica import Replica, SharedStore
from crocbot.service.schemas import SCHEMAS
from crocbot.service.shutdown import Shutdown, run_unless
from crocbot.settings import Settings
from crocbot.state_dir import StateLock
from crocbot.store import Store, open_store
from crocbot.turn_folders import TurnFolders

FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 5.0

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """A store that may not be open yet, its inbox, and the replica that shares it."""

    settings: Settings
    store: Store
    inbox: Inbox
    replica: Replica | None = None

    @classmethod
    def create(cls, settings: Settings, events: EventListener) -> Database:
        """Return the database of the settings; raise OperatorError."""
        opening = open_store(settings, SCHEMAS)
        if settings.postgresql is None:
            store = cast("Store", opening)
            return cls(settings=settings, store=store, inbox=Inbox(store, events))
        shared = cast("SharedStore", opening)
        bot = int(settings.token.get_secret_value().partition(":")[0])
        replica = Replica(shared, events, bot=bot, polls=settings.webhook_url is None)
        inbox = LeasedInbox(shared, events, chats=replica.chats)
        return cls(settings=settings, store=shared, inbox=inbox, replica=replica)

    @property
    def replica_name(self) -> str | None:
        """Return the name of this replica, None of a gateway that shares nothing."""
        return None if self.replica is None else self.replica.name

    @property
    def leadership(self) -> Leadership:
        """Return whether this process is the leader."""
        return SoleLeader() if self.replica is None else self.replica.leader

    async def open(self, stack: AsyncExitStack, shutdown: Shutdown) -> bool:
        """
        Open it until the end of `stack`; return False if a stop was requested before.

        Raise OperatorError if the operator must change something.
        """
        store = cast("AbstractAsyncContextManager[Store]", self.store)
        if self.replica is None:
            await stack.enter_async_context(store)
        else:
            stack.push_async_exit(store)
            connecting = _connect(store, self.replica)
            if not await run_unless(shutdown.requested, connecting):
                return False
            await stack.enter_async_context(self.replica.opened())
        await stack.enter_async_context(self.inbox)
        if shutdown.lock is not None:
            await self._recover(shutdown.lock)
            await TurnFolders(self.settings.state_dir).clear()
        return True

    async def _recover(self, lock: StateLock) -> None:
        """Count the turns that a crash ended; raise OperatorError if that fails."""
        try:
            await self.inbox.recover(orderly=lock.last_orderly)
        except InboxError as error:
            file = self.settings.database
            raise OperatorError(f"{file} cannot be used: {error}") from error
        lock.mark_running()


async def _connect(store: AbstractAsyncContextManager[Store], replica: Replica) -> bool:
    """Open the store, as often as it takes; return True."""
    backoff = Backoff(first=FIRST_PAUSE_SECONDS, longest=MAX_PAUSE_SECONDS)
    while True:
        try:
            await store.__aenter__()
        except StoreError as error:
            replica.not_reached(error)
            pause = backoff.next_pause()
            logger.warning(
                "the database cannot be reached yet",
                error=str(error),
                next_in=round(pause, 1),
            )
            await asyncio.sleep(pause)
        else:
            replica.startup_error = None
            return True
