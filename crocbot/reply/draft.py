"""
A growing reply as a draft: Telegram shows it in a private chat, it is no message.

    "Cro"   "codiles are"   " old."   end
      |          |             |       |
    draft ..... draft ....... draft   sendMessage, which replaces the draft

- A draft that fails is skipped: the next one shows more, and the end of the answer is
  a message anyway.  No flood wait is waited for.
- A reply whose draft is refused, or lost `MAX_LOST` times in a row, goes on with a
  message that is edited.  After `MAX_REFUSED_REPLIES` such replies in a row, or if the
  server has no drafts, no reply of this process is tried as a draft.
- After a crash nothing of a draft is left in the chat.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crocbot import log
from crocbot.delivery_outcomes import DraftOutcome
from crocbot.errors import (
    ChatGoneError,
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    Refusal,
    UnknownMethodError,
)
from crocbot.events import DraftShown
from crocbot.model import ChatThread, MessagePart
from crocbot.reply.schedule import EditSchedule, TokenBucket

if TYPE_CHECKING:
    from crocbot.botapi import OptionalCalls
    from crocbot.reply.delivery import Delivery

# Telegram counts drafts apart from messages, and animates what each one adds.
SCHEDULE = EditSchedule(first=0.1, second=1.0, growth=1.25, longest=5.0)
MAX_DRAFTS_PER_SECOND = 30.0
# Telegram shows a draft for 30 s.
REFRESH_SECONDS = 20.0
# A draft under way may arrive after the message that is to replace it.
GRACE_SECONDS = 0.5
MAX_REFUSED_REPLIES = 3
MAX_LOST = 2

logger = log.logger(__name__)


@dataclass(slots=True, kw_only=True)
class Drafts:
    """What all drafts share: whether the server takes them, and how many a second."""

    calls: OptionalCalls
    delivery: Delivery
    schedule: EditSchedule = SCHEDULE
    budget: TokenBucket = field(init=False)
    _refused_replies: int = field(default=0, init=False)
    _usable: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self.budget = TokenBucket(self.delivery.clock, MAX_DRAFTS_PER_SECOND)

    def begin(self, chat: ChatThread, draft_id: int) -> Draft | None:
        """Return a draft for a reply in a private chat; None if they are not usable."""
        return (
            Draft(drafts=self, chat=chat, draft_id=draft_id) if self._usable else None
        )

    def record(self, outcome: DraftOutcome, *, gave_up: bool = False) -> None:
        """
        Count a draft; stop using drafts after a refusal that will not change.

        `gave_up` means that its reply goes on without drafts.
        """
        self.delivery.events.emit(DraftShown(outcome))
        if outcome is DraftOutcome.SHOWN:
            self._refused_replies = 0
        elif outcome is DraftOutcome.UNSUPPORTED:
            self._usable = False
        elif gave_up or outcome is DraftOutcome.REFUSED:
            self._refused_replies += 1
            if self._refused_replies >= MAX_REFUSED_REPLIES and self._usable:
                self._usable = False
                logger.warning("drafts fail: answers grow as messages that are edited")


@dataclass(slots=True, kw_only=True)
class Draft:
    """The draft of one reply; `usable` until Telegram refuses it."""

    drafts: Drafts
    chat: ChatThread
    draft_id: int
    usable: bool = True
    shown: bool = field(default=False, init=False)
    _part: MessagePart | None = field(default=None, init=False)
    _shown_at: float = field(default=0.0, init=False)
    _call: asyncio.Task[None] | None = field(default=None, init=False)
    _lost: int = field(default=0, init=False)

    async def show(self, part: MessagePart) -> float:
        """
        Show a part of a reply, unless it is shown; return the seconds to wait then.

        Raise ChatGoneError if the chat accepts no messages.
        """
        now = self.drafts.delivery.clock()
        if part == self._part and now - self._shown_at < REFRESH_SECONDS:
            return 0.0
        calls = self.drafts.calls
        self._call = asyncio.create_task(
            calls.send_draft(self.chat, self.draft_id, part)
        )
        self._call.add_done_callback(_retrieve)
        try:
            await asyncio.wait([self._call])
        finally:
            self._call.cancel()
        if self._call.cancelled():
            self.drafts.record(DraftOutcome.LOST)
            return 0.0
        error = self._call.exception()
        if error is not None:
            return self._failed(error)
        self.shown, self._part, self._shown_at, self._lost = True, part, now, 0
        self.drafts.record(DraftOutcome.SHOWN)
        return 0.0

    async def finish(self) -> None:
        """Give a call that is under way GRACE_SECONDS to end, then cancel it."""
        if self._call is not None:
            await asyncio.wait([self._call], timeout=GRACE_SECONDS)
            self._call.cancel()

    def _failed(self, error: BaseException) -> float:
        match error:
            case ChatGoneError():
                raise error
            case FloodWaitError():
                self.drafts.record(DraftOutcome.FLOOD_WAIT)
                return error.seconds
            case UnknownMethodError():
                self.usable = False
                self.drafts.record(DraftOutcome.UNSUPPORTED)
            case DeliveryError():
                # The formatting of an unfinished text may be complete in the next one.
                self.usable = error.refusal is Refusal.FORMATTING
                self.drafts.record(DraftOutcome.REFUSED)
            case CrocbotError():
                self._lost += 1
                self.usable = self._lost < MAX_LOST
                self.drafts.record(DraftOutcome.LOST, gave_up=not self.usable)
            case _:
                raise error
        return 0.0


def _retrieve(call: asyncio.Task[None]) -> None:
    """Let asyncio not log the exception of a call that was given up."""
    if not call.cancelled():
        call.exception()
