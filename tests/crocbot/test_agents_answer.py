"""Bounded reading of answers, however an agent behaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from crocbot.agents import Accepts, AnswerReader, ThinkingTags, Timeouts
from crocbot.agents.answer import MAX_CHARS, MAX_NAME_CHARS
from crocbot.errors import AgentError
from crocbot.model import Exchange, Prompt, Usage
from crocbot.outgoing import AgentButtons, AgentFile
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import Reading, a_message, read_answer

BUSY = AgentError("busy", AgentErrorReason.RATE_LIMITED, retry=True)
BROKEN = AgentError("broken", AgentErrorReason.FAILED)
LONG = Timeouts(first_byte=60, total=3600)
Script = Callable[[int], AsyncGenerator[Any, None]]


class ScriptedAgent:
    """An agent that answers as its script says, which gets the number of the call."""

    name, markdown, remembers = "scripted", True, True
    accepts = Accepts.NOTHING

    def __init__(self, script: Script) -> None:
        self.script = script
        self.calls = 0
        self.closed = 0

    async def answer(self, prompt: Prompt) -> AsyncGenerator[Any, None]:
        self.calls += 1
        try:
            async with aclosing(self.script(self.calls)) as parts:
                async for part in parts:
                    yield part
        finally:
            self.closed += 1


async def read(
    script: Script, first_byte: float = 60.0, total: float = 60.0
) -> tuple[Reading, int]:
    """Read an answer; return what came of it, and the number of calls."""
    agent = ScriptedAgent(script)
    async with asyncio.timeout(30):
        timeouts = Timeouts(first_byte=first_byte, total=total)
        reading = await read_answer(agent, timeouts=timeouts)
    assert agent.closed == agent.calls
    return reading, agent.calls


def parts(*parts: Any) -> Script:
    """Return a script that yields these parts, or raises them."""

    async def script(_: int) -> AsyncGenerator[Any, None]:
        for part in parts:
            if isinstance(part, Exception):
                raise part
            yield part

    return script


async def test_an_answer() -> None:
    """Text is passed on as it arrives; tokens and times are in the event."""
    reading, _ = await read(parts("", "Hel", "lo", Usage(3, 2)))
    call = reading.call

    assert (reading.texts, reading.text, reading.error) == (
        ["Hel", "lo"],
        "Hello",
        None,
    )
    assert (call.input_tokens, call.output_tokens, call.error) == (3, 2, None)
    assert call.first_token_seconds is not None
    assert 0 <= call.first_token_seconds <= call.seconds


async def silence(_: int) -> AsyncGenerator[Any, None]:
    """Never yield anything."""
    await asyncio.Event().wait()
    yield ""


async def endless(_: int) -> AsyncGenerator[Any, None]:
    """Yield text for ever."""
    while True:
        yield "."
        await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("script", "timeouts", "reason", "error"),
    [
        (parts(), (), AgentErrorReason.EMPTY, "the agent's answer is empty"),
        (parts("", " \n\u200b"), (), AgentErrorReason.EMPTY, "is empty"),
        (parts(Usage(1, 0)), (), AgentErrorReason.EMPTY, "is empty"),
        (silence, (0.05, 60), AgentErrorReason.TIMEOUT, "the first part did not"),
        (silence, (60, 0.05), AgentErrorReason.TIMEOUT, "all of the answer did not"),
        (endless, (60, 0.05), AgentErrorReason.TIMEOUT, "all of the answer did not"),
        (parts(ZeroDivisionError("bug")), (), AgentErrorReason.OTHER, "bug"),
    ],
)
async def test_errors(
    script: Script, timeouts: tuple[float, ...], reason: AgentErrorReason, error: str
) -> None:
    """An answer that is empty, late or broken ends with an error."""
    reading, calls = await read(script, *timeouts)

    assert error in str(reading.error)
    assert (reading.call.error, calls, reading.slept) == (reason, 1, [])


async def test_a_sign_of_life() -> None:
    """An empty part ends the timeout for the first part."""

    async def thinking(_: int) -> AsyncGenerator[Any, None]:
        yield ""
        await asyncio.sleep(0.2)
        yield "done"

    reading, _ = await read(thinking, 0.1, 60)

    assert (reading.texts, reading.error) == (["done"], None)


@pytest.mark.parametrize(
    ("sizes", "too_long"),
    [
        ([MAX_CHARS], False),
        ([MAX_CHARS - 1, 1], False),
        ([MAX_CHARS, 0], False),
        ([MAX_CHARS + 1], True),
        ([MAX_CHARS, 1], True),
        ([1000] * 100, True),
    ],
)
async def test_the_longest_answer(sizes: list[int], too_long: bool) -> None:
    """An answer of exactly MAX_CHARS is complete, a longer one is cut."""
    reading, _ = await read(parts(*("x" * size for size in sizes), Usage(1, 1)))

    assert reading.text == "x" * MAX_CHARS
    assert "" not in reading.texts
    assert (reading.call.error is AgentErrorReason.TOO_LONG) is too_long
    assert (reading.error is not None) is too_long


@pytest.mark.parametrize(
    ("script", "calls", "slept"),
    [
        (parts(BUSY), 3, [0.5, 1.0]),
        (parts(AgentError("busy", retry=True, wait=7.0)), 3, [7.0, 7.0]),
        # An error that is not safe to retry, an answer that has begun, too long a wait.
        (parts(BROKEN), 1, []),
        (parts("some words", BUSY), 1, []),
        (parts(AgentError("later", retry=True, wait=99.0)), 1, []),
        (parts(AgentError("later", retry=True, wait=61.0)), 1, []),
    ],
)
async def test_retries(script: Script, calls: int, slept: list[float]) -> None:
    """A safe error is retried twice, after the server's pause or growing ones."""
    reading, called = await read(script)

    assert isinstance(reading.error, AgentError)
    assert (called, reading.slept) == (calls, slept)


