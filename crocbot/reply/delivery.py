"""
A Reply to Telegram: every piece of it arrives, in order.

A flood wait or a fault of the network is waited out, within `PATIENCE` seconds of
waiting per reply.  A time-out may have delivered the piece: replies are sent at least
once, never at most once.

What can be seen of the reply already is edited, not sent again.  If Telegram does not
take the formatting, the text goes out without it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    TelegramError,
)
from crocbot.events import DeliveryEvent, DeliveryIssue, EventListener
from crocbot.model import (
    ChatThread,
    ErrorEvent,
    ErrorType,
    MessagePart,
    Reply,
    Severity,
)
from crocbot.reply.split import pieces

# Longer than most networks are away; after it the reply is kept for a retry.
PATIENCE = 3600.0
FIRST_WAIT = 1.0
LONGEST_WAIT = 30.0


class Transport(Protocol):
    """Raises only TelegramError, FloodWaitError, DeliveryError, OperatorError."""

    async def send_message(
        self, chat: ChatThread, piece: MessagePart, reply_to: int | None = None
    ) -> int:
        """Send a message, as an answer to another one; returns its id."""

    async def edit_message(
        self, chat: ChatThread, message_id: int, piece: MessagePart
    ) -> None:
        """Replace what a message says."""

    async def delete_message(self, chat: ChatThread, message_id: int) -> None:
        """Take a message back."""

    async def send_typing(self, chat: ChatThread) -> None:
        """Show for five seconds that an answer is on its way."""


@dataclass(slots=True)
class SentReply:
    """
    What can be seen of a reply: its messages, in order.

    `quote` is the message that the first one answers.  Before `quiet_until`, on the
    courier's clock, Telegram wants to hear nothing in this chat.
    """

    chat: ChatThread
    quote: int | None = None
    messages: list[tuple[int, MessagePart]] = field(default_factory=list)
    quiet_until: float = 0.0
    patience: float = PATIENCE


@dataclass(frozen=True, slots=True)
class Delivery:
    """Delivers replies; shared by all turns, remembers nothing between them."""

    transport: Transport
    events: EventListener
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    clock: Callable[[], float] = time.monotonic

    async def complete(self, shown: SentReply, reply: Reply) -> None:
        """Make what can be seen the whole reply, or raise DeliveryError."""
        cut = pieces(reply)
        try:
            await self._complete(shown, cut)
        except DeliveryError as error:
            snag = _snag(error)
            if snag is DeliveryIssue.REFUSED and any(piece.entities for piece in cut):
                self.events.emit(DeliveryEvent(DeliveryIssue.PLAIN_TEXT))
                await self.complete(shown, replace(reply, markdown=False))
                return
            self.events.emit(DeliveryEvent(snag))
            raise

    async def _complete(self, shown: SentReply, cut: Sequence[MessagePart]) -> None:
        wait = shown.quiet_until - self.clock()
        if wait > 0:
            await self._wait(shown, wait, FloodWaitError(wait))
        for place, piece in enumerate(cut):
            await self._persist(shown, place, piece)
        for message_id, _ in shown.messages[len(cut) :]:
            await self._remove(shown.chat, message_id)
        del shown.messages[len(cut) :]

    async def show(self, shown: SentReply, place: int, piece: MessagePart) -> None:
        """Make a message say this, if it does not yet; one try."""
        if place >= len(shown.messages):
            quote = None if place else shown.quote
            sent = await self.transport.send_message(shown.chat, piece, quote)
            shown.messages.append((sent, piece))
            return
        message_id, says = shown.messages[place]
        if says != piece:
            await self.transport.edit_message(shown.chat, message_id, piece)
            shown.messages[place] = (message_id, piece)

    async def _persist(self, shown: SentReply, place: int, piece: MessagePart) -> None:
        """Show a piece, however often it takes, as long as there is patience."""
        pause = FIRST_WAIT
        while True:
            try:
                await self.show(shown, place, piece)
                return
            except FloodWaitError as error:
                await self._wait(shown, error.seconds, error)
            except TelegramError as error:
                self.events.emit(ErrorEvent(ErrorType(error.reason), Severity.WARNING))
                await self._wait(shown, pause * (0.8 + 0.4 * self.random()), error)
                pause = min(pause * 2, LONGEST_WAIT)
            except DeliveryError:
                if piece.entities or place >= len(shown.messages):
                    raise
                # It cannot be edited any more: it is sent anew, with what follows it.
                del shown.messages[place:]

    async def _wait(
        self, shown: SentReply, seconds: float, fault: FloodWaitError | TelegramError
    ) -> None:
        shown.patience -= seconds
        if shown.patience < 0:
            raise DeliveryError(f"gave up: {fault}") from fault
        self.events.emit(DeliveryEvent(DeliveryIssue.RETRIED))
        await self.sleep(seconds)

    async def _remove(self, chat: ChatThread, message_id: int) -> None:
        try:
            await self.transport.delete_message(chat, message_id)
        except (TelegramError, FloodWaitError, DeliveryError):
            # It says what the reply once said; that is not worth a failed turn.
            self.events.emit(DeliveryEvent(DeliveryIssue.EDIT_LOST))


def _snag(error: DeliveryError) -> DeliveryIssue:
    if isinstance(error, ChatGoneError):
        return DeliveryIssue.BLOCKED
    waited = isinstance(error.__cause__, FloodWaitError | TelegramError)
    return DeliveryIssue.GAVE_UP if waited else DeliveryIssue.REFUSED
