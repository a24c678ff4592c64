"""
getUpdates to raw updates, for as long as the gateway runs.

    room? --> getUpdates(offset) --> accept --> offset = last + 1 --.
      ^                                                             |
      '-------------------------------------------------------------'

- Telegram forgets what lies below the offset.  It moves only after `accept` returned,
  so what is not on disk is delivered again.  The first offset is 0.
- A failed poll is told, and tried again after a pause: 1 s, growing to 30 s, reset by
  the next good poll.  A flood wait is Telegram's own pause and no failure.
- Answers that come at once and bring nothing new are paced, too: no fault of a server
  makes this loop a hot one.
- Only a refused token ends it: OperatorError.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crocbot import log
from crocbot.errors import DeliveryError, FloodWaitError, InboxError, TelegramError
from crocbot.facts import PollFailed, Report
from crocbot.model import ErrorType, Raw, ReconnectReason, Severity, Trouble

BATCH = 100
FIRST_PAUSE = 1.0
GROWTH = 1.5
LONGEST_PAUSE = 30.0
QUICK = 1.0

logger = log.logger(__name__)


@dataclass(slots=True)
class Poller:
    """
    The loop.  `accept` stores updates and returns how many were new; `room` waits
    until there is room and says for how many.  `completed` is the moment, on `clock`,
    when the last poll came back well.
    """

    fetch: Callable[[int, int], Awaitable[Sequence[Any]]]
    accept: Callable[[Sequence[Raw]], Awaitable[int]]
    room: Callable[[], Awaitable[int]]
    report: Report
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    completed: float | None = field(default=None, init=False)
    trouble: str | None = field(default=None, init=False)
    _offset: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)

    async def run(self) -> None:
        """Poll until cancelled, or until the token is refused."""
        while True:
            limit = min(BATCH, await self.room())
            try:
                await self._poll(limit)
            except FloodWaitError as error:
                logger.warning("poll postponed", why=str(error))
                await self.sleep(error.seconds)
            except TelegramError as error:
                await self._back_off(PollFailed(error.reason), error)
            except DeliveryError as error:
                await self._back_off(PollFailed(ReconnectReason.NETWORK), error)
            except InboxError as error:
                trouble = Trouble(ErrorType.INBOX, Severity.CRITICAL)
                await self._back_off(trouble, error)

    async def _poll(self, limit: int) -> None:
        """One good poll, or an exception."""
        began = self.clock()
        updates = self._updates(await self.fetch(self._offset, limit))
        self.completed = self.clock()
        fresh = await self.accept(list(updates.values()))
        if updates:
            self._offset = max(updates) + 1
        if self._failures:
            logger.info("polling again", failures=self._failures)
            self._failures = 0
        if not fresh and self.completed - began < QUICK:
            await self.sleep(FIRST_PAUSE)

    def _updates(self, answer: Sequence[Any]) -> dict[int, Raw]:
        """Updates by id.  What has none can be neither stored nor acknowledged."""
        updates = {_update_id(update): update for update in answer}
        if None in updates:
            logger.error("an update without a usable id was dropped")
            self.report(Trouble(ErrorType.PROCESSING, Severity.CRITICAL))
        return {key: update for key, update in updates.items() if key is not None}

    async def _back_off(self, fact: PollFailed | Trouble, error: Exception) -> None:
        """Tell what happened and wait, longer each time."""
        self.report(fact)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * GROWTH ** min(self._failures, 10))
        pause *= 0.8 + 0.4 * self.random()
        self._failures += 1
        logger.warning(
            "poll failed",
            why=str(error),
            failures=self._failures,
            next_in=round(pause, 1),
        )
        await self.sleep(pause)


def _update_id(update: object) -> int | None:
    """The id of an update that the inbox can store."""
    if not isinstance(update, Mapping):
        return None
    update_id = update.get("update_id")
    if type(update_id) is not int or not 0 <= update_id < 2**62:
        return None
    return update_id