async def test_a_retry_that_succeeds() -> None:
    """The answer of a later call is the answer."""

    async def script(call: int) -> AsyncGenerator[Any, None]:
        if call < 3:
            raise BUSY
        yield "at last"

    reading, _ = await read(script)

    assert (reading.texts, reading.error, reading.slept) == (
        ["at last"],
        None,
        [0.5, 1.0],
    )


async def test_cancelled() -> None:
    """A reader that is cancelled closes the answer; its time and tokens count."""
    agent = ScriptedAgent(parts(Usage(3, 1), "a", "b"))
    reader = AnswerReader(
        agent=agent,  # type: ignore[arg-type]
        prompt=Prompt(a_message()),
        timeouts=Timeouts(first_byte=60, total=60),
        events=(reading := Reading()).events,
    )
    async with aclosing(reader.texts()) as texts:
        await anext(texts)

    assert (agent.closed, reading.reason) == (1, None)
    assert (reading.call.input_tokens, reading.call.output_tokens) == (3, 1)
    assert reading.call.first_token_seconds is not None


@pytest.mark.parametrize(
    ("wait", "slept"),
    [(30.0, [30.0, 30.0]), (31.0, [31.0]), (60.0, [60.0]), (61.0, [])],
)
async def test_long_pauses(wait: float, slept: list[float]) -> None:
    """Pauses of more than a minute together are not waited out, however much time."""
    script = parts(AgentError("later", retry=True, wait=wait))
    reading, calls = await read(script, total=3600)

    assert (calls, reading.slept) == (1 + len(slept), slept)


HISTORY = tuple(Exchange(str(n), str(n)) for n in range(5))
TOO_LONG = AgentError("too long", AgentErrorReason.CONTEXT_LENGTH)


@pytest.mark.parametrize(
    ("fitting", "asked", "reason"),
    [
        (5, [5], None),
        (2, [5, 2], None),
        (0, [5, 2, 0], None),
        (-1, [5, 2, 0], AgentErrorReason.CONTEXT_LENGTH),
    ],
)
async def test_a_history_that_is_too_long(
    fitting: int, asked: list[int], reason: AgentErrorReason | None
) -> None:
    """The agent is asked again with the latest half of it, then without, at once."""
    prompts: list[Prompt] = []

    class Forgetful(ScriptedAgent):
        async def answer(self, prompt: Prompt) -> AsyncGenerator[Any, None]:
            prompts.append(prompt)
            if len(prompt.history) > fitting:
                raise TOO_LONG
            yield "Hi."

    reading = await read_answer(
        Forgetful(parts()), Prompt(a_message(), HISTORY), timeouts=LONG
    )

    assert [len(prompt.history) for prompt in prompts] == asked
    assert all(HISTORY[5 - len(each.history) :] == each.history for each in prompts)
    assert (reading.reason, reading.slept) == (reason, [])


async def test_an_answer_of_thinking_alone() -> None:
    """A model that used all its tokens for thinking has no answer."""
    script = parts("<think>Hm", AgentError("cut", AgentErrorReason.CUT_SHORT))
    reading = await read_answer(ScriptedAgent(script), thinking=ThinkingTags())

    assert (reading.text, reading.reason) == ("", AgentErrorReason.EMPTY)
    assert "cut, before its answer began" in str(reading.error)


async def test_text_kept_back_before_an_error() -> None:
    """What might have been the beginning of a tag is not lost."""
    script = parts("1 <t", AgentError("cut", AgentErrorReason.CUT_SHORT))
    reading = await read_answer(ScriptedAgent(script), thinking=ThinkingTags())

    assert (reading.text, reading.reason) == ("1 <t", AgentErrorReason.CUT_SHORT)


class Captions:
    """An EnclosureSink that keeps the captions and names of files."""

    def __init__(self) -> None:
        self.captions: list[str] = []
        self.names: list[str] = []

    async def add(self, enclosure: AgentFile | AgentButtons) -> None:
        if isinstance(enclosure, AgentFile):
            self.captions.append(enclosure.caption)
            self.names.append(enclosure.name)


async def test_long_captions() -> None:
    """The captions of an answer have no more characters than are left beside text."""
    files = [
        AgentFile(content=b"x", name="a/" * 2000 + "b.pdf", caption="c" * 30_000)
        for _ in range(4)
    ]
    sink = Captions()
    reading = await read_answer(ScriptedAgent(parts("Here.", *files)), enclosures=sink)

    assert [len(caption) for caption in sink.captions] == [30_000, 30_000, 5531]
    assert len("Here." + "".join(sink.captions)) == MAX_CHARS
    assert {len(name) for name in sink.names} == {MAX_NAME_CHARS}
    assert sink.names[0].endswith("/b.pdf")
    assert reading.reason is AgentErrorReason.TOO_LONG
