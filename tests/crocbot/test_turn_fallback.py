"""The fallback agent: asked before the first word of the first one, never after it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crocbot.agent_events import AgentFallback
from crocbot.agents import Accepts, AnswerReader, ThinkingTags, Timeouts
from crocbot.content import Attachment, Context, QuotedMessage
from crocbot.errors import AgentError, OperatorError
from crocbot.events import (
    AgentCall,
)
from crocbot.model import (
    RETRACTED,
    Disposition,
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
from crocbot.turn import AgentStep, Fallback
from crocbot.turn.fallback import FallbackReader, transcribed
from crocbot.turn.files import SPOKEN_NOTE, LoadedMessage
from crocbot.turn.messages import ERROR_MESSAGES
from crocbot.turn_outcomes import AgentErrorReason, FallbackOutcome
from tests.crocbot.fakes import RecordedEvents, a_message
from tests.crocbot.test_turn import ANSWERED, FakeAgent, TurnFixture, row

PAST = (Exchange("before", "answered"),)
FAILED = AgentError("no answer", AgentErrorReason.FAILED)
REASONS = [
    AgentErrorReason.UNREACHABLE,
    AgentErrorReason.TIMEOUT,
    AgentErrorReason.UNAUTHORIZED,
    AgentErrorReason.REFUSED,
    AgentErrorReason.EMPTY,
    AgentErrorReason.MALFORMED,
    AgentErrorReason.CONTEXT_LENGTH,
]


class Second(FakeAgent):
    """The fallback agent of a test; its answers are in Markdown."""

    name, markdown = "second", True


class Sink:
    """Keeps files and buttons."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    async def add(self, enclosure: AgentFile | AgentButtons) -> None:
        self.kept.append(enclosure)


@dataclass(slots=True, kw_only=True)
class Reading:
    """What came out of a prompt to two agents."""

    texts: list[str]
    formats: list[TextFormat]
    reader: FallbackReader
    first: FakeAgent
    second: FakeAgent
    events: RecordedEvents
    enclosed: list[Any]
    shown_before: list[str]

    @property
    def first_error(self) -> Exception | None:
        return self.reader.first.error

    @property
    def outcomes(self) -> list[FallbackOutcome]:
        return [each.outcome for each in self.events.of_type(AgentFallback)]


async def read(
    first: Sequence[Any],
    second: Sequence[Any] = ("second",),
    *,
    thinking: bool = False,
    total: float = 30.0,
    first_byte: float | None = None,
) -> Reading:
    """Ask two agents that yield these parts, or raise them."""
    agents = FakeAgent(*first), Second(*second)
    if not first:
        agents[0].parts = ()
    if not second:
        agents[1].parts = ()
    events, sink, message = RecordedEvents(), Sink(), a_message()
    answer = AnswerReader(
        agent=agents[0],  # type: ignore[arg-type]
        prompt=Prompt(message, PAST),
        timeouts=Timeouts(first_byte=first_byte or total, total=total),
        events=events,
        thinking=ThinkingTags() if thinking else None,
    )
    files: Any = None
    fallback = Fallback(
        agent=agents[1],  # type: ignore[arg-type]
        files=files,
        events=events,
    )
    reader = fallback.reader(
        answer,
        message=message,
        loaded=LoadedMessage(message=message),
        history=PAST,
        stack=AsyncExitStack(),
    )
    reader.enclosures = sink
    texts: list[str] = []
    shown_before: list[str] = []
    formats: list[TextFormat] = []
    async with aclosing(reader.texts()) as parts:
        async for part in parts:
            if part is RETRACTED:
                shown_before.clear()
                texts.clear()
                continue
            if not agents[1].prompts and isinstance(part, str):
                shown_before.append(part)
            if isinstance(part, TextFormat):
                formats.append(part)
            else:
                texts.append(part)
    return Reading(
        texts=texts,
        formats=formats,
        reader=reader,
        first=agents[0],
        second=agents[1],
        events=events,
        enclosed=sink.kept,
        shown_before=shown_before,
    )


