"""
A reply that is still being written, visible while it grows.

    "Cro"   "codiles are"   " old."   end
      |          |              |      |
     send ..... edit ......... edit   Delivery makes it the whole reply

- An answer that ends before its first edit is sent once, whole.  The first edit is at
  least `LIVE_AFTER_SECONDS` after the start, and `EditSchedule.first` after the first
  text that is there by then.  The pauses between edits grow and are longer in groups,
  because Telegram counts edits like messages.
- In a private chat the last part of the growing answer is a draft (`draft.py`) and not
  a message, as long as Telegram accepts it.
- All chats share one budget of edits.  An edit that exceeds it, or fails, is skipped:
  the next one shows more anyway, and Delivery completes the reply.  After a refusal
  only Delivery goes on.
- If the chat is found to be gone, the answer is not waited for.
- Until the first text is visible, Telegram shows the bot as typing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field, replace

from crocbot import log
from crocbot.content import draft_id
from crocbot.delivery_outcomes import DeliveryIssue
from crocbot.errors import (
    ChatGoneError,
    DeliveryError,
    FloodWaitError,
    TelegramError,
)
from crocbot.model import (
    RETRACTED,
    AnswerText,
    ErrorEvent,
    ErrorType,
    MessagePart,
    Reply,
    Severity,
)
from crocbot.outgoing import Enclosures, TextFormat
from crocbot.reply.delivery import Delivery, ReplyProgress
from crocbot.reply.draft import Draft, Drafts
from crocbot.reply.rich_delivery import RichDelivery
from crocbot.reply.schedule import EditSchedule, TokenBucket
from crocbot.reply.split import split
from crocbot.text import is_visible

LIVE_AFTER_SECONDS = 0.3
# Telegram shows "typing" for 5 s.
TYPING_SECONDS = 4.5
# A chat in which the bot cannot be shown as typing that often takes no messages either.
MAX_TYPING_REFUSALS = 2

logger = log.logger(__name__)


PRIVATE = EditSchedule(first=0.5, second=1.5, growth=1.25, longest=6.0)
# A group accepts 20 messages a minute from a bot.
GROUP = EditSchedule(first=2.0, second=4.0, growth=1.25, longest=12.0)


@dataclass(slots=True, kw_only=True)
class LiveDelivery:
    """Delivers replies that are still being written; shared by all turns."""

    delivery: Delivery
    private: EditSchedule = PRIVATE
    group: EditSchedule = GROUP
    drafts: Drafts | None = None
    rich: RichDelivery | None = None
    _edits: TokenBucket = field(init=False)

    def __post_init__(self) -> None:
        self._edits = TokenBucket(self.delivery.clock)

    async def deliver(
        self,
        parts: AsyncIterator[AnswerText | TextFormat | Enclosures],
        progress: ReplyProgress,
        *,
        markdown: bool,
        private: bool,
        update_id: int | None = None,
    ) -> None:
        """
        Deliver the parts as one reply; raise DeliveryError with the reply in it.

        In a private chat it may grow as a draft, and it may become a rich message, if
        `update_id` is the update that it answers.

        If the chat is gone, `parts` is cancelled and the error has no reply.
        """
        draft = None
        if private and update_id is not None and self.drafts is not None:
            draft = self.drafts.begin(progress.chat, draft_id(update_id))
        live = LiveReply(
            draft=draft,
            whole=markdown and self.rich is not None and self.rich.enabled,
            edits=self._edits,
            schedule=self.private if private else self.group,
            progress=progress,
            markdown=markdown,
        )
        live.start()
        try:
            async with live.reading:
                async for part in parts:
                    live.take(part)
        except TimeoutError:
            if live.chat_gone is None:
                raise
        except asyncio.CancelledError:
            live.cancel()
            raise
        finally:
            await live.stop()
        if live.chat_gone is not None:
            progress.report(DeliveryIssue.BLOCKED)
            raise live.chat_gone
        progress.shown_text = live.reply.text
        reply, sent = live.whole_reply, False
        if self.rich is not None and update_id is not None:
            sent = await self.rich.deliver(reply, progress, update_id)
        if not sent:
            await progress.deliver(reply)


@dataclass(slots=True, kw_only=True)
class LiveReply:
    """
    One growing reply, with a task that edits it and one that shows "typing".

    With `whole` no part of a drafted reply is sent before its end.

    `reading` is entered while the reply grows; it raises TimeoutError once the chat is
    gone, and `chat_gone` is why.
    """

    draft: Draft | None = None
    whole: bool = False
    edits: TokenBucket
    schedule: EditSchedule
    progress: ReplyProgress
    markdown: bool
    reading: asyncio.Timeout = field(
        default_factory=lambda: asyncio.timeout(None), init=False
    )
    chat_gone: ChatGoneError | None = field(default=None, init=False)
    enclosures: Enclosures = field(default=Enclosures(), init=False)
    _text: str = field(default="", init=False)
    _has_text: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _ended: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _editing: asyncio.Task[None] | None = field(default=None, init=False)
    _typing: asyncio.Task[None] | None = field(default=None, init=False)

    @property
    def reply(self) -> Reply:
        """Return the reply as far as it is written."""
        return Reply(self._text, self.markdown)

    @property
    def whole_reply(self) -> Reply:
        """Return the reply with its files and buttons, after its end."""
        files, more_text = self.enclosures.files, self.enclosures.more_text
        text = "\n\n".join(filter(None, [self._text.rstrip(), more_text]))
        has_message = bool(files) or is_visible(text)
        buttons = self.enclosures.buttons if has_message else ()
        return replace(self.reply, text=text, files=files, buttons=buttons)

    def take(self, part: AnswerText | TextFormat | Enclosures) -> None:
        """Take a part of the answer."""
        if part is RETRACTED:
            self.clear()
        elif isinstance(part, Enclosures):
            self.enclosures = part
        elif isinstance(part, TextFormat):
            self.markdown = part is TextFormat.MARKDOWN
        else:
            self.append(part)

    def append(self, text: str) -> None:
        """Add text at the end."""
        self._text += text
        if self._text.strip():
            self._has_text.set()

    def clear(self) -> None:
        """Begin again without the text so far, which the next edit replaces."""
        self._text = ""

    def start(self) -> None:
        """Start both tasks in `LIVE_AFTER_SECONDS`, unless `stop` comes first."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(LIVE_AFTER_SECONDS, self._start_tasks)

    def _start_tasks(self) -> None:
        self._editing = asyncio.create_task(self._edit_repeatedly())
        self._typing = asyncio.create_task(self._type_repeatedly())

    def cancel(self) -> None:
        """Give up an edit that is under way."""
        if self._editing is not None:
            self._editing.cancel()

    async def stop(self) -> None:
        """
        End both tasks.

        An edit under way is waited for: its message would be sent twice otherwise.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._has_text.set()
        self._ended.set()
        if self.draft is not None:
            await self.draft.finish()
        if self._editing is not None and self._typing is not None:
            self._typing.cancel()
            results = await asyncio.gather(
                self._editing, self._typing, return_exceptions=True
            )
            for error in results:
                if isinstance(error, Exception):
                    self._report_bug(error)

    def _report_bug(self, error: Exception) -> None:
        """Count and log an exception; the reply itself is delivered all the same."""
        logger.error("bug in a live edit", exc_info=error)
        error_event = ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL)
        self.progress.delivery.events.emit(error_event)

    async def _edit_repeatedly(self) -> None:
        await self._has_text.wait()
        pause = self._schedule.first
        while not await self._ends_within(pause):
            if not self._budget.take():
                continue
            try:
                pause = max(await self._edit(), self._schedule.after(pause))
            except ChatGoneError as error:
                self._give_up(error)
                return
            except DeliveryError:
                # Delivery sends the whole reply, or fails for the same reason.
                return

    @property
    def _drafted(self) -> Draft | None:
        """Return the draft, if there is one and Telegram accepts it."""
        return self.draft if self.draft is not None and self.draft.usable else None

    @property
    def _schedule(self) -> EditSchedule:
        draft = self._drafted
        return self.schedule if draft is None else draft.drafts.schedule

    @property
    def _budget(self) -> TokenBucket:
        draft = self._drafted
        return self.edits if draft is None else draft.drafts.budget

    async def _type_repeatedly(self) -> None:
        refused = 0
        while not (self._ended.is_set() or self._is_visible):
            # "Typing" is only a courtesy: errors are neither logged nor counted.
            try:
                await self.progress.send_typing()
                refused = 0
            except ChatGoneError as error:
                refused += 1
                if refused >= MAX_TYPING_REFUSALS:
                    self._give_up(error)
                    return
            except (TelegramError, FloodWaitError, DeliveryError):
                pass
            await self._ends_within(TYPING_SECONDS)

    @property
    def _is_visible(self) -> bool:
        """Return whether the chat shows a text of the reply."""
        shown = self.draft is not None and self.draft.shown
        return shown or bool(self.progress.messages)

    def _give_up(self, error: ChatGoneError) -> None:
        """Stop waiting for an answer that cannot be delivered."""
        self.chat_gone = error
        if not self._ended.is_set():
            self.reading.reschedule(asyncio.get_running_loop().time())

    async def _edit(self) -> float:
        """
        Show the text so far; return how many seconds Telegram asks to wait.

        Raise DeliveryError if Telegram refuses it.
        """
        # Before the calls: one that is given up may have arrived.
        self.progress.shown_text = self.reply.text
        parts = split(self.reply)
        draft = self._drafted
        if draft is not None and self.whole and not self.progress.messages:
            # It may become one message, however long it is.
            parts = parts[-1:]
        for index, part in enumerate(parts):
            sent = index < len(self.progress.messages)
            if draft is not None and part is parts[-1] and not sent:
                seconds = await self._show_draft(draft, part)
                if draft.usable:
                    return seconds
            try:
                await self.progress.show_part(index, part)
            except (TelegramError, FloodWaitError) as error:
                if sent:
                    self.progress.report(DeliveryIssue.EDIT_LOST)
                if not isinstance(error, FloodWaitError):
                    return 0.0
                self.progress.postpone(error.seconds)
                return error.seconds
        return 0.0

    async def _show_draft(self, draft: Draft, part: MessagePart) -> float:
        """Show the last part as a draft; return how long Telegram asks to wait."""
        await self.progress.place.take()
        self.progress.draft_text = self.reply.text
        seconds = await draft.show(part)
        if draft.shown:
            self.progress.report_first_text()
        return seconds

    async def _ends_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return self._ended.is_set()
