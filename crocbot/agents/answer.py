"""
The interface of an agent, and the bounded reading of its answers.

    start .......... first part ........................ end
      | first_byte        |                              |
      |<----------------->|                              |
      |<---------------------- total ------------------->|

- Each part of the answer arrives before its timeout, or reading ends.
- An error with `retry` is retried as long as no text arrived: at most `MAX_TRIES`
  calls, with back-off, within the total timeout.
- An answer has at most `MAX_CHARS` characters; a longer one is cut there.
- Secrets in the answer are replaced before any other stage gets them.

`rules.py` has the other rules for every agent.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from crocbot.agents.rules import StreamRedactor, Timeouts
from crocbot.backoff import Backoff
from crocbot.errors import AgentError
from crocbot.events import AgentCall, AgentErrorReason, EventListener
from crocbot.log import Redactor
from crocbot.model import (
    Clock,
    Prompt,
    RandomFloat,
    Sleep,
    Usage,
)
from crocbot.text import is_visible

MAX_CHARS = 65_536
MAX_TRIES = 3
NO_SECRETS = Redactor(())

Answer = AsyncGenerator[str | Usage, None]
"""
The text of an answer, part by part as it is written, and its token usage.

An empty text shows that the agent is alive.  Usage is optional, comes once and last.
"""


class Agent(Protocol):
    """
    Answers prompts.

    `name` is the value of CROCBOT_AGENT.  `markdown` is True if its answers are in
    Markdown, `remembers` if it needs the chat's history and images in the prompt.
    """

    name: str
    markdown: bool
    remembers: bool

    def answer(self, prompt: Prompt) -> Answer:
        """Answer one prompt.  Raise AgentError."""

    async def check(self) -> str:
        """Return one line about a successful test of the agent, or raise AgentError."""

    async def close(self) -> None:
        """Release connections."""


@dataclass(slots=True, kw_only=True)
class AnswerReader:
    """
    Reads the answer to one prompt.

    After `texts` has ended, `text` and `usage` are what arrived, and `error` is None if
    that is the whole answer.
    """

    agent: Agent
    prompt: Prompt
    timeouts: Timeouts
    events: EventListener
    redactor: Redactor = NO_SECRETS
    clock: Clock = time.monotonic
    sleep: Sleep = asyncio.sleep
    random: RandomFloat = random.random
    usage: Usage = field(default=Usage(), init=False)
    error: Exception | None = field(default=None, init=False)
    _texts: list[str] = field(default_factory=list, init=False)
    _chars: int = field(default=0, init=False)
    _first_token: float | None = field(default=None, init=False)

    @property
    def text(self) -> str:
        """Return the text that has arrived."""
        return "".join(self._texts)

    async def texts(self) -> AsyncGenerator[str, None]:
        """Yield the text as it arrives; an error ends it and is kept in `error`."""
        start = self.clock()
        try:
            async with aclosing(self._redacted()) as texts:
                async for text in texts:
                    if self._first_token is None:
                        self._first_token = self.clock() - start
                    if text:
                        self._texts.append(text)
                        yield text
            if not is_visible(self.text):
                raise AgentError("the agent's answer is empty", AgentErrorReason.EMPTY)
        except Exception as error:
            self.error = error
        self.events.emit(
            AgentCall(
                seconds=self.clock() - start,
                first_token_seconds=self._first_token,
                input_tokens=self.usage.input_tokens,
                output_tokens=self.usage.output_tokens,
                error=_reason(self.error),
            )
        )

    async def _redacted(self) -> AsyncGenerator[str, None]:
        """Yield the text without secrets; a part is empty while one may begin."""
        redactor = StreamRedactor(self.redactor)
        failure: Exception | None = None
        async with aclosing(self._with_retries()) as parts:
            try:
                async for part in parts:
                    yield redactor.feed(part)
            except Exception as error:
                failure = error
        yield redactor.flush()
        if failure is not None:
            raise failure

    async def _with_retries(self) -> AsyncGenerator[str, None]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeouts.total
        backoff = Backoff(first=0.5, factor=2.0, random=self.random)
        for tries_left in reversed(range(MAX_TRIES)):
            try:
                async with aclosing(self._one_call(deadline)) as texts:
                    async for text in texts:
                        yield text
                return
            except AgentError as error:
                pause = backoff.next_pause() if error.wait is None else error.wait
                in_time = loop.time() + pause < deadline
                if self._chars or not (error.retry and tries_left and in_time):
                    raise
            await self.sleep(pause)

    async def _one_call(self, deadline: float) -> AsyncGenerator[str, None]:
        loop = asyncio.get_running_loop()
        until = min(deadline, loop.time() + self.timeouts.first_byte)
        answer = self.agent.answer(self.prompt)
        try:
            while True:
                async with asyncio.timeout_at(until):
                    part = await anext(answer)
                until = deadline
                if isinstance(part, Usage):
                    self.usage = part
                elif part:
                    fitting = part[: MAX_CHARS - self._chars]
                    self._chars += len(fitting)
                    if fitting:
                        yield fitting
                    if len(fitting) < len(part):
                        raise AgentError(
                            f"the answer has more than {MAX_CHARS} characters",
                            AgentErrorReason.TOO_LONG,
                        )
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            what = "the first part" if until < deadline else "all of the answer"
            raise AgentError(
                f"{what} did not arrive in time", AgentErrorReason.TIMEOUT
            ) from error
        finally:
            await answer.aclose()


def _reason(error: Exception | None) -> AgentErrorReason | None:
    if error is None:
        return None
    return error.reason if isinstance(error, AgentError) else AgentErrorReason.OTHER