@pytest.mark.parametrize("reason", REASONS)
async def test_the_first_fails_before_its_first_word(reason: AgentErrorReason) -> None:
    """The fallback gets the same prompt, and its answer is the answer."""
    error = AgentError("why", reason)
    reading = await read(["", " ", error])

    assert (reading.texts, reading.reader.error) == (["second"], None)
    assert reading.outcomes == [FallbackOutcome.ANSWERED]
    assert reading.formats == [TextFormat.MARKDOWN]
    (prompt,) = reading.second.prompts
    assert prompt.history == PAST
    assert reading.events.of_type(ErrorEvent) == [
        ErrorEvent(ErrorType.AGENT, error.severity)
    ]
    assert [call.error for call in reading.events.of_type(AgentCall)] == [reason, None]


async def test_an_error_for_the_operator_stays_critical() -> None:
    """It is counted as critical although the person gets an answer."""
    reading = await read([AgentError("the key", AgentErrorReason.UNAUTHORIZED)])

    assert reading.texts == ["second"]
    assert reading.events.of_type(ErrorEvent) == [
        ErrorEvent(ErrorType.AGENT, Severity.CRITICAL)
    ]


@pytest.mark.parametrize(
    ("error", "event"),
    [
        (OperatorError("x"), ErrorEvent(ErrorType.AGENT, Severity.CRITICAL)),
        (RuntimeError("x"), ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL)),
    ],
)
async def test_other_exceptions(error: Exception, event: ErrorEvent) -> None:
    """A bug in the first agent is counted as a bug, and the fallback is asked."""
    reading = await read([error])

    assert reading.texts == ["second"]
    assert reading.events.of_type(ErrorEvent) == [event]


async def test_the_first_answers() -> None:
    """The fallback is not asked."""
    reading = await read(["\n", "first"])

    assert "".join(reading.texts) == "\nfirst"
    assert (reading.second.prompts, reading.outcomes) == ([], [])


@pytest.mark.parametrize(
    "part", ["word", AgentFile(content=b"x"), AgentButtons(rows=[])]
)
async def test_the_first_fails_after_its_first_word(part: Any) -> None:
    """A word, a file or a button is the beginning of the first agent's answer."""
    reading = await read([part, FAILED])

    assert reading.reader.error is FAILED
    assert (reading.second.prompts, reading.outcomes) == ([], [])


async def test_both_fail() -> None:
    """The error is that of the fallback; both prompts are counted."""
    error = AgentError("second", AgentErrorReason.REFUSED)
    reading = await read([FAILED], [error])

    assert reading.reader.error is error
    assert reading.outcomes == [FallbackOutcome.FAILED]
    assert len(reading.events.of_type(AgentCall)) == 2


@pytest.mark.parametrize(
    "parts", [["<think>hm, ", "</think>"], ["hm, ", "</think>"], ["hm</think>", " "]]
)
async def test_thinking_is_no_word(parts: list[str]) -> None:
    """
    A first agent that only thinks before it fails has said nothing.

    Some servers leave out the first tag: then the thinking is shown, and retracted.
    """
    reading = await read([*parts, FAILED], thinking=True)

    assert reading.outcomes == [FallbackOutcome.ANSWERED]
    assert reading.texts == ["second"]


async def test_no_time_is_left() -> None:
    """The fallback is not asked if the first agent took all of the time."""
    reading = await read([FAILED], total=0.5)

    assert reading.reader.error is FAILED
    assert reading.outcomes == [FallbackOutcome.NO_TIME]
    assert reading.second.prompts == []


@asynccontextmanager
async def time_by_turns() -> AsyncGenerator[None, None]:
    """Let 0.01 s pass in each turn of the event loop, however long that takes."""
    loop = asyncio.get_running_loop()
    now = loop.time()

    async def tick() -> None:
        nonlocal now
        while True:
            now += 0.01
            await asyncio.sleep(0)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "time", lambda: now)
        ticking = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.gather(ticking, return_exceptions=True)


