"""
Reply to Telegram: every part of it arrives, in order.

Flood waits and network errors are waited out, for `MAX_WAIT_SECONDS` per reply.  After
a timeout the message may have arrived all the same: a reply is delivered at least once.

Messages that were already sent are edited, not sent again.  If Telegram refuses the
formatting, the text is sent without it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from crocbot.backoff import Backoff
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    TelegramError,
)
from crocbot.events import DeliveryEvent, DeliveryIssue, EventListener, FirstText
from crocbot.model import (
    ChatThread,
    Clock,
    ErrorEvent,
    ErrorType,
    MessagePart,
    RandomFloat,
    Reply,
    Severity,
    Sleep,
)
from crocbot.reply.split import split

if TYPE_CHECKING:
    from crocbot.botapi import Client

# Longer than most network outages; after it the reply is stored for a later retry.
MAX_WAIT_SECONDS = 3600.0
FIRST_PAUSE_SECONDS = 1.0


@dataclass(slots=True, kw_only=True)
class SentReply:
    """
    The messages of one reply that are in the chat, in order.

    The first one quotes the message `quote`.  Before `not_before`, on the monotonic
    clock, Telegram accepts nothing in this chat.  `wait_left` is how many seconds may
    still be spent on waiting.  With `accepted_at`, the time when the chat's message was
    accepted, the time to the first visible text is reported, once.
    """

    chat: ChatThread
    quote: int | None = None
    accepted_at: float | None = None
    wait_left: float = MAX_WAIT_SECONDS
    not_before: float = 0.0
    messages: list[tuple[int, MessagePart]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Delivers replies; shared by all turns, keeps no state between them."""

    client: Client
    events: EventListener
    sleep: Sleep = asyncio.sleep
    random: RandomFloat = random.random
    clock: Clock = time.monotonic
    wall_clock: Clock = time.time

    async def deliver(self, sent: SentReply, reply: Reply) -> None:
        """
        Make the messages in the chat equal to the reply.

        Raise DeliveryError, with the reply in it, if Telegram does not accept it.
        """
        try:
            await self._deliver(sent, reply)
        except DeliveryError as error:
            error.undelivered = reply if reply.text else None
            self.events.emit(DeliveryEvent(_issue(error)))
            raise

    async def show_part(self, sent: SentReply, index: int, part: MessagePart) -> None:
        """Send or edit the message at this index, unless it is right; one try."""
        if index >= len(sent.messages):
            quote = None if index else sent.quote
            message_id = await self.client.send_message(sent.chat, part, quote)
            sent.messages.append((message_id, part))
            if sent.accepted_at is not None:
                latency = self.wall_clock() - sent.accepted_at
                self.events.emit(FirstText(max(0.0, latency)))
                sent.accepted_at = None
            return
        message_id, shown = sent.messages[index]
        if shown != part:
            await self.client.edit_message(sent.chat, message_id, part)
            sent.messages[index] = (message_id, part)

    async def _deliver(self, sent: SentReply, reply: Reply) -> None:
        parts = split(reply)
        try:
            await self._show_all(sent, parts)
        except DeliveryError as error:
            formatted = any(part.entities for part in parts)
            if not formatted or _issue(error) is not DeliveryIssue.REFUSED:
                raise
            self.events.emit(DeliveryEvent(DeliveryIssue.PLAIN_TEXT))
            await self._show_all(sent, split(replace(reply, markdown=False)))

    async def _show_all(self, sent: SentReply, parts: Sequence[MessagePart]) -> None:
        wait = sent.not_before - self.clock()
        if wait > 0:
            await self._wait(sent, wait, FloodWaitError(wait))
        for index, part in enumerate(parts):
            await self._show_with_retries(sent, index, part)
        for message_id, _ in sent.messages[len(parts) :]:
            await self._delete(sent.chat, message_id)
        del sent.messages[len(parts) :]

    async def _show_with_retries(
        self, sent: SentReply, index: int, part: MessagePart
    ) -> None:
        backoff = Backoff(first=FIRST_PAUSE_SECONDS, factor=2.0, random=self.random)
        while True:
            try:
                await self.show_part(sent, index, part)
                return
            except FloodWaitError as error:
                await self._wait(sent, error.seconds, error)
            except TelegramError as error:
                self.events.emit(ErrorEvent(ErrorType(error.reason), Severity.WARNING))
                await self._wait(sent, backoff.next_pause(), error)
            except DeliveryError:
                if part.entities or index >= len(sent.messages):
                    raise
                # It cannot be edited: send it, and all after it, as new messages.
                del sent.messages[index:]

    async def _wait(
        self, sent: SentReply, seconds: float, error: FloodWaitError | TelegramError
    ) -> None:
        sent.wait_left -= seconds
        if sent.wait_left < 0:
            raise DeliveryError(f"gave up: {error}") from error
        self.events.emit(DeliveryEvent(DeliveryIssue.RETRIED))
        await self.sleep(seconds)

    async def _delete(self, chat: ChatThread, message_id: int) -> None:
        try:
            await self.client.delete_message(chat, message_id)
        except (TelegramError, FloodWaitError, DeliveryError):
            # A surplus message with an old text is no reason to fail the turn.
            self.events.emit(DeliveryEvent(DeliveryIssue.EDIT_LOST))


def _issue(error: DeliveryError) -> DeliveryIssue:
    if isinstance(error, ChatGoneError):
        return DeliveryIssue.BLOCKED
    waited = isinstance(error.__cause__, FloodWaitError | TelegramError)
    return DeliveryIssue.GAVE_UP if waited else DeliveryIssue.REFUSED
