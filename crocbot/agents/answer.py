"""
The interface of an agent, and the bounded reading of its answers.

    start .......... first part ........................ end
      | first_byte        |                              |
      |<----------------->|                              |
      |<---------------------- total ------------------->|

- Each part of the answer arrives before its timeout, or reading ends.
- An error with `retry` is retried as long as no text arrived: at most `MAX_TRIES`
  calls, with back-off, within the total timeout.  If a server asks for pauses of more
  than `max_wait_seconds` together, the error is reported at once.
- A prompt that is too long is asked again with half of its history, then without.
- The thinking of a model is left out, if `thinking` is given.
- An answer has at most `MAX_CHARS` characters; a longer one is cut there.
- Secrets in the answer are replaced before any other stage gets them.
- Files and buttons go to `enclosures` as they arrive.

`rules.py` has the other rules for every agent.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import Flag, auto
from typing import Protocol

from crocbot import log
from crocbot.agents.thinking import ThinkingFilter, ThinkingTags
from crocbot.backoff import Backoff
from crocbot.errors import AgentError
from crocbot.events import AgentCall, EventListener
from crocbot.log import Redactor
from crocbot.model import (
    RETRACTED,
    AnswerText,
    Clock,
    Prompt,
    RandomFloat,
    Sleep,
    Usage,
)
from crocbot.outgoing import AgentButtons, AgentFile
from crocbot.text import is_visible
from crocbot.turn_outcomes import AgentErrorReason

MAX_CHARS = 65_536
# Of the name of a file, at its end, which has the extension; Telegram gets fewer.
MAX_NAME_CHARS = 1000
MAX_TRIES = 3
# A minute is what limits per minute ask for; people wait no longer without a word.
MAX_WAIT_SECONDS = 60.0
NO_SECRETS = Redactor(())

logger = log.logger(__name__)

Answer = AsyncGenerator[str | Usage | AgentFile | AgentButtons, None]
"""
The text of an answer, part by part as it is written, and its token usage.

An empty text shows that the agent is alive.  Usage is optional, comes once and last.
Files and buttons come anywhere.
"""


class Accepts(Flag):
    """The shapes in which an agent takes files: WORDS are those of text documents."""

    NOTHING = 0
    IMAGES = auto()
    FILES = auto()
    WORDS = auto()


class EnclosureSink(Protocol):
    """Takes what an answer has besides its text, as it arrives."""

    async def add(self, enclosure: AgentFile | AgentButtons) -> None:
        """Take a file or buttons; secrets have been replaced in texts."""


class _NoEnclosures:
    """Drops files and buttons."""

    async def add(self, enclosure: AgentFile | AgentButtons) -> None:
        pass


NO_ENCLOSURES: EnclosureSink = _NoEnclosures()


class Agent(Protocol):
    """
    Answers prompts.

    `name` is the value of CROCBOT_AGENT.  `markdown` is True if its answers are in
    Markdown, `remembers` if it needs the chat's history in the prompt, `accepts` what
    it needs of the files.
    """

    name: str
    markdown: bool
    remembers: bool
    accepts: Accepts

    def answer(self, prompt: Prompt) -> Answer:
        """Answer one prompt.  Raise AgentError."""

    async def check(self) -> str:
        """
        Return one line about a successful test of the agent.

        Raise AgentError, or UnconfirmedError if the agent may answer nevertheless.
        """

    async def close(self) -> None:
        """Release connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """
    The timeouts of an answer, in seconds.

    `first_byte` is the longest time from each call of the agent to the first part of
    its answer, `total` from the first call to the end, `first_word` from the first call
    to a visible character, a file or buttons.
    """

    first_byte: float
    total: float
    first_word: float = float("inf")