@pytest.mark.parametrize(
    ("first", "outcomes", "texts"),
    [
        ([""], [FallbackOutcome.ANSWERED], ["second"]),
        ([" "], [FallbackOutcome.ANSWERED], ["second"]),
        (["<think>hm"], [FallbackOutcome.ANSWERED], ["second"]),
        (["word"], [], ["word"]),
    ],
)
async def test_a_first_agent_that_hangs(
    first: list[str], outcomes: list[FallbackOutcome], texts: list[str]
) -> None:
    """Without a word in half of the time, the other half is for the fallback."""
    async with time_by_turns():
        reading = await read([*first, None], thinking=True, total=2.4, first_byte=0.5)

    assert (reading.outcomes, reading.texts) == (outcomes, texts)
    error = reading.first_error
    assert isinstance(error, AgentError)
    assert error.reason is AgentErrorReason.TIMEOUT


async def test_the_tokens_of_both_are_counted() -> None:
    """A failed prompt may have cost something, too."""
    reading = await read([Usage(5, 0), FAILED], ["yes", Usage(7, 3)])

    assert reading.reader.usages == (Usage(5, 0), Usage(7, 3))


WORDS = st.sampled_from(
    ["", " ", "\n", "\u200b", "word", "two words", "<think>", "</think>"]
)
ERRORS = st.sampled_from(
    [*(AgentError("e", reason) for reason in REASONS), OperatorError("e")]
)
ENCLOSURES = st.sampled_from([AgentFile(content=b"x"), AgentButtons(rows=[])])
ANSWERS = st.lists(st.one_of(WORDS, WORDS, ENCLOSURES, ERRORS), max_size=6)


@settings(deadline=None)
@given(first=ANSWERS, second=ANSWERS, thinking=st.booleans())
def test_the_fallback_is_never_asked_after_the_first_word(
    first: list[Any], second: list[Any], thinking: bool
) -> None:
    """For all pieces and failures: one agent's words are shown, never those of both."""
    reading = asyncio.run(read(first, second, thinking=thinking))
    end = next(
        (index for index, each in enumerate(first) if isinstance(each, Exception)),
        len(first),
    )
    words = "".join(each for each in first[:end] if isinstance(each, str))
    enclosed = [each for each in first[:end] if not isinstance(each, str)]
    # Only a whole answer shows a block of thinking that never ends.
    began = bool(enclosed) or is_visible("".join(reading.shown_before))
    asked = bool(reading.second.prompts)

    assert not (asked and began)
    assert asked == bool(reading.outcomes)
    if not thinking:
        assert asked == (not enclosed and not is_visible(words))
    if asked:
        assert reading.shown_before == []
        assert len(reading.outcomes) == 1
    assert reading.enclosed == [] or asked != bool(enclosed)


class TwoAgents(TurnFixture):
    """A turn with a fallback agent."""

    def __init__(self, first: Sequence[Any], second: Sequence[Any]) -> None:
        super().__init__(*first)
        self.second = Second(*second)

    def stages(self) -> Any:
        stages = super().stages()
        step: AgentStep = stages.agent_step
        fallback = Fallback(
            agent=self.second,  # type: ignore[arg-type]
            files=step.files,
            events=self.events,
        )
        return replace(stages, agent_step=replace(step, fallback=fallback))


async def test_a_turn() -> None:
    """The answer of the fallback is delivered in its format, and remembered."""
    scene = TwoAgents([FAILED], ["**bold**"])
    scene.store.past = PAST

    assert await scene.run_one(row("hello")) == ANSWERED
    assert scene.telegram.texts == ["bold"]
    assert scene.second.prompts[0].history == PAST
    ((_, exchange, _),) = scene.store.remembered
    assert exchange == Exchange("hello", "**bold**")


async def test_a_turn_in_which_both_fail() -> None:
    """The person gets one sentence, and the row fails with the second error."""
    scene = TwoAgents([FAILED], [AgentError("x", AgentErrorReason.REFUSED)])
    outcome = await scene.run_one(row("hello"))

    assert outcome.disposition is Disposition.FAILED
    assert scene.telegram.texts == [ERROR_MESSAGES[AgentErrorReason.REFUSED]]


