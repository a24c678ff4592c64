"""
getUpdates to raw updates, for as long as the gateway runs.

    room? --> getUpdates(offset) --> accept --> offset = last + 1 --.
      ^                                                             |
      '-------------------------------------------------------------'

- Telegram forgets what lies below the offset.  It moves only after `accept` returned,
  so what is not on disk is delivered again.  The first offset is 0.
- A failed poll is told, and tried again after a pause: 1 s, growing to 30 s, reset by
  the next good poll.  A flood wait is Telegram's own pause and no failure.
- Another poller lets every other poll through: after a conflict it takes three good
  polls in a row until all is forgiven.  A webhook that somebody set is deleted.
- Every poll ends: one that does not heed its own time-out is left behind, and the next
  one has new connections.  So has every third one that fails.
- The first poll, and the first one after a failure, does not wait for news: whether
  all is well is known at once.
- Answers that come at once and bring nothing new are paced, too: no fault of a server
  makes this loop a hot one.
- Only a refused token ends it: OperatorError.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crocbot import log
from crocbot.botapi.updates import by_id
from crocbot.errors import (
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    InboxError,
    OperatorError,
    TelegramError,
    WebhookSetError,
)
from crocbot.events import EventListener, PollCompleted, PollFailed, PollingStarted
from crocbot.model import ErrorEvent, ErrorType, RawUpdate, ReconnectReason, Severity

BATCH = 100
FIRST_PAUSE = 1.0
GROWTH = 1.5
LONGEST_PAUSE = 30.0
# The disk is ours, and may be good again at any time.
LONGEST_INBOX_PAUSE = 5.0
QUICK = 1.0
HUNG_SECONDS = 60.0
RENEW_EVERY = 3
FORGIVEN_AFTER = 3
# For about 30 s after a restart Telegram believes in the poll of before.
CONFLICT_IS_NORMAL_SECONDS = 60.0

logger = log.logger(__name__)


async def _nothing() -> None:
    """Do nothing, where there is nothing to be done."""


@dataclass(slots=True)
class Poller:
    """
    The loop.  `fetch` asks from an offset for so many updates, and waits for news if
    told so.  `accept` stores updates and returns how many were new; `room` waits
    until there is room and says for how many; `renew` makes new connections, `unhook`
    deletes a webhook.  `completed` is the moment, on `clock`, when the last poll came
    back well, `trouble` what went wrong since.
    """

    fetch: Callable[[int, int, bool], Awaitable[Sequence[Any]]]
    accept: Callable[[Sequence[RawUpdate]], Awaitable[int]]
    room: Callable[[], Awaitable[int]]
    events: EventListener
    renew: Callable[[], Awaitable[None]] = _nothing
    unhook: Callable[[], Awaitable[None]] = _nothing
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    hung_seconds: float = HUNG_SECONDS
    completed: float | None = field(default=None, init=False)
    trouble: str | None = field(default=None, init=False)
    _offset: int = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _conflicts: int = field(default=0, init=False)
    _conflict_since: float | None = field(default=None, init=False)
    _good: int = field(default=0, init=False)

    async def run(self) -> None:
        """Poll until cancelled, or until the token is refused."""
        self.events.emit(PollingStarted())
        while True:
            limit = min(BATCH, await self.room())
            try:
                await self._poll(limit)
            except FloodWaitError as error:
                self.trouble = str(error)
                logger.warning("poll postponed", error=str(error))
                await self.sleep(error.seconds)
            except WebhookSetError as error:
                await self._unhook(error)
            except TelegramError as error:
                await self._back_off(PollFailed(error.reason), error)
            except DeliveryError as error:
                await self._back_off(PollFailed(ReconnectReason.NETWORK), error)
            except InboxError as error:
                trouble = ErrorEvent(ErrorType.INBOX, Severity.CRITICAL)
                await self._back_off(trouble, error, LONGEST_INBOX_PAUSE)

    async def _poll(self, limit: int) -> None:
        """One good poll, or an exception."""
        began = self.clock()
        patient = self.trouble is None and self.completed is not None
        updates = by_id(await self._fetch(limit, patient), self.events)
        self.completed = self.clock()
        self.events.emit(PollCompleted())
        fresh = await self.accept(list(updates.values()))
        if updates:
            self._offset = max(updates) + 1
        self._forgive()
        if patient and not fresh and self.completed - began < QUICK:
            await self.sleep(FIRST_PAUSE)

    async def _fetch(self, limit: int, patient: bool) -> Sequence[Any]:
        """Ask, and leave behind a question that does not even end when cancelled."""
        asking = asyncio.ensure_future(self.fetch(self._offset, limit, patient))
        try:
            await asyncio.wait({asking}, timeout=self.hung_seconds)
        finally:
            if not asking.done():
                asking.cancel()
                asking.add_done_callback(_overlook)
        if asking.done():
            return asking.result()
        await self.renew()
        raise TelegramError(
            f"a poll hung for {self.hung_seconds:g} s", ReconnectReason.TIMEOUT
        )

    def _forgive(self) -> None:
        """A poll was good; are all that failed before it forgotten?"""
        self.trouble = None
        self._good += 1
        if self._conflicts and self._good >= FORGIVEN_AFTER:
            logger.info("no conflict any more", conflicts=self._conflicts)
            self._conflicts, self._conflict_since = 0, None
        if self._failures:
            logger.info("polling again", failures=self._failures)
            self._failures = 0

    async def _unhook(self, error: WebhookSetError) -> None:
        """We were told to poll, so a webhook is somebody else's, and in our way."""
        try:
            await self.unhook()
            logger.warning("a webhook was set for this bot; it is deleted")
        except OperatorError:
            raise
        except CrocbotError as fault:
            logger.warning("the webhook could not be deleted", error=str(fault))
        await self._back_off(PollFailed(error.reason), error)

    async def _back_off(
        self,
        fact: PollFailed | ErrorEvent,
        error: CrocbotError,
        longest: float = LONGEST_PAUSE,
    ) -> None:
        """Tell what happened and wait, longer each time."""
        self.events.emit(fact)
        self.trouble = str(error)
        if getattr(error, "reason", None) is ReconnectReason.CONFLICT:
            self._good = 0
            self._conflicts += 1
            failures, serious = self._conflicts, self._is_lasting()
        else:
            self._failures += 1
            failures, serious = self._failures, isinstance(error, InboxError)
        pause = min(longest, FIRST_PAUSE * GROWTH ** min(failures - 1, 10))
        pause *= 0.8 + 0.4 * self.random()
        say = logger.error if serious else logger.warning
        say(
            "poll failed",
            error=str(error),
            failures=failures,
            next_in=round(pause, 1),
        )
        if failures % RENEW_EVERY == 0:
            await self.renew()
        await self.sleep(pause)

    def _is_lasting(self) -> bool:
        """Whether conflicts go on for too long to be a leftover of a restart."""
        now = self.clock()
        if self._conflict_since is None:
            self._conflict_since = now
        lasting = now - self._conflict_since > CONFLICT_IS_NORMAL_SECONDS
        if lasting:
            self.events.emit(ErrorEvent(ErrorType.CONFLICT, Severity.CRITICAL))
        return lasting


def _overlook(asking: asyncio.Future[Any]) -> None:
    """Nobody waits any more for what a question ends with."""
    if not asking.cancelled():
        asking.exception()
