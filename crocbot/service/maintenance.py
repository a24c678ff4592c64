"""
Periodic inbox maintenance, while the gateway runs.

    every second    enqueue rows that the operator reopened; emit the ledger
    every minute    delete old rows and return their space to the file system

Where replicas share a database, it is the leader's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from crocbot import log
from crocbot.dispatcher import Dispatcher
from crocbot.errors import InboxError
from crocbot.events import EventListener
from crocbot.inbox import Inbox
from crocbot.model import Sleep
from crocbot.replicas.leader import Leadership, SoleLeader

INTERVAL_SECONDS = 1.0
TIDY_EVERY_SECONDS = 60.0

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """Enqueues reopened rows, emits the ledger, deletes old rows."""

    inbox: Inbox
    dispatcher: Dispatcher
    events: EventListener
    sleep: Sleep = asyncio.sleep
    leadership: Leadership = field(default_factory=SoleLeader)

    async def run(self) -> None:
        """Repeat until cancelled; an InboxError ends only this interval."""
        since_tidy = 0.0
        while True:
            await self.leadership.wait_for_term()
            try:
                await self.run_once()
                since_tidy += INTERVAL_SECONDS
                if since_tidy >= TIDY_EVERY_SECONDS:
                    since_tidy = 0.0
                    await self.inbox.tidy()
            except InboxError as error:
                logger.debug("the inbox cannot be read", error=str(error))
            await self.sleep(INTERVAL_SECONDS)

    async def run_once(self) -> None:
        """Enqueue the rows that the operator reopened, and emit the ledger."""
        reopened = await self.inbox.reopened()
        if reopened:
            logger.info("rows reopened by the operator", rows=len(reopened))
            self.dispatcher.enqueue(reopened)
        await self.emit_ledger()

    async def emit_ledger(self) -> None:
        """Emit the totals of the inbox."""
        self.events.emit(await self.inbox.state())
