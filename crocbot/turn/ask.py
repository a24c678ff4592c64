"""
The agent's step of a turn: Message to an answer that is delivered while it grows.

    Message --> Prompt ---> agent ---> texts ---> LiveDelivery
              (sessions,                 |
               files)                    '--> AgentCall, and the memory

If the agent fails in the middle of an answer, what arrived is delivered, and then the
error is raised.  A part of an answer that stands in the chat is remembered, marked as
cut, so that the person can ask for the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field

from crocbot import log
from crocbot.agents import Agent, AnswerReader, ThinkingTags, Timeouts
from crocbot.errors import AgentError, CrocbotError, StoreError
from crocbot.events import EventListener
from crocbot.model import (
    RETRACTED,
    AnswerText,
    ErrorEvent,
    Exchange,
    Message,
    Prompt,
    Reply,
    Usage,
)
from crocbot.outgoing import Enclosures, TextFormat
from crocbot.prices import total
from crocbot.reply import LiveDelivery, ReplyProgress, shown_as_typing
from crocbot.sessions import Sessions
from crocbot.store import Write
from crocbot.text import is_visible
from crocbot.turn.accounts import Accounts
from crocbot.turn.enclosures import EnclosureReader, EnclosureReaders
from crocbot.turn.fallback import Fallback, FallbackReader
from crocbot.turn.files import FileLoader, LoadedMessage
from crocbot.turn_outcomes import AgentErrorReason

# Meanwhile the next message of the chat waits.
MAX_STOPPED_WAIT_SECONDS = 60.0
CUT_MARK = "\n\n[The answer was cut off here.]"
"""What a part of an answer ends with in the memory."""

Reader = AnswerReader | FallbackReader
Texts = AsyncGenerator[AnswerText | TextFormat, None]
logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedAnswer:
    """The part of an answer that the chat shows, and the tokens that it took."""

    message: Message
    exchange: Exchange
    usages: tuple[Usage, ...]
    progress: ReplyProgress
    markdown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStep:
    """
    Asks one agent, or its fallback; shared by all turns.

    `thinking` is None if answers are shown with what the model thinks before them.
    `stopped` has the answers that were cancelled, by update id, until it is known
    whether they were stopped or will be asked for again.
    """

    agent: Agent
    timeouts: Timeouts
    sessions: Sessions
    files: FileLoader
    live: LiveDelivery
    events: EventListener
    redactor: log.Redactor
    thinking: ThinkingTags | None = field(default_factory=ThinkingTags)
    enclosures: EnclosureReaders | None = None
    accounts: Accounts | None = None
    fallback: Fallback | None = None
    stopped: dict[int, StoppedAnswer] = field(default_factory=dict)

    async def ask(self, message: Message, progress: ReplyProgress) -> None:
        """
        Deliver the agent's answer and remember it.  Raise TurnError.

        A sentence about files that the agent does not get comes first.
        """
        async with AsyncExitStack() as stack:
            async with shown_as_typing(progress):
                loading = self.files.loaded(message, self.agent.accepts)
                loaded = await stack.enter_async_context(loading)
            if loaded.sentence is not None and not loaded.has_content:
                await progress.deliver(Reply(loaded.sentence))
            else:
                history = await self._history(message)
                reader: Reader = self._reader(loaded, history)
                if self.fallback is not None:
                    reader = self.fallback.reader(
                        self._reader(loaded, history),
                        message=message,
                        loaded=loaded,
                        history=history,
                        stack=stack,
                    )
                await self._deliver(reader, loaded, progress)

    def _reader(
        self, loaded: LoadedMessage, history: tuple[Exchange, ...]
    ) -> AnswerReader:
        return AnswerReader(
            agent=self.agent,
            prompt=Prompt(
                loaded.message,
                history if self.agent.remembers else (),
                loaded.images,
                files=loaded.files,
            ),
            timeouts=self.timeouts,
            events=self.events,
            redactor=self.redactor,
            thinking=self.thinking if self.agent.markdown else None,
        )

    async def _deliver(
        self, reader: Reader, loaded: LoadedMessage, progress: ReplyProgress
    ) -> None:
        message = loaded.message
        enclosed = None
        if self.enclosures is not None:
            enclosed = self.enclosures.reader(message.update_id)
            reader.enclosures = enclosed
        try:
            texts = _after(loaded.sentence, reader.texts())
            async with aclosing(_parts(texts, enclosed)) as parts:
                await self.live.deliver(
                    parts,
                    progress,
                    markdown=self.agent.markdown,
                    private=message.private,
                    update_id=message.update_id,
                )
        except asyncio.CancelledError:
            exchange = _cut(reader, progress.shown_text)
            self.stopped[message.update_id] = StoppedAnswer(
                message=message,
                exchange=exchange,
                usages=reader.usages,
                progress=progress,
                markdown=reader.agent.markdown,
            )
            raise
        except CrocbotError:
            await self._record(message, None, reader.usages, answered=False)
            raise
        if reader.error is None:
            descriptions = "" if enclosed is None else enclosed.descriptions
            answer = "\n".join(filter(None, [reader.text, descriptions]))
            exchange = Exchange(reader.prompt.remembered, answer)
        else:
            exchange = _cut(reader, reader.text)
        answered = reader.error is None
        await self._record(message, exchange, reader.usages, answered=answered)
        if reader.error is not None:
            raise reader.error

    async def remember_stopped(self, update_ids: Iterable[int]) -> None:
        """Remember what the chat shows of answers that will not go on."""
        for update_id in update_ids:
            stopped = self.stopped.get(update_id)
            if stopped is not None:
                await self._record(
                    stopped.message, stopped.exchange, stopped.usages, answered=False
                )

    def forget_stopped(self, update_ids: Iterable[int]) -> None:
        """Forget answers that another replica will give."""
        for update_id in update_ids:
            stopped = self.stopped.pop(update_id, None)
            if stopped is not None:
                stopped.progress.place.leave()

    async def send_drafted(self, update_ids: Iterable[int]) -> None:
        """Send as messages what only drafts show of answers that will not go on."""
        for update_id in update_ids:
            stopped = self.stopped.pop(update_id, None)
            if stopped is None:
                continue
            try:
                await self._send_drafted(stopped)
            finally:
                stopped.progress.place.leave()

    async def _send_drafted(self, stopped: StoppedAnswer) -> None:
        progress = stopped.progress
        if not progress.draft_text:
            return
        limit = min(progress.wait_left_seconds, MAX_STOPPED_WAIT_SECONDS)
        progress.wait_left_seconds = limit
        try:
            await progress.deliver(Reply(progress.draft_text, stopped.markdown))
        except CrocbotError as error:
            logger.warning("part of an answer not sent", error=str(error))

    def will_go_on(self, update_id: int) -> bool:
        """Return whether `send_drafted` may send the end of a cancelled answer."""
        task = asyncio.current_task()
        # A CancelledError of the agent's own is a bug, after which nothing is sent.
        cancelled = task is not None and task.cancelling() > 0
        return cancelled and update_id in self.stopped

    @property
    def _remembers(self) -> bool:
        """Return whether one of the agents needs the history."""
        fallback = self.fallback is not None and self.fallback.agent.remembers
        return self.agent.remembers or fallback

    async def _history(self, message: Message) -> tuple[Exchange, ...]:
        """Return the history, empty if no agent needs it or it cannot be read."""
        if self._remembers:
            try:
                return await self.sessions.history(message.chat)
            except StoreError as error:
                self._report_store_error("conversation history cannot be read", error)
        return ()

    async def _record(
        self,
        message: Message,
        exchange: Exchange | None,
        usages: Sequence[Usage],
        *,
        answered: bool,
    ) -> None:
        """
        Record what an answer took, and remember the exchange, in one step.

        It is not remembered if no agent has a memory, or if it has no answer.
        """
        accounts, counts = self.accounts, list[Write]()
        try:
            if accounts is not None:
                counts = accounts.counts(message, usages, answered=answered)
            if self._remembers and exchange is not None and exchange.answer:
                usage = total(usages)
                await self.sessions.remember(message.chat, exchange, usage, counts)
            elif accounts is not None:
                await accounts.record(counts)
            if accounts is not None:
                await accounts.spending.trim()
        except StoreError as error:
            self._report_store_error("an answer cannot be recorded", error)

    def _report_store_error(self, event: str, error: StoreError) -> None:
        """Log and count an error; the answer stands, if without a history."""
        logger.error(event, error=str(error))
        self.events.emit(ErrorEvent(error.type, error.severity))


async def _after(sentence: str | None, texts: Texts) -> Texts:
    """Yield a sentence, if there is one, and then the answer as its own paragraph."""
    async with aclosing(texts):
        first = None if sentence is None else f"{sentence}\n\n"
        if first is not None:
            yield first
        async for text in texts:
            yield text
            if text is RETRACTED and first is not None:
                yield first


async def _parts(
    texts: Texts, enclosed: EnclosureReader | None
) -> AsyncGenerator[AnswerText | TextFormat | Enclosures, None]:
    """Yield the texts of an answer, and then what else it has."""
    async with aclosing(texts):
        async for text in texts:
            yield text
    if enclosed is not None:
        yield enclosed.result()


def _cut(reader: Reader, text: str) -> Exchange:
    """
    Return an exchange whose answer has only this part.

    A filter that ended the answer would refuse it in the history as well: none of it
    is kept then.
    """
    error = reader.error
    filtered = (
        isinstance(error, AgentError) and error.reason is AgentErrorReason.REFUSED
    )
    keep = is_visible(text) and not filtered
    answer = f"{text}{CUT_MARK}" if keep else ""
    return Exchange(reader.prompt.remembered, answer)
