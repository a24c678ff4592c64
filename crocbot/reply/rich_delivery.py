"""
A reply as a rich message, with its classic form one press away.

    reply --> kept on disk --> sendRichMessage --> in the chat, with a button
                                    |-- refused --> False: the classic form is sent
                                    '-- unknown --> a sentence with the same button

A rich message that may have arrived is not sent again, in no form and also after a
crash: a sentence says so, and its button shows the classic form.  In a group, where the
reply has grown as a message, that message is edited instead, which can be repeated.
After MAX_REFUSED replies in a row, or if the server has no rich messages, all replies
of this process are sent in the classic form.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crocbot import leases, log
from crocbot.classic_forms import ClassicForms, SendState
from crocbot.delivery_outcomes import RichOutcome
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    GaveUpError,
    NotConnectedError,
    StoreError,
    TelegramError,
    UnknownMethodError,
)
from crocbot.events import EventListener, RichMessage
from crocbot.model import Message, Reply
from crocbot.outgoing import RESERVED_DATA, Button, Buttons
from crocbot.reply.delivery import ReplyProgress
from crocbot.reply.message import issue_of
from crocbot.reply.rich import fits_rich, needs_rich, rich_markdown

if TYPE_CHECKING:
    from crocbot.botapi import OptionalCalls

CLASSIC_DATA = f"{RESERVED_DATA}classic:"
CLASSIC_LABEL = "Show as plain text"
UNCONFIRMED = (
    "Telegram did not confirm my answer, which has tables, formulas or much text."
    " If you do not see it, press the button."
)
NOT_KEPT = "I do not have the plain form of this answer any more."
MAX_REFUSED = 3
MAX_DIGITS = 19

logger = log.logger(__name__)


@dataclass(slots=True, kw_only=True)
class RichDelivery:
    """Sends replies as rich messages while `enabled`; shared by all turns."""

    enabled: bool
    calls: OptionalCalls
    forms: ClassicForms
    events: EventListener
    _started_at: float = field(default_factory=time.monotonic, init=False)
    _refused: int = field(default=0, init=False)

    def wants(self, reply: Reply) -> bool:
        """Return whether a reply should be sent as a rich message."""
        return (
            self.enabled
            and reply.markdown
            and not (reply.files or reply.buttons)
            and needs_rich(reply.text)
            and fits_rich(reply.text)
        )

    async def deliver(
        self, reply: Reply, progress: ReplyProgress, update_id: int
    ) -> bool:
        """Send a reply as a rich message; return whether nothing is left to be sent."""
        if not self.wants(reply):
            return False
        try:
            await self.forms.begin(update_id, progress.chat.chat_id, reply.text)
        except StoreError as error:
            logger.error("answer not sent as a rich message", error=str(error))
            return False
        try:
            outcome = await self._send(reply, progress, update_id)
        except DeliveryError as error:
            error.undelivered = None if isinstance(error, ChatGoneError) else reply
            progress.report(issue_of(error))
            await self._forget(update_id)
            raise
        self._count(outcome)
        if outcome is RichOutcome.SENT:
            await self._record_sent(update_id)
            progress.report_first_text()
        elif outcome is RichOutcome.UNKNOWN:
            await self._send_unconfirmed(progress, update_id)
        else:
            await self._forget(update_id)
            return False
        return True

    async def resume(self, message: Message, progress: ReplyProgress) -> bool:
        """
        Return whether an earlier process has sent the answer to a message.

        If that is not known, the chat gets the sentence with the button.
        """
        # Telegram may use the id of an update again, after a week without any.
        is_new = message.accepted_at >= self._started_at
        # The process that has sent it may be another replica, and older.
        lease = leases.current()
        if lease is not None:
            is_new = message.update_id in lease.unsent
        if not self.enabled or is_new:
            return False
        try:
            state = await self.forms.state(message.update_id)
        except StoreError as error:
            logger.error("rich messages cannot be read", error=str(error))
            return False
        if state is SendState.UNKNOWN:
            self._count(RichOutcome.UNKNOWN)
            await self._send_unconfirmed(progress, message.update_id)
        return state is not None

    async def classic(self, message: Message, progress: ReplyProgress) -> Reply | None:
        """
        Return the reply to a press of the button, None if it is another message.

        The classic form takes the place of the message with the button.
        """
        press = message.context.press
        if press is None or not press.data.startswith(RESERVED_DATA):
            return None
        number = press.data.removeprefix(CLASSIC_DATA)
        text = None
        if number.isdecimal() and len(number) < MAX_DIGITS:
            text = await self.forms.text(int(number), message.chat.chat_id)
        if text is None:
            return Reply(NOT_KEPT)
        progress.replace_message(message.message_id)
        return Reply(text, markdown=True)

    async def _send(
        self, reply: Reply, progress: ReplyProgress, update_id: int
    ) -> RichOutcome:
        """Send or edit one rich message; wait out flood waits, which refuse it."""
        drafted, progress.draft_text = progress.draft_text, ""
        while True:
            try:
                await self._call(reply, progress, update_id)
                return RichOutcome.SENT
            except FloodWaitError as error:
                progress.draft_text = drafted
                await progress.wait_out(error)
                progress.draft_text = ""
            except (ChatGoneError, GaveUpError):
                raise
            except UnknownMethodError:
                return RichOutcome.UNSUPPORTED
            except DeliveryError as error:
                logger.warning("rich message refused", error=str(error))
                return RichOutcome.REFUSED
            except NotConnectedError:
                return RichOutcome.NOT_SENT
            except TelegramError as error:
                if progress.messages:
                    return RichOutcome.NOT_SENT
                logger.warning("rich message not confirmed", error=str(error))
                return RichOutcome.UNKNOWN

    async def _call(
        self, reply: Reply, progress: ReplyProgress, update_id: int
    ) -> None:
        await progress.place.take()
        markdown, buttons = rich_markdown(reply.text), classic_button(update_id)
        if progress.messages:
            first = progress.message_ids[0]
            await self.calls.edit_rich(progress.chat, first, markdown, buttons)
            await progress.delete_after(1)
        else:
            await self.calls.send_rich(progress.chat, markdown, buttons, progress.quote)

    async def _send_unconfirmed(self, progress: ReplyProgress, update_id: int) -> None:
        await progress.deliver(Reply(UNCONFIRMED, buttons=classic_button(update_id)))

    def _count(self, outcome: RichOutcome) -> None:
        """Count a rich message; give them up after refusals that will not change."""
        self.events.emit(RichMessage(outcome))
        if outcome is RichOutcome.SENT:
            self._refused = 0
        elif outcome is RichOutcome.UNSUPPORTED:
            self.enabled = False
        elif outcome is RichOutcome.REFUSED:
            self._refused += 1
            if self._refused >= MAX_REFUSED and self.enabled:
                self.enabled = False
                logger.warning("rich messages are refused: answers are in plain form")

    async def _record_sent(self, update_id: int) -> None:
        try:
            await self.forms.sent(update_id)
        except StoreError as error:
            logger.error("rich message not recorded as sent", error=str(error))

    async def _forget(self, update_id: int) -> None:
        try:
            await self.forms.remove(update_id)
        except StoreError as error:
            logger.error("rich message not recorded as refused", error=str(error))


def classic_button(update_id: int) -> Buttons:
    """Return the button that shows the classic form of an answer."""
    return ((Button(text=CLASSIC_LABEL, data=f"{CLASSIC_DATA}{update_id}"),),)