async def test_a_stopped_answer() -> None:
    """After /stop no other agent is asked."""
    scene = TwoAgents([], ["second"])
    begun = asyncio.Event()

    class Hanging(FakeAgent):
        async def answer(self, prompt: Prompt) -> AsyncGenerator[Any, None]:
            begun.set()
            await asyncio.Event().wait()
            yield "never"

    scene.agent = Hanging()
    turn = asyncio.create_task(scene.run_one(row("hello")))
    await begun.wait()
    turn.cancel()
    with suppress(asyncio.CancelledError):
        await turn

    assert turn.cancelled()
    assert scene.second.prompts == []
    assert scene.events.of_type(AgentFallback) == []


async def test_a_stopped_fallback() -> None:
    """A cancelled answer of the fallback is counted as stopped."""
    begun = asyncio.Event()
    scene = TwoAgents([FAILED], [])

    class Hanging(Second):
        async def answer(self, prompt: Prompt) -> AsyncGenerator[Any, None]:
            begun.set()
            await asyncio.Event().wait()
            yield "never"

    scene.second = Hanging()
    turn = asyncio.create_task(scene.run_one(row("hello")))
    await begun.wait()
    turn.cancel()
    with suppress(asyncio.CancelledError):
        await turn

    assert scene.events.of_type(AgentFallback) == [
        AgentFallback(FallbackOutcome.STOPPED)
    ]


async def test_files_are_loaded_for_the_agent_that_answers() -> None:
    """Each agent gets the shapes that it accepts, and the person no second sentence."""
    scene = TwoAgents([FAILED], ["read"])
    scene.agent.accepts = Accepts.IMAGES | Accepts.WORDS  # type: ignore[misc]
    scene.second.accepts = Accepts.FILES  # type: ignore[misc]
    scene.telegram.files = {"doc": b"some words"}
    document = {"file_id": "doc", "file_name": "a.txt", "file_size": 10}
    outcome = await scene.run_one(row(None, document=document, caption="look"))

    assert outcome.disposition is Disposition.ANSWERED
    assert scene.telegram.downloads == ["doc", "doc"]
    assert scene.agent.prompts[0].files == ()
    assert scene.agent.prompts[0].message.attachments[0].words == "some words"
    (file,) = scene.second.prompts[0].files
    assert file.content == b"some words"
    assert scene.second.prompts[0].message.attachments[0].words is None


def test_recordings_are_not_transcribed_twice() -> None:
    """The words of recordings stay; files that were refused are tried again."""
    voice = Attachment(type="voice", description="voice", file_id="v")
    document = Attachment(type="document", description="a", file_id="d")
    quoted = QuotedMessage(attachments=(voice,))
    original = a_message(
        "", attachments=(voice, document), context=Context(quoted=quoted)
    )
    spoken = replace(voice, note=SPOKEN_NOTE)
    loaded = replace(
        original,
        text="hello",
        spoken=True,
        attachments=(spoken, replace(document, note="its content cannot be read")),
        context=Context(
            quoted=QuotedMessage(attachments=(replace(voice, words="hi"),))
        ),
    )
    found: Message = transcribed(original, loaded)

    assert (found.text, found.spoken) == ("hello", True)
    assert found.attachments == (spoken, document)
    assert found.context.quoted is not None
    assert found.context.quoted.attachments[0].words == "hi"


async def test_since_when_the_first_agent_fails() -> None:
    """It is known until the first agent answers again, for /status."""
    scene = TwoAgents([FAILED], ["second"])
    stages = scene.stages()
    fallback = stages.agent_step.fallback
    fallback.clock = lambda: 5.0
    await stages.run([row("one")])
    fallback.clock = lambda: 9.0
    await stages.run([row("two")])
    failing = fallback.failing_since
    scene.agent.parts = ("better",)
    await stages.run([row("three")])

    assert (failing, fallback.failing_since) == (5.0, None)
