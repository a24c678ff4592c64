"""
The fallback agent: asked when the first one fails before its first word.

    first agent:  error, time-out, refused, empty --> fallback agent, same history
                  a word, a file or a button      --> the answer is the first agent's,
                                                      also if it fails after that

- A text without anything visible is no word: it is kept back until there is one.
- Both share the total time-out: half of it is for the first word of the first agent, or
  its time for the first part if that is more.  It is not retried after long pauses.
- What the first agent's error tells the operator is logged and counted, also if the
  fallback answers.
- A cancelled answer (/stop, a stop of the gateway) asks no other agent.
- The files are loaded again if the agents accept different ones.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace

from crocbot import log
from crocbot.agent_events import AgentFallback
from crocbot.agents import Agent, AnswerReader, ThinkingTags, Timeouts
from crocbot.agents.answer import NO_ENCLOSURES, EnclosureSink
from crocbot.content import SPOKEN_TYPES, Attachment
from crocbot.errors import OperatorError, TurnError
from crocbot.events import (
    EventListener,
)
from crocbot.model import (
    RETRACTED,
    AnswerText,
    Clock,
    ErrorEvent,
    ErrorType,
    Exchange,
    Message,
    Prompt,
    Severity,
    Usage,
)
from crocbot.outgoing import AgentButtons, AgentFile, TextFormat
from crocbot.text import is_visible
from crocbot.turn.files import (
    NOT_TRANSCRIBED_NOTE,
    SILENT_NOTE,
    SPOKEN_NOTE,
    FileLoader,
    LoadedMessage,
)
from crocbot.turn_outcomes import FallbackOutcome

# The pauses that a server may ask for before its fallback is asked, together.
MAX_FIRST_WAIT_SECONDS = 5.0
# With less time left the fallback is not asked.
MIN_SECONDS = 1.0
TRANSCRIBED_NOTES = frozenset({SPOKEN_NOTE, SILENT_NOTE, NOT_TRANSCRIBED_NOTE})

logger = log.logger(__name__)


@dataclass(slots=True, kw_only=True)
class Fallback:
    """
    The fallback agent and the state of the first one; shared by all turns.

    `failing_since` is when the first agent began to fail, on the monotonic `clock`;
    None while it answers.
    """

    agent: Agent
    files: FileLoader
    events: EventListener
    thinking: ThinkingTags | None = None
    clock: Clock = time.monotonic
    failing_since: float | None = field(default=None, init=False)

    def reader(
        self,
        first: AnswerReader,
        *,
        message: Message,
        loaded: LoadedMessage,
        history: tuple[Exchange, ...],
        stack: AsyncExitStack,
    ) -> FallbackReader:
        """
        Return a reader for the answer of `first`, or else of the fallback agent.

        `message` is the one that `loaded` was loaded from, in the context `stack`.
        """
        first.max_wait_seconds = MAX_FIRST_WAIT_SECONDS
        limits = first.timeouts
        first_word = max(limits.first_byte, limits.total / 2)
        first.timeouts = replace(limits, first_word=first_word)
        return FallbackReader(
            rules=self,
            first=first,
            message=message,
            loaded=loaded,
            history=history,
            stack=stack,
        )

    def record(self, error: Exception | None) -> None:
        """Record that the first agent answered, or failed before its first word."""
        if error is None:
            self.failing_since = None
        elif self.failing_since is None:
            self.failing_since = self.clock()


@dataclass(slots=True, kw_only=True)
class _WatchedSink:
    """Passes on files and buttons; knows whether there was one."""

    sink: EnclosureSink
    used: bool = False

    async def add(self, enclosure: AgentFile | AgentButtons) -> None:
        """Pass on a file or buttons."""
        self.used = True
        await self.sink.add(enclosure)


@dataclass(slots=True, kw_only=True)
class FallbackReader:
    """Reads the answer to one prompt like an AnswerReader, of one of two agents."""

    rules: Fallback
    first: AnswerReader
    message: Message
    loaded: LoadedMessage
    history: tuple[Exchange, ...]
    stack: AsyncExitStack
    _sink: _WatchedSink = field(
        default_factory=lambda: _WatchedSink(sink=NO_ENCLOSURES), init=False
    )
    _second: AnswerReader | None = field(default=None, init=False)
    _began: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.enclosures = self.first.enclosures

    @property
    def enclosures(self) -> EnclosureSink:
        """Where files and buttons go."""
        return self._sink.sink

    @enclosures.setter
    def enclosures(self, sink: EnclosureSink) -> None:
        self._sink.sink = sink
        self.first.enclosures = self._sink

    @property
    def agent(self) -> Agent:
        """Return the agent whose answer it is."""
        return self._reader.agent

    @property
    def prompt(self) -> Prompt:
        """Return the last prompt that was asked."""
        return self._reader.prompt

    @property
    def text(self) -> str:
        """Return the text that has arrived."""
        return self._reader.text

    @property
    def error(self) -> Exception | None:
        """Return why the answer is not whole."""
        return self._reader.error

    @property
    def usages(self) -> tuple[Usage, ...]:
        """Return the tokens of each agent that was asked."""
        first = self.first.usages
        return first if self._second is None else (*first, *self._second.usages)

    @property
    def _reader(self) -> AnswerReader:
        return self._second or self.first

    async def texts(self) -> AsyncGenerator[AnswerText | TextFormat, None]:
        """Yield the text as it arrives; an error ends it and is kept in `error`."""
        start = asyncio.get_running_loop().time()
        async with aclosing(self._first_texts()) as texts:
            async for text in texts:
                yield text
        error = self.first.error
        began = self._began or self._sink.used
        if not (began and error):
            self.rules.record(error)
        if error is None or began:
            return
        seconds = asyncio.get_running_loop().time() - start
        left = self.first.timeouts.total - seconds
        if left < MIN_SECONDS:
            self.rules.events.emit(AgentFallback(FallbackOutcome.NO_TIME))
            return
        self._report(error)
        async with aclosing(self._second_texts(left)) as second:
            async for each in second:
                yield each

    async def _first_texts(self) -> AsyncGenerator[AnswerText, None]:
        """Yield the first agent's texts once they have a visible character."""
        held = ""
        async with aclosing(self.first.texts()) as texts:
            async for text in texts:
                if text is RETRACTED:
                    # What was shown was thinking, which is no word.
                    if self._began:
                        yield text
                    self._began, held = False, ""
                elif self._began:
                    yield text
                elif is_visible(held + text):
                    self._began = True
                    yield held + text
                else:
                    held += text

    async def _second_texts(
        self, seconds: float
    ) -> AsyncGenerator[AnswerText | TextFormat, None]:
        """Yield the fallback's texts; count what became of it, however it ends."""
        outcome, agent = FallbackOutcome.STOPPED, self.rules.agent
        try:
            loaded = await self._load_again()
            if loaded.sentence is not None and not loaded.has_content:
                # Nothing is left that this agent could answer.
                outcome = FallbackOutcome.FAILED
                return
            self._second = self._second_reader(loaded, seconds)
            if agent.markdown != self.first.agent.markdown:
                yield TextFormat.MARKDOWN if agent.markdown else TextFormat.PLAIN
            sentence = self._new_sentence(loaded)
            if sentence:
                yield sentence
            async with aclosing(self._second.texts()) as texts:
                async for text in texts:
                    yield text
                    if text is RETRACTED and sentence:
                        yield sentence
            error = self._second.error
            outcome = FallbackOutcome.FAILED if error else FallbackOutcome.ANSWERED
        finally:
            self.rules.events.emit(AgentFallback(outcome))

    def _second_reader(self, loaded: LoadedMessage, seconds: float) -> AnswerReader:
        agent, first = self.rules.agent, self.first
        return AnswerReader(
            agent=agent,
            prompt=Prompt(
                loaded.message,
                self.history if agent.remembers else (),
                loaded.images,
                files=loaded.files,
            ),
            timeouts=Timeouts(first_byte=first.timeouts.first_byte, total=seconds),
            events=first.events,
            redactor=first.redactor,
            thinking=self.rules.thinking if agent.markdown else None,
            enclosures=self._sink,
        )

    async def _load_again(self) -> LoadedMessage:
        """Return the message with the files that the fallback agent accepts."""
        accepts, quoted = self.rules.agent.accepts, self.message.context.quoted
        attachments = [
            *self.message.attachments,
            *(quoted.attachments if quoted else ()),
        ]
        if accepts == self.first.agent.accepts or not attachments:
            return self.loaded
        # Turns that kept files and waited for space could wait for each other for ever.
        self.first.prompt = replace(self.first.prompt, images=(), files=())
        first, self.loaded = self.loaded, replace(self.loaded, images=(), files=())
        await self.stack.aclose()
        message = transcribed(self.message, first.message)
        loading = self.rules.files.loaded(message, accepts)
        return await self.stack.enter_async_context(loading)

    def _new_sentence(self, loaded: LoadedMessage) -> str:
        """Return the sentence about files that only this agent does not get."""
        known = (self.loaded.sentence or "").splitlines()
        lines = (loaded.sentence or "").splitlines()
        new = "\n".join(line for line in lines if line not in known)
        return f"{new}\n\n" if new else ""

    def _report(self, error: Exception) -> None:
        """Log and count the error of the first agent, whatever the fallback does."""
        event = ErrorEvent(ErrorType.AGENT, Severity.CRITICAL)
        if isinstance(error, TurnError):
            event = ErrorEvent(error.type, error.severity)
        elif not isinstance(error, OperatorError):
            event = ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL)
            logger.error("bug in the agent", exc_info=error)
        serious = event.severity is Severity.CRITICAL
        log_it = logger.error if serious else logger.warning
        log_it(
            "the agent failed, asking the fallback agent",
            update=self.message.update_id,
            agent=self.first.agent.name,
            fallback=self.rules.agent.name,
            error=str(error),
        )
        self.rules.events.emit(event)


def transcribed(original: Message, loaded: Message) -> Message:
    """
    Return a message before its files were loaded, with the words of its recordings.

    They were turned into words for the first agent, which need not be done again.
    """
    quoted, loaded_quoted = original.context.quoted, loaded.context.quoted
    context = original.context
    if quoted is not None and loaded_quoted is not None:
        attachments = _transcribed(quoted.attachments, loaded_quoted.attachments)
        context = replace(context, quoted=replace(quoted, attachments=attachments))
    return replace(
        original,
        text=loaded.text,
        spoken=loaded.spoken,
        attachments=_transcribed(original.attachments, loaded.attachments),
        context=context,
    )


def _transcribed(
    originals: tuple[Attachment, ...], loaded: tuple[Attachment, ...]
) -> tuple[Attachment, ...]:
    return tuple(
        after
        if after.type in SPOKEN_TYPES
        and (after.words or after.note in TRANSCRIBED_NOTES)
        else before
        for before, after in zip(originals, loaded, strict=True)
    )