@dataclass(slots=True, kw_only=True)
class AnswerReader:
    """
    Reads the answer to one prompt.

    After `texts` has ended, `text` and `usage` are what arrived, and `error` is None if
    that is the whole answer.  `prompt` is the last one that was asked.  Without
    `thinking` the agent's text is taken as it is.
    """

    agent: Agent
    prompt: Prompt
    timeouts: Timeouts
    events: EventListener
    redactor: Redactor = NO_SECRETS
    thinking: ThinkingTags | None = None
    enclosures: EnclosureSink = NO_ENCLOSURES
    max_wait_seconds: float = MAX_WAIT_SECONDS
    clock: Clock = time.monotonic
    sleep: Sleep = asyncio.sleep
    random: RandomFloat = random.random
    usage: Usage = field(default=Usage(), init=False)
    error: Exception | None = field(default=None, init=False)
    _texts: list[str] = field(default_factory=list, init=False)
    _chars: int = field(default=0, init=False)
    _first_token: float | None = field(default=None, init=False)
    _halved: bool = field(default=False, init=False)
    _has_file: bool = field(default=False, init=False)
    _has_word: bool = field(default=False, init=False)

    @property
    def text(self) -> str:
        """Return the text that has arrived."""
        return "".join(self._texts)

    @property
    def usages(self) -> tuple[Usage, ...]:
        """Return the tokens of each agent that was asked: here of one."""
        return (self.usage,)

    async def texts(self) -> AsyncGenerator[AnswerText, None]:
        """Yield the text as it arrives; an error ends it and is kept in `error`."""
        start = self.clock()
        try:
            async with aclosing(self._redacted()) as texts:
                async for text in texts:
                    self._record(text, self.clock() - start)
                    if text:
                        yield text
            if not (is_visible(self.text) or self._has_file):
                raise AgentError("the agent's answer is empty", AgentErrorReason.EMPTY)
        except Exception as error:
            self.error = error
        finally:
            # Also of an answer that was stopped, which took its time and tokens.
            self._emit(self.clock() - start)

    def _record(self, text: AnswerText, seconds: float) -> None:
        if text is RETRACTED:
            self._texts.clear()
            self._first_token, self._has_word = None, False
            return
        if self._first_token is None:
            self._first_token = seconds
        if text:
            self._texts.append(text)
            self._has_word = self._has_word or is_visible(text)

    async def _redacted(self) -> AsyncGenerator[AnswerText, None]:
        """Yield the text without secrets; a part is empty while one may begin."""
        redactor = StreamRedactor(self.redactor)
        failure: Exception | None = None
        async with aclosing(self._with_retries()) as parts:
            try:
                async for part in parts:
                    if part is RETRACTED:
                        redactor = StreamRedactor(self.redactor)
                        yield part
                    else:
                        yield redactor.feed(part)
            except Exception as error:
                failure = error
        yield redactor.flush()
        if failure is not None:
            raise failure

    def _emit(self, seconds: float) -> None:
        self.events.emit(
            AgentCall(
                seconds=seconds,
                first_token_seconds=self._first_token,
                input_tokens=self.usage.input_tokens,
                output_tokens=self.usage.output_tokens,
                error=_reason(self.error),
            )
        )

    async def _with_retries(self) -> AsyncGenerator[AnswerText, None]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeouts.total
        backoff = Backoff(first=0.5, factor=2.0, random=self.random)
        tries, waited = 1, 0.0
        while True:
            try:
                async with aclosing(self._one_answer(deadline)) as texts:
                    async for text in texts:
                        yield text
                return
            except AgentError as error:
                if self._chars or self._has_file:
                    raise
                if self._shorten_history(error):
                    continue
                if error.reason is AgentErrorReason.CUT_SHORT:
                    text = f"{error}, before its answer began"
                    raise AgentError(text, AgentErrorReason.EMPTY) from error
                pause = backoff.next_pause() if error.wait is None else error.wait
                waited += pause
                in_time = (
                    loop.time() + pause < deadline and waited <= self.max_wait_seconds
                )
                if not (error.retry and tries < MAX_TRIES and in_time):
                    raise
            tries += 1
            await self.sleep(pause)

    def _shorten_history(self, error: AgentError) -> bool:
        """Leave out half of the history if it may be too long, then all of it."""
        history = self.prompt.history
        if not (error.may_be_history and history):
            return False
        first_kept = len(history) if self._halved else (len(history) + 1) // 2
        self._halved = True
        self.prompt = replace(self.prompt, history=history[first_kept:])
        logger.warning(
            "the prompt may be too long, asking again with less history",
            exchanges=len(history),
            left=len(self.prompt.history),
            error=str(error),
        )
        return True

    async def _one_answer(self, deadline: float) -> AsyncGenerator[AnswerText, None]:
        """Yield the text of one call without thinking, up to the longest answer."""
        thinking = None if self.thinking is None else self.thinking.filter()
        async with aclosing(self._one_call(deadline)) as parts:
            try:
                async for part in parts:
                    texts = [part] if thinking is None else thinking.feed(part)
                    for text in self._fitting(texts):
                        yield text
            except AgentError:
                for text in self._fitting(_rest(thinking, complete=False)):
                    yield text
                raise
            for text in self._fitting(_rest(thinking, complete=True)):
                yield text

    def _fitting(self, texts: Iterable[AnswerText]) -> Iterator[AnswerText]:
        """Yield what fits into the longest answer.  Raise AgentError at its end."""
        for text in texts:
            if text is RETRACTED:
                self._chars = 0
                yield text
                continue
            fitting = text[: MAX_CHARS - self._chars]
            self._chars += len(fitting)
            if fitting:
                yield fitting
            if len(fitting) < len(text):
                raise _too_long()

    async def _enclose(self, part: AgentFile | AgentButtons) -> None:
        """
        Pass on a file or buttons; a caption is a part of the answer's characters.

        Raise AgentError at their end.
        """
        if isinstance(part, AgentButtons):
            self._has_word = True
            await self.enclosures.add(part)
            return
        self._has_file = True
        file = _redacted_file(part, self.redactor)
        fitting = file.caption[: MAX_CHARS - self._chars]
        self._chars += len(fitting)
        await self.enclosures.add(replace(file, caption=fitting))
        if len(fitting) < len(file.caption):
            raise _too_long()

    async def _one_call(self, deadline: float) -> AsyncGenerator[str, None]:
        """Yield the text of one call, each part in time; keep its token usage."""
        loop = asyncio.get_running_loop()
        word_by = deadline - max(0.0, self.timeouts.total - self.timeouts.first_word)
        until = min(word_by, loop.time() + self.timeouts.first_byte)
        answer = self.agent.answer(self.prompt)
        try:
            while True:
                async with asyncio.timeout_at(until):
                    part = await anext(answer)
                until = deadline if self._has_word or self._has_file else word_by
                if isinstance(part, Usage):
                    self.usage = part
                elif isinstance(part, AgentFile | AgentButtons):
                    await self._enclose(part)
                elif part:
                    yield part
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            what = "the first part" if until < deadline else "all of the answer"
            raise AgentError(
                f"{what} did not arrive in time", AgentErrorReason.TIMEOUT
            ) from error
        finally:
            await answer.aclose()


def _too_long() -> AgentError:
    return AgentError(
        f"the answer has more than {MAX_CHARS} characters", AgentErrorReason.TOO_LONG
    )


def _redacted_file(file: AgentFile, redactor: Redactor) -> AgentFile:
    """Return a file without secrets in what is shown of it; its content is its own."""
    return replace(
        file,
        name=redactor.redact(file.name)[-MAX_NAME_CHARS:],
        caption=redactor.redact(file.caption),
    )


def _rest(thinking: ThinkingFilter | None, *, complete: bool) -> list[AnswerText]:
    return [] if thinking is None else [thinking.finish(complete=complete)]


def _reason(error: Exception | None) -> AgentErrorReason | None:
    if error is None:
        return None
    return error.reason if isinstance(error, AgentError) else AgentErrorReason.OTHER


class StreamRedactor:
    """Replaces secrets in a text that arrives in parts."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = ""

    def feed(self, part: str) -> str:
        """Return the text so far without its end, if a secret may begin there."""
        text = self._held + part
        end = self._redactor.safe_end(text)
        self._held = text[end:]
        return self._redactor.redact(text[:end])

    def flush(self) -> str:
        """Return the rest of the text."""
        text, self._held = self._held, ""
        return self._redactor.redact(text)
