"""
Reply to Telegram: every part of it arrives, in order.

Flood waits and network errors are waited out, for `MAX_WAIT_SECONDS` per reply.  After
a timeout the message may have arrived all the same: a reply is delivered at least once.

Messages that were already sent are edited, not sent again.  If one cannot be edited,
it and all after it are sent anew, and the old ones are deleted.

If Telegram refuses the topic, the quote or the formatting of a message, the message is
sent without it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from crocbot.backoff import Backoff
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    GaveUpError,
    Refusal,
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
from crocbot.text import MAX_MESSAGE_UNITS

if TYPE_CHECKING:
    from crocbot.botapi import Client

# Longer than most network outages; after it the reply is stored for a later retry.
MAX_WAIT_SECONDS = 3600.0
FIRST_PAUSE_SECONDS = 1.0
# A server that finds messages too long gets shorter ones, down to this length.
MIN_MESSAGE_UNITS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Delivers replies; shared by all turns, keeps no state between them."""

    client: Client
    events: EventListener
    sleep: Sleep = asyncio.sleep
    random: RandomFloat = random.random
    clock: Clock = time.monotonic

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
        `accepted_at` (on `clock`) and not emitted without it.  At most `wait_seconds`
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
    `outdated` are messages that could not be edited and have to be deleted.
    `shown_text` is the text that they show while the reply grows, `draft_text` the text
    that is lost with a draft: no message has it, or is known to have been sent with it.
    """

    delivery: Delivery
    chat: ChatThread
    quote: int | None
    accepted_at: float | None
    wait_left_seconds: float
    not_before: float = field(default=0.0, init=False)
    messages: list[tuple[int, MessagePart]] = field(default_factory=list, init=False)
    outdated: list[int] = field(default_factory=list, init=False)
    _plain_parts: set[int] = field(default_factory=set, init=False)
    shown_text: str = field(default="", init=False)
    draft_text: str = field(default="", init=False)

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
        """
        Send or edit the message at this index, unless it is right; waits for nothing.

        If an edit is refused, the message and all after it are given up.
        """
        if index >= len(self.messages):
            message_id = await self._send(index, part)
            self.messages.append((message_id, part))
            return
        message_id, shown = self.messages[index]
        if shown == part:
            return
        try:
            await self._edit(index, part)
        except ChatGoneError:
            raise
        except DeliveryError:
            self.report(DeliveryIssue.EDIT_LOST)
            self.outdated += [message_id for message_id, _ in self.messages[index:]]
            del self.messages[index:]
            raise
        self.messages[index] = (message_id, part)

    async def _send(self, index: int, part: MessagePart) -> int:
        intended = OutgoingMessage(self.chat, None if index else self.quote, part)
        drafted, self.draft_text = self.draft_text, ""
        try:
            draft, message_id = await self._send_simplified(intended)
        except (FloodWaitError, DeliveryError):
            # It was not sent for certain.
            self.draft_text = drafted
            raise
        for issue in draft.issues(intended):
            if issue is DeliveryIssue.PLAIN_TEXT:
                self._report_plain_text(index)
            else:
                self.report(issue)
        # The rest of the reply goes to the same place.
        self.chat = draft.chat
        self.report_first_text()
        return message_id

    def report_first_text(self) -> None:
        """Emit the time to the first visible text, once."""
        if self.accepted_at is not None:
            latency = self.delivery.clock() - self.accepted_at
            self.delivery.events.emit(FirstText(latency))
            self.accepted_at = None

    async def _send_simplified(
        self, intended: OutgoingMessage
    ) -> tuple[OutgoingMessage, int]:
        """Send a message, without what is refused; return what was sent, and its id."""
        waiting, tried = deque([intended]), {intended}
        refused: DeliveryError | None = None
        while waiting:
            draft = waiting.popleft()
            try:
                return draft, await self.delivery.client.send_message(
                    draft.chat, draft.part, draft.quote
                )
            except ChatGoneError:
                raise
            except DeliveryError as error:
                if refused is None or error.refusal is not Refusal.OTHER:
                    new = [d for d in draft.simpler(error.refusal) if d not in tried]
                    waiting.extendleft(reversed(new))
                    tried.update(new)
                refused = refused or error
        assert refused is not None
        raise refused

    def _report_plain_text(self, index: int) -> None:
        """Report a part without formatting once, however often it is edited."""
        if index not in self._plain_parts:
            self._plain_parts.add(index)
            self.report(DeliveryIssue.PLAIN_TEXT)

    async def _edit(self, index: int, part: MessagePart) -> None:
        """Edit a message, without formatting if that is refused."""
        message_id, _ = self.messages[index]
        try:
            await self.delivery.client.edit_message(self.chat, message_id, part)
        except DeliveryError as error:
            if error.refusal is not Refusal.FORMATTING or not part.entities:
                raise
            plain = replace(part, entities=())
            await self.delivery.client.edit_message(self.chat, message_id, plain)
            self._report_plain_text(index)

    async def _deliver(self, reply: Reply) -> None:
        max_units = MAX_MESSAGE_UNITS
        while True:
            try:
                await self._show_all(split(reply, max_units))
                return
            except DeliveryError as error:
                max_units //= 2
                if error.refusal is not Refusal.LENGTH or max_units < MIN_MESSAGE_UNITS:
                    raise

    async def _show_all(self, parts: Sequence[MessagePart]) -> None:
        wait = self.not_before - self.delivery.clock()
        if wait > 0:
            await self._wait(wait, FloodWaitError(wait))
        for index, part in enumerate(parts):
            await self._show_with_retries(index, part)
        self.outdated += [message_id for message_id, _ in self.messages[len(parts) :]]
        del self.messages[len(parts) :]
        while self.outdated:
            await self._delete(self.outdated.pop())

    async def _show_with_retries(self, index: int, part: MessagePart) -> None:
        backoff = Backoff(
            first=FIRST_PAUSE_SECONDS, factor=2.0, random=self.delivery.random
        )
        while True:
            edits = index < len(self.messages)
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
            except ChatGoneError:
                raise
            except DeliveryError:
                # A message that cannot be edited is sent as a new one.
                if not edits:
                    raise

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


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """
    A message to send in a chat or topic; `quote` is the message that it quotes.

        (chat 7, topic 4, quote 3, "x")  -- TOPIC_CLOSED -->
            (chat 7, quote 3, "x"), then (chat 7, "x")

    A description that is not known may mean anything, so each part is left out in turn.
    """

    chat: ChatThread
    quote: int | None
    part: MessagePart

    def simpler(self, refusal: Refusal) -> Sequence[OutgoingMessage]:
        """Return the drafts to send instead, the one with the fewest changes first."""
        plain = replace(self, part=replace(self.part, entities=()))
        no_quote = replace(self, quote=None)
        # A quote takes a message into the topic of the message that it quotes.
        no_thread = replace(self, chat=ChatThread(self.chat.chat_id))
        bare = replace(no_thread, quote=None)
        drafts: tuple[OutgoingMessage, ...] = ()
        match refusal:
            case Refusal.THREAD:
                drafts = (no_thread, bare)
            case Refusal.QUOTE | Refusal.MESSAGE:
                drafts = (no_quote,)
            case Refusal.FORMATTING:
                drafts = (plain,)
            case Refusal.OTHER:
                drafts = (plain, no_quote, bare, replace(bare, part=plain.part))
        return [each for each in drafts if each != self]

    def issues(self, intended: OutgoingMessage) -> Iterator[DeliveryIssue]:
        """Yield what this draft lacks of the intended one."""
        if self.chat != intended.chat:
            yield DeliveryIssue.WITHOUT_THREAD
        if self.quote != intended.quote:
            yield DeliveryIssue.WITHOUT_QUOTE
        if self.part != intended.part:
            yield DeliveryIssue.PLAIN_TEXT
