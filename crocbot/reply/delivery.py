"""
Reply to Telegram: every part of it arrives, in order.

Flood waits and network errors are waited out, for `MAX_WAIT_SECONDS` per reply.  After
a timeout the message may have arrived all the same: a reply is delivered at least once.

Messages that were already sent are edited, not sent again.  If one cannot be edited,
it and all after it are sent anew, and the old ones are deleted.

If Telegram refuses the topic, the quote, the formatting or the buttons of a message,
the message is sent without it.

Files come after the text.  A reply with files or buttons is kept on disk, with the
steps that are done: `steps.py`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from crocbot.backoff import Backoff
from crocbot.delivery_outcomes import ButtonOutcome, DeliveryIssue
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    GaveUpError,
    Refusal,
    TelegramError,
)
from crocbot.events import ButtonsEvent, DeliveryEvent, EventListener, FirstText
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
from crocbot.outgoing import SentSteps
from crocbot.reply.chat_order import AnswerPlace, ChatOrder
from crocbot.reply.file_delivery import FileDelivery
from crocbot.reply.message import OutgoingMessage, issue_of
from crocbot.reply.split import split
from crocbot.reply.steps import ReplyKeeper, ReplySteps
from crocbot.text import MAX_MESSAGE_UNITS

if TYPE_CHECKING:
    from crocbot.botapi import Client

# Longer than most network outages; after it the reply is stored for a later retry.
MAX_WAIT_SECONDS = 3600.0
FIRST_PAUSE_SECONDS = 1.0
# A server that finds messages too long gets shorter ones, down to this length.
MIN_MESSAGE_UNITS = 512
# Files in memory at a time.
MAX_UPLOADS = 4
UNKNOWN_PART = MessagePart("")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Delivers replies; shared by all turns, keeps no state between them."""

    client: Client
    events: EventListener
    keeper: ReplyKeeper | None = None
    order: ChatOrder | None = None
    uploads: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(MAX_UPLOADS)
    )
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
        update_id: int | None = None,
        sent: SentSteps | None = None,
    ) -> ReplyProgress:
        """
        Begin a reply in a chat; nothing is sent yet.

        `quote` is the message that the first part quotes.  FirstText is measured from
        `accepted_at` (on `clock`) and not emitted without it.  At most `wait_seconds`
        are spent waiting.  `update_id` is the update that the reply is kept with, and
        `sent` how far an earlier process has sent it.
        """
        steps = None
        if self.keeper is not None and update_id is not None:
            steps = ReplySteps(keeper=self.keeper, update_id=update_id, sent=sent)
        return ReplyProgress(
            delivery=self,
            steps=steps,
            place=AnswerPlace(chat.chat_id, self.order),
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
    steps: ReplySteps | None = None
    place: AnswerPlace = field(default_factory=AnswerPlace)
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

    def __post_init__(self) -> None:
        if self.steps is not None and self.steps.sent is not None:
            # What they show is not known; the same text is no edit for Telegram.
            self.messages = [(each, UNKNOWN_PART) for each in self.steps.sent.messages]

    @property
    def message_ids(self) -> list[int]:
        """Return the ids of the messages in the chat."""
        return [message_id for message_id, _ in self.messages]

    def postpone(self, seconds: float) -> None:
        """Send nothing more for this time, which Telegram asked for."""
        self.not_before = self.delivery.clock() + seconds

    async def wait_out(self, error: FloodWaitError) -> None:
        """Wait as long as Telegram asks; raise GaveUpError beyond the waiting time."""
        await self._wait(error.seconds, error)

    def replace_message(self, message_id: int) -> None:
        """Let the reply take the place of a message that is in the chat."""
        self.messages = [(message_id, UNKNOWN_PART)]

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
            error.undelivered = reply if reply.text or reply.files else None
            self.report(issue_of(error))
            if not isinstance(error, GaveUpError):
                # The step was refused, so it is certain that it is not in the chat.
                await self.end_step()
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
            await self.begin_step()
            message_id = await self._send(index, part, quotes=index == 0)
            self.messages.append((message_id, part))
            await self.end_step()
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

    async def begin_step(self) -> None:
        """Take the place in the chat; write down that a step is under way."""
        await self.place.take()
        if self.steps is not None:
            await self.steps.begin()

    async def end_step(self, *, file: bool = False) -> None:
        """Write down that it is done."""
        if self.steps is not None:
            await self.steps.end(self.message_ids, files=self.steps.files + file)

    async def send_part(self, part: MessagePart, *, quotes: bool) -> None:
        """Send a message that is no part of the text."""
        await self._send(len(self.messages), part, quotes=quotes)

    async def _send(self, index: int, part: MessagePart, *, quotes: bool) -> int:
        intended = OutgoingMessage(self.chat, self.quote if quotes else None, part)
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
        """Edit a message, without formatting or buttons if these are refused."""
        message_id, _ = self.messages[index]
        try:
            await self.delivery.client.edit_message(self.chat, message_id, part)
        except DeliveryError as error:
            if error.refusal is Refusal.FORMATTING and part.entities:
                await self._edit(index, replace(part, entities=()))
                self._report_plain_text(index)
            elif error.refusal is Refusal.BUTTONS and part.buttons:
                await self._edit(index, replace(part, buttons=()))
                self.report(DeliveryIssue.WITHOUT_BUTTONS)
            else:
                raise

    async def _deliver(self, reply: Reply) -> None:
        if self.steps is not None and self.steps.was_interrupted:
            self.report(DeliveryIssue.REPEATED)
        if self.steps is not None and (reply.files or reply.buttons):
            await self.steps.keep(reply, self.message_ids)
        if self.steps is None or not self.steps.files:
            # The files come after the whole text.
            await self._deliver_text(reply)
        if reply.files and self.steps is not None:
            files = FileDelivery(progress=self, steps=self.steps, reply=reply)
            await files.deliver()
        if reply.buttons:
            count = sum(map(len, reply.buttons))
            self.delivery.events.emit(ButtonsEvent(ButtonOutcome.SENT, count))

    async def _deliver_text(self, reply: Reply) -> None:
        max_units = MAX_MESSAGE_UNITS
        while True:
            parts = split(reply, max_units)
            if parts:
                parts[-1] = replace(parts[-1], buttons=reply.buttons)
            try:
                await self._show_all(parts)
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
        await self.delete_after(len(parts))

    async def delete_after(self, count: int) -> None:
        """Delete all but the first messages of the reply, and outdated ones."""
        self.outdated += [message_id for message_id, _ in self.messages[count:]]
        del self.messages[count:]
        while self.outdated:
            await self._delete(self.outdated.pop())

    async def _show_with_retries(self, index: int, part: MessagePart) -> None:
        while True:
            edits = index < len(self.messages)
            try:
                await self.with_retries(lambda: self.show_part(index, part))
                return
            except ChatGoneError:
                raise
            except DeliveryError as error:
                # A message that cannot be edited is sent as a new one.
                if not edits or isinstance(error, GaveUpError):
                    raise

    async def with_retries(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """
        Return the result of a call, repeated after flood waits and network errors.

        Raise GaveUpError when the waiting time of the reply is over.
        """
        backoff = Backoff(
            first=FIRST_PAUSE_SECONDS, factor=2.0, random=self.delivery.random
        )
        while True:
            try:
                return await call()
            except FloodWaitError as error:
                await self._wait(error.seconds, error)
            except TelegramError as error:
                self.delivery.events.emit(
                    ErrorEvent(ErrorType(error.reason), Severity.WARNING)
                )
                await self._wait(backoff.next_pause(), error)

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
