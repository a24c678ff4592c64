"""
Pushed messages to Telegram, beside the turns.

    open rows --> chat 1: [7][9]   --.   each in its chat's order, never among the
                  chat 2: [8]      --+-->  parts of an answer (`ChatOrder`)
    every second, or when one is added

- A message is delivered like a reply: with its retries, the flood waits of its chat,
  and each part written down before and after it is sent.  So a crash repeats at most
  the part of each chat that was under way.
- A message that Telegram refuses is closed as failed, with the reason.
- A message that cannot be sent within MAX_WAIT_SECONDS lets the answers of its chat go
  on, and is tried again later, until it is MAX_AGE_SECONDS old.
- At most MAX_CHATS chats are sent to at a time; others wait.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace

from crocbot import leases, log
from crocbot.backoff import Backoff
from crocbot.chat_moves import ChatMoves
from crocbot.errors import (
    DeliveryError,
    FloodWaitError,
    GaveUpError,
    LeaseLostError,
    OperatorError,
    StoreError,
)
from crocbot.events import EventListener
from crocbot.model import ErrorEvent, ErrorType, Severity
from crocbot.pushed import Push, PushedMessages
from crocbot.reply import ChatOrder, Delivery

INTERVAL_SECONDS = 1.0
TIDY_EVERY_SECONDS = 60.0
CANCEL_SECONDS = 0.5
MAX_CHATS = 32
MAX_WAIT_SECONDS = 60.0
MAX_AGE_SECONDS = 86_400.0
FIRST_PAUSE_SECONDS = 30.0
MAX_PAUSE_SECONDS = 600.0
BUG_REASON = "a bug, see the log"

logger = log.logger(__name__)


@dataclass(slots=True)
class _Rest:
    """The pauses of a chat to which nothing could be sent, and the end of this one."""

    pauses: Backoff = field(
        default_factory=lambda: Backoff(
            first=FIRST_PAUSE_SECONDS, factor=2.0, longest=MAX_PAUSE_SECONDS
        )
    )
    until: float = 0.0


@dataclass(slots=True, kw_only=True)
class Pushing:
    """
    Sends the open rows of `messages`; `delivery` has no order of its own.

    `redactor` takes secrets out of the reasons that are kept.  With a `holder` only
    chats whose lease this process has are sent to.
    """

    messages: PushedMessages
    delivery: Delivery
    order: ChatOrder
    moves: ChatMoves
    events: EventListener
    redactor: log.Redactor
    holder: leases.Holder | None = None
    _chats: dict[int, asyncio.Task[None]] = field(default_factory=dict, init=False)
    _rests: dict[int, _Rest] = field(default_factory=dict, init=False)
    _stopping: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Send until cancelled; a StoreError ends only this interval."""
        clock = asyncio.get_running_loop().time
        tidy_at = clock() + TIDY_EVERY_SECONDS
        while True:
            self.messages.added.clear()
            try:
                await self._send_open()
                if clock() >= tidy_at:
                    tidy_at = clock() + TIDY_EVERY_SECONDS
                    await self.messages.tidy()
            except StoreError as error:
                logger.debug("pushed messages cannot be read", error=str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL_SECONDS):
                    await self.messages.added.wait()

    async def drain(self, seconds: float) -> None:
        """Let messages under way end, then cancel; rows stay for the next start."""
        self._stopping = True
        for timeout in (seconds, CANCEL_SECONDS):
            if self._chats:
                await asyncio.wait(list(self._chats.values()), timeout=timeout)
            for task in list(self._chats.values()):
                task.cancel()
        with suppress(StoreError):
            self.events.emit(await self.messages.state())

    async def _send_open(self) -> None:
        """Start a task for each chat that has an open row and no task."""
        self.events.emit(await self.messages.state())
        waiting: dict[int, list[int]] = {}
        for push_id, chat_id in await self.messages.open_rows():
            waiting.setdefault(self.moves.latest(chat_id), []).append(push_id)
        # A chat without a row needs no rest.
        self._rests = {
            chat: self._rests[chat] for chat in self._rests if chat in waiting
        }
        for chat_id, push_ids in waiting.items():
            if not self._must_wait(chat_id) and len(self._chats) < MAX_CHATS:
                self._start(chat_id, push_ids)

    def _start(self, chat_id: int, push_ids: list[int]) -> None:
        """Start the task of a chat, under its lease, if another replica has none."""
        lease = None
        if self.holder is not None:
            origin = self.moves.origin(chat_id)
            lease = self.holder.lease(origin) if isinstance(origin, int) else None
            if lease is None:
                return
        with leases.working_under(lease):
            task = asyncio.create_task(self._send_chat(chat_id, push_ids))
        self._chats[chat_id] = task
        if lease is not None:
            lease.enter()
            task.add_done_callback(lambda _: lease.leave())

    def _must_wait(self, chat_id: int) -> bool:
        """Return whether a chat is sent to, or rests."""
        rest = self._rests.get(chat_id)
        rests = rest is not None and rest.until > self.delivery.clock()
        return rests or chat_id in self._chats

    async def _send_chat(self, chat_id: int, push_ids: list[int]) -> None:
        """Send the rows of a chat, in order."""
        try:
            for push_id in push_ids:
                async with self.order.pushing(chat_id):
                    if self._stopping:
                        return
                    push = await self.messages.load(push_id)
                    if push is not None and not await self._send(push, chat_id):
                        return
        except StoreError as error:
            logger.debug("a pushed message cannot be read", error=str(error))
        except OperatorError as error:
            # The poller meets the same error, which ends the program.
            logger.error("message left open", error=str(error))
            self._stopping = True
        finally:
            del self._chats[chat_id]
            # What came meanwhile is found at once.
            self.messages.added.set()

    async def _send(self, push: Push, chat_id: int) -> bool:
        """
        Send one row and close it; return False if it has to be tried again later.

        Raise OperatorError if nothing can be sent, LeaseLostError if another replica
        sends it.
        """
        progress = self.delivery.start(
            replace(push.chat, chat_id=chat_id),
            update_id=push.id,
            sent=push.sent,
            wait_seconds=MAX_WAIT_SECONDS,
        )
        try:
            await progress.deliver(push.reply)
        except (OperatorError, LeaseLostError):
            raise
        except DeliveryError as error:
            if isinstance(error, GaveUpError) and not self._is_too_old(push):
                self._rest(chat_id, error)
                return False
            reason = self.redactor.redact(str(error))
            logger.warning("message not sent", message=push.id, error=reason)
        except Exception as error:
            reason = BUG_REASON
            logger.error("bug in a pushed message", message=push.id, exc_info=error)
        else:
            self._rests.pop(chat_id, None)
            await self.messages.close(push.id)
            logger.info("message sent", message=push.id)
            return True
        severity = Severity.CRITICAL if reason == BUG_REASON else Severity.WARNING
        self.events.emit(ErrorEvent(ErrorType.DELIVERY, severity))
        await self.messages.close(push.id, reason)
        return True

    def _is_too_old(self, push: Push) -> bool:
        return self.messages.age(push) >= MAX_AGE_SECONDS

    def _rest(self, chat_id: int, error: GaveUpError) -> None:
        """Let a chat rest, at least as long as Telegram asks."""
        rest = self._rests.setdefault(chat_id, _Rest())
        pause, cause = rest.pauses.next_pause(), error.__cause__
        if isinstance(cause, FloodWaitError):
            pause = max(pause, cause.seconds)
        rest.until = self.delivery.clock() + pause
        logger.warning("messages postponed", error=str(error), next_in=round(pause, 1))
