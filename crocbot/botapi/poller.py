"""
Long polling: getUpdates to raw updates, while the gateway runs.

    capacity? --> getUpdates(offset) --> accept --> offset = last id + 1 --.
      ^                                                                    |
      '--------------------------------------------------------------------'

- Telegram deletes the updates below the offset.  It moves only after `accept` returned,
  past the updates that are on disk: the others are delivered again.  The first offset
  is 0.
- A failed poll is reported and retried after a pause, which a good poll resets.  A
  flood wait is Telegram's own pause and no failure.
- While another program polls, every second poll succeeds: so conflicts have their own
  pauses, which only three good polls in a row reset.  A webhook that is set is deleted.
- Every poll ends: one that ignores its own timeout is abandoned, and the next one has
  new connections.  Connections are also reset after every third failure in a row,
  unless it is the inbox that fails.
- The first poll, and the first one after a failure, does not wait for updates, so that
  readiness is known at once.
- Answers that come at once without a new update are paced, too, so that no fault of a
  server makes this a busy loop.
- Only a refused token ends it: OperatorError.  Where replicas share a database, the end
  of its term as the leader ends it, too: `leader_poller.py`.
- The first polls after a takeover meet the poll of the leader before, until Telegram
  ends that: such conflicts are no second poller, and are not counted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from crocbot import log
from crocbot.backoff import Backoff
from crocbot.botapi.client import Client
from crocbot.dispatcher import Dispatcher
from crocbot.errors import (
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    InboxError,
    LeaderLostError,
    OperatorError,
    TelegramError,
    WebhookSetError,
)
from crocbot.events import EventListener, PollCompleted, PollFailed, PollingStarted
from crocbot.model import (
    Clock,
    ErrorEvent,
    ErrorType,
    RandomFloat,
    RawUpdate,
    ReconnectReason,
    Severity,
    Sleep,
)
from crocbot.replicas.leader import Leadership, SoleLeader, Term

# The most that Telegram returns.
MAX_UPDATES = 100
FIRST_PAUSE_SECONDS = 1.0
# Short, so that a disk with space again is used soon.
MAX_INBOX_PAUSE_SECONDS = 5.0
EMPTY_POLL_PAUSE_SECONDS = 1.0
HUNG_SECONDS = 60.0
RESET_FAILURES_THRESHOLD = 3
GOOD_POLLS_THRESHOLD = 3
# For about 30 s after a restart Telegram may still hold the previous poll, and
# answer 409.
CONFLICT_SECONDS = 60.0
# After a takeover: that poll, and the pauses between the tries.
TAKEOVER_SECONDS = 45.0
# Always the same, so that polling goes on soon after that poll has ended.
TAKEOVER_PAUSE_SECONDS = 1.0

logger = log.logger(__name__)


@dataclass(slots=True, kw_only=True)
class Poller:
    """
    The polling loop, from `client` to `dispatcher`, of one `term` as the leader.

    `completed_at` is when, on `clock`, the last good poll returned, and `error` what
    failed since then.
    """

    contact: ClassVar[str] = "poll"
    client: Client
    dispatcher: Dispatcher
    events: EventListener
    clock: Clock = time.monotonic
    sleep: Sleep = asyncio.sleep
    random: RandomFloat = random.random
    hung_seconds: float = HUNG_SECONDS
    leadership: Leadership = field(default_factory=SoleLeader)
    term: Term = field(default_factory=Term)
    completed_at: float | None = field(default=None, init=False)
    error: str | None = field(default=None, init=False)
    _offset: int = field(default=0, init=False)
    _good_polls: int = field(default=0, init=False)
    _conflict_since: float | None = field(default=None, init=False)
    _began_at: float = field(default=0.0, init=False)
    _failures: Backoff = field(init=False)
    _conflicts: Backoff = field(init=False)
    _inbox_failures: Backoff = field(init=False)

    def __post_init__(self) -> None:
        first = FIRST_PAUSE_SECONDS
        self._failures = Backoff(first=first, random=self.random)
        self._conflicts = Backoff(first=first, random=self.random)
        self._inbox_failures = Backoff(
            first=first, longest=MAX_INBOX_PAUSE_SECONDS, random=self.random
        )

    async def run(self) -> None:
        """
        Poll until cancelled, or until the term is over.

        Raise OperatorError if the token is refused.
        """
        self._began_at = self.clock()
        await self._delete_webhook()
        self.events.emit(PollingStarted())
        while not self.term.ended.is_set():
            limit = min(MAX_UPDATES, await self.dispatcher.wait_for_capacity())
            try:
                await self._poll(limit)
            except FloodWaitError as error:
                self.error = str(error)
                logger.warning("poll postponed", error=str(error))
                await self.sleep(error.seconds)
            except WebhookSetError as error:
                logger.warning("a webhook was set for this bot; it is deleted")
                await self._delete_webhook()
                await self._retry_later(error)
            except (TelegramError, DeliveryError) as error:
                await self._retry_later(error)
            except LeaderLostError as error:
                await self._leave(error)
            except InboxError as error:
                self.events.emit(ErrorEvent(ErrorType.INBOX, Severity.CRITICAL))
                await self._pause(error, self._inbox_failures, serious=True)

    async def _poll(self, limit: int) -> None:
        """Poll once and store the updates; raise on any failure."""
        began = self.clock()
        wait = self.error is None and self.completed_at is not None
        updates = await self._get_updates(limit, wait=wait)
        self.completed_at = self.clock()
        self.events.emit(PollCompleted())
        accepted = await self.dispatcher.accept(updates, leader=self.term.epoch)
        if accepted.stored:
            self._offset = updates[accepted.stored - 1]["update_id"] + 1
        if accepted.error is not None:
            raise accepted.error
        self._reset_pauses()
        at_once = self.completed_at - began < EMPTY_POLL_PAUSE_SECONDS
        if wait and not accepted.rows and at_once:
            await self.sleep(EMPTY_POLL_PAUSE_SECONDS)

    async def _get_updates(self, limit: int, *, wait: bool) -> Sequence[RawUpdate]:
        """Poll, and abandon a call that does not end even when it is cancelled."""
        call = asyncio.ensure_future(
            self.client.get_updates(self._offset, limit, wait=wait)
        )
        try:
            await asyncio.wait({call}, timeout=self.hung_seconds)
        finally:
            if not call.done():
                call.cancel()
            # This task may be cancelled just when the call has failed.
            call.add_done_callback(_ignore_result)
        if call.done():
            return call.result()
        await self.client.reset_connections()
        raise TelegramError(
            f"a poll hung for {self.hung_seconds:g} s", ReconnectReason.TIMEOUT
        )

    def _reset_pauses(self) -> None:
        """Reset the pauses after a good poll."""
        self.error = None
        self._good_polls += 1
        if self._conflicts.failures and self._good_polls >= GOOD_POLLS_THRESHOLD:
            logger.info("no conflict any more", conflicts=self._conflicts.failures)
            self._conflicts.reset()
            self._conflict_since = None
        if failures := self._failures.failures + self._inbox_failures.failures:
            logger.info("polling again", failures=failures)
            self._failures.reset()
            self._inbox_failures.reset()

    async def _delete_webhook(self) -> None:
        """Delete a webhook: while there is one, Telegram refuses polls."""
        try:
            await self.client.delete_webhook()
        except OperatorError:
            raise
        except CrocbotError as error:
            logger.warning("the webhook could not be deleted", error=str(error))

    async def _retry_later(self, error: TelegramError | DeliveryError) -> None:
        """Report a failed poll, then wait."""
        reason = ReconnectReason.NETWORK
        if isinstance(error, TelegramError):
            reason = error.reason
        backoff, lasting = self._failures, False
        if reason is ReconnectReason.CONFLICT:
            if await self._is_other_replica(error):
                return
            self._good_polls = 0
            if self._conflict_since is None:
                self._conflict_since = self.clock()
            backoff = self._conflicts
            lasting = self.clock() - self._conflict_since > CONFLICT_SECONDS
        self.events.emit(PollFailed(reason, lasting))
        await self._pause(error, backoff, serious=lasting)
        if backoff.failures % RESET_FAILURES_THRESHOLD == 0:
            await self.client.reset_connections()

    async def _is_other_replica(self, error: CrocbotError) -> bool:
        """Return whether the other poller is a replica, once it may be gone."""
        if not await self.leadership.confirm(self.term):
            # It is the leader now: this poll was the late one.
            return True
        age = self.clock() - self._began_at
        if not self.term.is_takeover or age > TAKEOVER_SECONDS:
            return False
        logger.info(
            "the poll of the leader before has not ended yet",
            error=str(error),
            next_in=TAKEOVER_PAUSE_SECONDS,
        )
        await self.sleep(TAKEOVER_PAUSE_SECONDS)
        return True

    async def _leave(self, error: LeaderLostError) -> None:
        """Let the term end, after the database refused to store what was polled."""
        logger.warning("updates of a late poll were not stored", error=str(error))
        if await self.leadership.confirm(self.term):
            await self._pause(error, self._inbox_failures)

    async def _pause(
        self, error: CrocbotError, backoff: Backoff, *, serious: bool = False
    ) -> None:
        """Log an error and wait; `serious` ones do not pass by themselves."""
        self.error = str(error)
        pause = backoff.next_pause()
        log_it = logger.error if serious else logger.warning
        log_it(
            "poll failed",
            error=str(error),
            failures=backoff.failures,
            next_in=round(pause, 1),
        )
        await self.sleep(pause)


def _ignore_result(call: asyncio.Future[Any]) -> None:
    """Retrieve the exception of an abandoned call, which asyncio would log."""
    if not call.cancelled():
        call.exception()
