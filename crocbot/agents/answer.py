"""
One question to an agent, heard to its end, within bounds.

    asked .......... first piece ...................... end
      | first_byte        |                              |
      |<----------------->|                              |
      |<---------------------- total ------------------->|

- Nothing of the answer may be later than its time-out, however the agent behaves.
- As long as nothing came, an agent that says so (`AgentError.retry`) is asked again:
  three times at most, after a pause that grows, within the same total.
- An answer has `MOST_CHARS` characters at most.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from crocbot.agents.agent import Agent
from crocbot.errors import AgentError
from crocbot.events import AgentCall, AgentErrorReason
from crocbot.model import Prompt, Usage
from crocbot.text import visible

MOST_CHARS = 65536
TRIES = 3
FIRST_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an agent may take, in seconds."""

    first_byte: float
    total: float


@dataclass(slots=True)
class AnswerReader:
    """
    What was heard.  `pieces` is the answer as it comes, and raises AgentError.

    `text` is all of it so far.
    """

    agent: Agent
    prompt: Prompt
    limits: Limits
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    usage: Usage = field(default=Usage(), init=False)
    _heard: list[str] = field(default_factory=list, init=False)
    _chars: int = field(default=0, init=False)
    _asked: float = field(default=0.0, init=False)
    _first: float | None = field(default=None, init=False)

    @property
    def text(self) -> str:
        """What was heard so far."""
        return "".join(self._heard)

    def fact(self, fault: AgentErrorReason | None) -> AgentCall:
        """What there is to tell about it, now that it has ended."""
        return AgentCall(
            seconds=self.clock() - self._asked,
            first_token_seconds=self._first,
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            error=fault,
        )

    async def pieces(self) -> AsyncGenerator[str, None]:
        """Ask, and hear the answer."""
        self._asked = self.clock()
        pause = FIRST_PAUSE
        deadline = asyncio.get_running_loop().time() + self.limits.total
        for tries_left in reversed(range(TRIES)):
            try:
                async with aclosing(self._once(deadline)) as heard:
                    async for piece in heard:
                        yield piece
                break
            except AgentError as error:
                wait = pause if error.wait is None else error.wait
                wait *= 1 + 0.2 * self.random()
                left = deadline - asyncio.get_running_loop().time()
                if self._heard or not (error.retry and tries_left and wait < left):
                    raise
            await self.sleep(wait)
            pause *= 2
        if not visible(self.text):
            raise AgentError("the agent's answer is empty", AgentErrorReason.EMPTY)

    async def _once(self, deadline: float) -> AsyncGenerator[str, None]:
        """Ask once."""
        loop = asyncio.get_running_loop()
        until = min(deadline, loop.time() + self.limits.first_byte)
        answer = self.agent.answer(self.prompt)
        try:
            while True:
                async with asyncio.timeout_at(until):
                    piece = await anext(answer)
                until = deadline
                if isinstance(piece, Usage):
                    self.usage = piece
                elif piece:
                    yield self._hear(piece)
                    if self._chars >= MOST_CHARS:
                        words = f"the answer has more than {MOST_CHARS} characters"
                        raise AgentError(words, AgentErrorReason.TOO_LONG)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            what = "the first piece" if until < deadline else "all of the answer"
            raise AgentError(
                f"{what} did not come in time", AgentErrorReason.TIMEOUT
            ) from error
        finally:
            await answer.aclose()

    def _hear(self, piece: str) -> str:
        if self._first is None:
            self._first = self.clock() - self._asked
        piece = piece[: MOST_CHARS - self._chars]
        self._heard.append(piece)
        self._chars += len(piece)
        return piece
