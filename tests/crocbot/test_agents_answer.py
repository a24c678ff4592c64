"""An agent is heard within bounds, however it behaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

import pytest

from crocbot.agents.answer import MOST_CHARS, AnswerReader, Limits
from crocbot.errors import AgentError
from crocbot.events import AgentErrorReason
from crocbot.model import ChatThread, Message, MessageType, Prompt, Usage

QUESTION = Prompt(
    Message(1, ChatThread(7), 1, 7, True, MessageType.TEXT, "hi", None, 0.0)
)
PATIENT = Limits(60.0, 60.0)
BUSY = AgentError("busy", AgentErrorReason.RATE_LIMITED, retry=True)
BROKEN = AgentError("broken", AgentErrorReason.FAILED)
Script = Callable[[int], AsyncGenerator[Any, None]]


class Scripted:
    """An agent that follows a script, which is told how often it was asked."""

    name, markdown, remembers = "scripted", True, True

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked = 0
        self.closed = 0

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Any, None]:
        """Follow the script."""
        assert prompt is QUESTION
        self.asked += 1
        try:
            async for piece in self.script(self.asked):
                yield piece
        finally:
            self.closed += 1


def hear(
    script: Script, limits: Limits = PATIENT
) -> tuple[AnswerReader, list[str], AgentError | None, list[float]]:
    """Hear an answer; pauses take no time."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    agent = Scripted(script)
    hearing = AnswerReader(agent, QUESTION, limits, sleep=sleep, random=lambda: 0.0)
    heard: list[str] = []

    async def run() -> AgentError | None:
        try:
            async for piece in hearing.pieces():
                heard.append(piece)
        except AgentError as error:
            return error
        return None

    error = asyncio.run(asyncio.wait_for(run(), 30))
    assert agent.closed == agent.asked
    return hearing, heard, error, slept


def saying(*pieces: Any) -> Script:
    """A script: say these pieces, or raise them."""

    async def script(_: int) -> AsyncGenerator[Any, None]:
        for piece in pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, Awaitable):
                await piece
            yield piece

    return script


def test_an_answer() -> None:
    """Pieces come as they are said; tokens and times are in the fact."""
    hearing, heard, error, _ = hear(saying("", "Hel", "lo", Usage(3, 2)))
    fact = hearing.fact(None)

    assert (heard, hearing.text, error) == (["Hel", "lo"], "Hello", None)
    assert (fact.input_tokens, fact.output_tokens, fact.error) == (3, 2, None)
    assert fact.first_token_seconds is not None
    assert 0 <= fact.first_token_seconds <= fact.seconds


@pytest.mark.parametrize("pieces", [(), ("", " \n\u200b"), (Usage(1, 0),)])
def test_an_empty_answer(pieces: tuple[Any, ...]) -> None:
    """An answer without words is a fault."""
    _, _, error, _ = hear(saying(*pieces))

    assert error is not None
    assert error.fault is AgentErrorReason.EMPTY


async def silence(_: int) -> AsyncGenerator[Any, None]:
    """Say nothing, for ever."""
    await asyncio.Event().wait()
    yield ""


async def endless(_: int) -> AsyncGenerator[Any, None]:
    """Say something again and again, for ever."""
    while True:
        yield "."
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("script", "limits", "words"),
    [
        (silence, Limits(0.05, 60), "the first piece did not come in time"),
        (silence, Limits(60, 0.05), "all of the answer did not come in time"),
        (endless, Limits(60, 0.05), "all of the answer did not come in time"),
    ],
)
def test_time_outs(script: Script, limits: Limits, words: str) -> None:
    """Whatever does not come in time ends the answer."""
    _, _, error, slept = hear(script, limits)

    assert error is not None
    assert (error.fault, str(error), slept) == (AgentErrorReason.TIMEOUT, words, [])


def test_a_sign_of_life() -> None:
    """After an empty piece the time-out for the first one is over."""

    async def thinking(_: int) -> AsyncGenerator[Any, None]:
        yield ""
        await asyncio.sleep(0.2)
        yield "done"

    _, heard, error, _ = hear(thinking, Limits(0.1, 60))

    assert (heard, error) == (["done"], None)


def test_too_long() -> None:
    """An answer without end is cut."""
    hearing, _, error, _ = hear(saying(*["x" * 1000] * 100))

    assert error is not None
    assert error.fault is AgentErrorReason.TOO_LONG
    assert hearing.text == "x" * MOST_CHARS


def test_asked_again() -> None:
    """What says that it is safe is asked again, after pauses that grow."""

    async def script(asked: int) -> AsyncGenerator[Any, None]:
        if asked < 3:
            raise BUSY
        yield "at last"

    hearing, heard, error, slept = hear(script)

    assert (heard, error, slept) == (["at last"], None, [0.5, 1.0])
    assert hearing.agent.asked == 3


def test_asked_three_times_at_most() -> None:
    """Somebody who is always busy is left alone in the end."""
    hearing, _, error, slept = hear(saying(BUSY))

    assert error is BUSY
    assert (hearing.agent.asked, slept) == (3, [0.5, 1.0])


@pytest.mark.parametrize(
    ("script", "limits"),
    [
        (saying(BROKEN), PATIENT),
        (saying("some words", BUSY), PATIENT),
        (saying(AgentError("later", retry=True, wait=99.0)), PATIENT),
    ],
)
def test_not_asked_again(script: Script, limits: Limits) -> None:
    """Not when it is not safe, when something came already, or without the time."""
    hearing, _, error, slept = hear(script, limits)

    assert error is not None
    assert (hearing.agent.asked, slept) == (1, [])


def test_a_wait_that_was_asked_for() -> None:
    """Who says when to come back is asked then."""
    busy = AgentError("busy", AgentErrorReason.RATE_LIMITED, retry=True, wait=7.0)
    _, _, _, slept = hear(saying(busy))

    assert slept == [7.0, 7.0]


def test_cancelled() -> None:
    """Whoever listens no longer is let go of at once."""

    async def scene() -> int:
        agent = Scripted(endless)
        hearing = AnswerReader(agent, QUESTION, PATIENT)
        begun = asyncio.Event()

        async def listen() -> None:
            async for _ in hearing.pieces():
                begun.set()

        listening = asyncio.create_task(listen())
        await begun.wait()
        listening.cancel()
        await asyncio.wait([listening])
        return agent.closed

    assert asyncio.run(scene()) == 1
