"""
The inbox, looked after while the gateway runs: nobody else has the time.

    every second    what the operator opened again is taken up; the ledger is told
    every minute    what is old is forgotten, and its room given back
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from crocbot import log
from crocbot.errors import InboxError
from crocbot.events import EventListener
from crocbot.inbox import Inbox
from crocbot.model import Row

LOOK_SECONDS = 1.0
LOOKS_UNTIL_TIDY = 60

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True)
class Maintenance:
    """`admit` takes rows up."""

    inbox: Inbox
    admit: Callable[[Iterable[Row]], None]
    events: EventListener
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def run(self) -> None:
        """Look until cancelled; a disk that cannot be read is looked at again."""
        looks = 0
        while True:
            try:
                await self.look()
                looks += 1
                if looks % LOOKS_UNTIL_TIDY == 0:
                    await self.inbox.tidy()
            except InboxError as error:
                logger.debug("the inbox cannot be looked at", error=str(error))
            await self.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Take up what was opened again, tell the ledger."""
        again = await self.inbox.reopened()
        if again:
            logger.info("tried again, as the operator asked", rows=len(again))
            self.admit(again)
        await self.tell()

    async def tell(self) -> None:
        """Tell the ledger."""
        self.events.emit(await self.inbox.state())
