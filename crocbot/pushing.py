"""
Pushed messages to Telegram, beside the turns.

    open rows --> chat 1: [7][9]   --.   each in its chat's order, never among the
                  chat 2: [8]      --+-->  parts of an answer (`ChatOrder`)
    every second, or when one is added

- A message is delivered like a reply: with its retries, the flood waits of its chat,
  and each part written down before and after it is sent.  So a crash repeats at most
  the part of each chat that was under way.
- A message that Telegram refuses is closed as failed, with the reason.
- At most MAX_CHATS chats are sent to at a time; others wait.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace

from crocbot import log
from crocbot.chat_moves import ChatMoves
from crocbot.errors import DeliveryError, OperatorError, StoreError
from crocbot.events import EventListener
from crocbot.model import ErrorEvent, ErrorType, Severity
from crocbot.pushed import Push, PushedMessages
from crocbot.reply import ChatOrder, Delivery

INTERVAL_SECONDS = 1.0
TIDY_EVERY_SECONDS = 60.0
CANCEL_SECONDS = 0.5
MAX_CHATS = 32
BUG_REASON = "a bug, see the log"

logger = log.logger(__name__)


@dataclass(slots=True, kw_only=True)
class Pushing:
    """
    Sends the open rows of `messages`; `delivery` has no order of its own.

    `redactor` takes secrets out of the reasons that are kept.
    """

    messages: PushedMessages
    delivery: Delivery
    order: ChatOrder
    moves: ChatMoves
    events: EventListener
    redactor: log.Redactor
    _chats: dict[int, asyncio.Task[None]] = field(default_factory=dict, init=False)
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
        for chat_id, push_ids in waiting.items():
            if chat_id not in self._chats and len(self._chats) < MAX_CHATS:
                task = asyncio.create_task(self._send_chat(chat_id, push_ids))
                self._chats[chat_id] = task

    async def _send_chat(self, chat_id: int, push_ids: list[int]) -> None:
        """Send the rows of a chat, in order."""
        try:
            for push_id in push_ids:
                async with self.order.pushing(chat_id):
                    if self._stopping:
                        return
                    push = await self.messages.load(push_id)
                    if push is not None:
                        await self._send(push, chat_id)
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

    async def _send(self, push: Push, chat_id: int) -> None:
        """Send one row and close it.  Raise OperatorError if nothing can be sent."""
        progress = self.delivery.start(
            replace(push.chat, chat_id=chat_id), update_id=push.id, sent=push.sent
        )
        try:
            await progress.deliver(push.reply)
        except OperatorError:
            raise
        except DeliveryError as error:
            reason = self.redactor.redact(str(error))
            logger.warning("message not sent", message=push.id, error=reason)
        except Exception as error:
            reason = BUG_REASON
            logger.error("bug in a pushed message", message=push.id, exc_info=error)
        else:
            await self.messages.close(push.id)
            logger.info("message sent", message=push.id)
            return
        severity = Severity.CRITICAL if reason == BUG_REASON else Severity.WARNING
        self.events.emit(ErrorEvent(ErrorType.DELIVERY, severity))
        await self.messages.close(push.id, reason)
