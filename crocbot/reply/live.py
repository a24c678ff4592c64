"""
A reply that is still being written, seen while it grows.

    "Cro"   "codiles are"   " old."   end
      |          |              |      |
     send ..... edit ......... edit   the whole reply, by the courier

- An answer that is there at once is one message.  Else the first words are shown
  after a moment, and each edit waits a little longer than the one before, and longer in
  groups: Telegram counts edits like messages.
- All chats share a budget of edits.  An edit that does not fit in it, or fails, is not
  made up for: the next one shows more anyway, and the courier delivers the whole.
- As long as there is nothing to be seen, Telegram shows that somebody is typing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from crocbot.errors import DeliveryError, FloodWaitError, TelegramError
from crocbot.events import DeliveryEvent, DeliveryIssue
from crocbot.model import Reply
from crocbot.reply.delivery import Delivery, SentReply
from crocbot.reply.split import pieces

EDITS_PER_SECOND = 20.0
AT_ONCE = 0.3
TYPING_AGAIN = 4.5


@dataclass(frozen=True, slots=True)
class EditSchedule:
    """Seconds until the first words, and until the next ones: these grow."""

    first: float
    next: float
    growth: float
    longest: float


PRIVATE = EditSchedule(0.5, 1.5, 1.25, 6.0)
# A group takes twenty messages a minute, whoever they are for.
GROUP = EditSchedule(2.0, 4.0, 1.25, 12.0)


@dataclass(slots=True)
class TokenBucket:
    """What all chats together may spend on edits; a second's worth can be saved up."""

    clock: Callable[[], float]
    per_second: float = EDITS_PER_SECOND
    _left: float = field(default=EDITS_PER_SECOND, init=False)
    _counted: float = field(default=0.0, init=False)

    def take(self) -> bool:
        """Spend one edit, if there is one."""
        now = self.clock()
        earned = (now - self._counted) * self.per_second
        self._left = min(self.per_second, self._left + earned)
        self._counted = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(slots=True)
class Stream:
    """
    Shows replies while they grow.  Shared by all turns.

    `private` and `group` are the paces.
    """

    courier: Delivery
    private: EditSchedule = PRIVATE
    group: EditSchedule = GROUP
    _budget: TokenBucket = field(init=False)

    def __post_init__(self) -> None:
        self._budget = TokenBucket(self.courier.clock)

    async def deliver(
        self,
        texts: AsyncIterator[str],
        shown: SentReply,
        *,
        markdown: bool,
        private: bool,
        seen: Callable[[], None],
    ) -> None:
        """Deliver what comes; `seen` is called when the first words can be read."""
        growing = LiveReply(
            self.courier,
            self._budget,
            self.private if private else self.group,
            shown,
            markdown,
            seen,
        )
        showing: list[asyncio.Task[None]] = []
        typing: list[asyncio.Task[None]] = []

        def begin() -> None:
            showing.append(asyncio.create_task(growing.show()))
            typing.append(asyncio.create_task(growing.type()))

        # An answer that is there at once needs none of it.
        timer = asyncio.get_running_loop().call_later(AT_ONCE, begin)
        try:
            async for text in texts:
                growing.add(text)
        except asyncio.CancelledError:
            for task in showing:
                task.cancel()
            raise
        finally:
            # A message that is on its way must not be sent a second time: its task is
            # not cancelled, but waited for.  That somebody typed is old news.
            timer.cancel()
            growing.end()
            for task in typing:
                task.cancel()
            await asyncio.gather(*showing, *typing, return_exceptions=True)
        await self.courier.complete(shown, growing.reply)
        growing.tell()


@dataclass(slots=True)
class LiveReply:
    """One reply, and the two tasks beside it."""

    courier: Delivery
    budget: TokenBucket
    pace: EditSchedule
    shown: SentReply
    markdown: bool
    seen: Callable[[], None]
    text: str = ""
    told: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def reply(self) -> Reply:
        """What has been written so far."""
        return Reply(self.text, self.markdown)

    def add(self, text: str) -> None:
        """Append text."""
        self.text += text
        if self.text.strip():
            self.begun.set()

    def end(self) -> None:
        """Mark the reply as complete."""
        self.begun.set()
        self.ended.set()

    def tell(self) -> None:
        """Tell once that there is something to be seen."""
        if self.shown.messages and not self.told:
            self.told = True
            self.seen()

    async def show(self) -> None:
        """Show what there is, again and again."""
        await self.begun.wait()
        pause = self.pace.first
        while not await self._ends_within(pause):
            if self.budget.take():
                pause = max(await self._edit(), self._slower(pause))

    async def type(self) -> None:
        """Show that somebody is typing, until there is something to be seen."""
        while not (self.ended.is_set() or self.shown.messages):
            # If it does not work, it is not worth a word.
            with suppress(TelegramError, FloodWaitError, DeliveryError):
                await self.courier.transport.send_typing(self.shown.chat)
            await self._ends_within(TYPING_AGAIN)

    async def _edit(self) -> float:
        """Bring what is shown up to date; returns how long Telegram wants to rest."""
        try:
            for place, piece in enumerate(pieces(self.reply)):
                await self.courier.show(self.shown, place, piece)
            self.tell()
        except FloodWaitError as error:
            self.shown.quiet_until = self.courier.clock() + error.seconds
            self.courier.events.emit(DeliveryEvent(DeliveryIssue.EDIT_LOST))
            return error.seconds
        except (TelegramError, DeliveryError):
            self.courier.events.emit(DeliveryEvent(DeliveryIssue.EDIT_LOST))
        return 0.0

    def _slower(self, pause: float) -> float:
        return min(self.pace.longest, max(self.pace.next, pause * self.pace.growth))

    async def _ends_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), seconds)
        return self.ended.is_set()
