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
    GaveUpError,
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Delivers replies; shared by all turns, keeps no state between them."""

    client: Client
    events: EventListener
    sleep: Sleep = asyncio.sleep
    random: RandomFloat = random.random
    clock: Clock = time.monotonic
    wall_clock: Clock = time.time

    def start(
        self,
        chat: ChatThread,
        *,
        quote: int | None = None,
        accepted_at: float | None = None,
        wait_seconds: float = MAX_WAIT_SECONDS,
    ) -> ReplyProgress:
        """
        Begin a reply in a chat; nothing is sent yet.

        `quote` is the message that the first part quotes.  FirstText is measured from
        `accepted_at` (Unix time) and not emitted without it.  At most `wait_seconds`
        are spent waiting.
        """
        return ReplyProgress(
            delivery=self,
            chat=chat,
            quote=quote,
            accepted_at=accepted_at,
            wait_left_seconds=wait_seconds,
        )


@dataclass(slots=True, kw_only=True)
class ReplyProgress:
    """
    One reply, and its messages that are in the chat, in order.

    Before `not_before`, on the monotonic clock, Telegram accepts nothing in this chat.
    """

    delivery: Delivery
    chat: ChatThread
    quote: int | None
    accepted_at: float | None
    wait_left_seconds: float
    not_before: float = field(default=0.0, init=False)
    messages: list[tuple[int, MessagePart]] = field(default_factory=list, init=False)

    def postpone(self, seconds: float) -> None:
        """Send nothing more for this time, which Telegram asked for."""
        self.not_before = self.delivery.clock() + seconds

    def report(self, issue: DeliveryIssue) -> None:
        """Emit an issue of this delivery."""
        self.delivery.events.emit(DeliveryEvent(issue))

    async def deliver(self, reply: Reply) -> None:
        """
        Make the messages in the chat equal to the reply.

        Raise DeliveryError, with the reply in it, if Telegram does not accept it.
        """
        try:
            await self._deliver(reply)
        except DeliveryError as error:
            error.undelivered = reply if reply.text else None
            self.report(_issue(error))
            raise

    async def send_typing(self) -> None:
        """Show the bot as typing in the chat; one try."""
        await self.delivery.client.send_typing(self.chat)

    async def show_part(self, index: int, part: MessagePart) -> None:
        """Send or edit the message at this index, unless it is right; one try."""
        if index >= len(self.messages):
            quote = None if index else self.quote
            message_id = await self.delivery.client.send_message(self.chat, part, quote)
            self.messages.append((message_id, part))
            if self.accepted_at is not None:
                latency = self.delivery.wall_clock() - self.accepted_at
                self.delivery.events.emit(FirstText(max(0.0, latency)))
                self.accepted_at = None
            return
        message_id, shown = self.messages[index]
        if shown != part:
            await self.delivery.client.edit_message(self.chat, message_id, part)
            self.messages[index] = (message_id, part)

    async def _deliver(self, reply: Reply) -> None:
        parts = split(reply)
        try:
            await self._show_all(parts)
        except DeliveryError as error:
            formatted = any(part.entities for part in parts)
            if not formatted or _issue(error) is not DeliveryIssue.REFUSED:
                raise
            self.report(DeliveryIssue.PLAIN_TEXT)
            await self._show_all(split(replace(reply, markdown=False)))

    async def _show_all(self, parts: Sequence[MessagePart]) -> None:
        wait = self.not_before - self.delivery.clock()
        if wait > 0:
            await self._wait(wait, FloodWaitError(wait))
        for index, part in enumerate(parts):
            await self._show_with_retries(index, part)
        for message_id, _ in self.messages[len(parts) :]:
            await self._delete(message_id)
        del self.messages[len(parts) :]

    async def _show_with_retries(self, index: int, part: MessagePart) -> None:
        backoff = Backoff(
            first=FIRST_PAUSE_SECONDS, factor=2.0, random=self.delivery.random
        )
        while True:
            try:
                await self.show_part(index, part)
                return
            except FloodWaitError as error:
                await self._wait(error.seconds, error)
            except TelegramError as error:
                self.delivery.events.emit(
                    ErrorEvent(ErrorType(error.reason), Severity.WARNING)
                )
                await self._wait(backoff.next_pause(), error)
            except DeliveryError:
                if part.entities or index >= len(self.messages):
                    raise
                # It cannot be edited: send it, and all after it, as new messages.
                del self.messages[index:]

    async def _wait(
        self, seconds: float, error: FloodWaitError | TelegramError
    ) -> None:
        self.wait_left_seconds -= seconds
        if self.wait_left_seconds < 0:
            raise GaveUpError(f"gave up: {error}") from error
        self.report(DeliveryIssue.RETRIED)
        await self.delivery.sleep(seconds)

    async def _delete(self, message_id: int) -> None:
        try:
            await self.delivery.client.delete_message(self.chat, message_id)
        except (TelegramError, FloodWaitError, DeliveryError):
            # A surplus message with an old text is no reason to fail the turn.
            self.report(DeliveryIssue.EDIT_LOST)


def _issue(error: DeliveryError) -> DeliveryIssue:
    if isinstance(error, ChatGoneError):
        return DeliveryIssue.BLOCKED
    gave_up = isinstance(error, GaveUpError)
    return DeliveryIssue.GAVE_UP if gave_up else DeliveryIssue.REFUSED
