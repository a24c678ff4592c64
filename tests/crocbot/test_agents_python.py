"""The agent `python`: functions of every kind, their errors, their time."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from crocbot import agents, settings
from crocbot.agents import AnswerFile, Button, Buttons, Question, Usage, calls
from crocbot.agents.answer import AnswerReader, Timeouts
from crocbot.agents.failure import describe
from crocbot.agents.function import Function, load_function
from crocbot.agents.python import PythonAgent, question_of
from crocbot.content import (
    Attachment,
    Context,
    File,
    ForwardOrigin,
    Image,
    Link,
    OriginType,
    Press,
    QuotedMessage,
)
from crocbot.errors import AgentError, OperatorError
from crocbot.events import NO_EVENTS
from crocbot.model import Exchange, Prompt
from crocbot.outgoing import AgentButtons, AgentFile, FileKind
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import a_message

MODULE = """
import asyncio, contextvars, functools
from crocbot.agents import Question

seen = contextvars.ContextVar("seen", default="nothing")

async def generator(question: Question):
    yield "Hel"
    await asyncio.sleep(0)
    yield "lo"

async def coroutine(question):
    await asyncio.sleep(0)
    return "Hello"

def function(question):
    return "Hello"

def sync_generator(question):
    yield "Hel"
    yield "lo"

def returns_a_list(question):
    return ["Hel", "lo"]

def returns_a_coroutine(question):
    return coroutine(question)

def returns_an_async_generator(question):
    return generator(question)

async def awaits_an_async_generator(question):
    return generator(question)

class Bot:
    async def __call__(self, question):
        return "Hello"
    async def method(self, question):
        yield "Hello"

bot = Bot()
lambda_ = lambda question: "Hello"
partial = functools.partial(lambda first, question: first, "Hello")
partial_generator = functools.partial(generator)

async def remembers(question):
    found = seen.get()
    seen.set(question.message)
    yield found

def remembers_in_a_thread(question):
    found = seen.get()
    seen.set(question.message)
    yield found
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that makes a module in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    names: list[str] = []

    def make(source: str, name: str = "an_agent") -> str:
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.delitem(sys.modules, name, raising=False)
        names.append(name)
        return name

    return make


def a_function(call: Callable[[Any], Any]) -> Function:
    """Return a function as the settings name it."""
    import contextvars

    return Function("here:call", call, contextvars.copy_context())


def a_prompt(text: str = "hello") -> Prompt:
    """Return the prompt of a text."""
    return Prompt(a_message(text))


async def parts(agent: PythonAgent, prompt: Prompt | None = None) -> list[Any]:
    """Return the parts of an answer."""
    try:
        return [part async for part in agent.answer(prompt or a_prompt())]
    finally:
        await agent.close()


async def answer(call: Callable[[Any], Any], text: str = "hello") -> list[Any]:
    """Return the parts of the answer of a function."""
    return await parts(PythonAgent(a_function(call)), a_prompt(text))


@pytest.mark.parametrize(
    "name",
    [
        *("generator", "coroutine", "function", "sync_generator", "returns_a_list"),
        *("returns_a_coroutine", "returns_an_async_generator", "lambda_"),
        *("awaits_an_async_generator", "bot", "bot.method", "partial"),
        "partial_generator",
    ],
)
async def test_kinds(module: Callable[..., str], name: str) -> None:
    """Every kind of function answers, found in the working directory."""
    agent = PythonAgent(load_function(f"{module(MODULE)}:{name}"))

    assert "".join(await parts(agent)) == "Hello"


@pytest.mark.parametrize("name", ["remembers", "remembers_in_a_thread"])
async def test_context_variables(module: Callable[..., str], name: str) -> None:
    """A context variable that one call has set is not seen by the next."""
    agent = PythonAgent(load_function(f"{module(MODULE)}:{name}"))
    try:
        for text in ("one", "two"):
            found = [part async for part in agent.answer(a_prompt(text))]
            assert found == ["nothing"]
    finally:
        await agent.close()


@pytest.mark.parametrize(
    ("name", "source", "error"),
    [
        ("nowhere:answer", "", "there is no module 'nowhere'"),
        ("an_agent.part:answer", "", "there is no module 'an_agent.part'"),
        ("an_agent:answr", "def answer(q): ...", "no 'answr'; did you mean answer"),
        ("an_agent:a.b", "def a(q): ...", "an_agent.a has no 'b'"),
        ("an_agent:answer", "answer = 1", "is no function but of type int"),
        ("an_agent:answer", "class answer: ...", "is a class"),
        ("an_agent:answer", "def answer(): ...", "must take one argument"),
        ("an_agent:answer", "def answer(a, b): ...", "missing a required argument"),
        ("an_agent:answer", "def answer(a, *, b): ...", "missing a required"),
        ("an_agent:answer", "import nothing_there", r"line 1\): ModuleNotFoundError"),
        ("an_agent:answer", "x = 1\n1 / 0", r"\(an_agent.py, line 2\): ZeroDivision"),
        ("an_agent:answer", "def answer(", r"\(an_agent.py, line 1\): SyntaxError"),
        ("an_agent:answer", "import sys\nsys.exit('a\\nb')", "SystemExit: a$"),
        ("an_agent:answer", "raise KeyboardInterrupt", "KeyboardInterrupt$"),
        ("an_agent:answer", "raise ValueError('\\x1b[31m')", r"ValueError: \?\[31m"),
    ],
)
def test_wrong_names(
    module: Callable[..., str], name: str, source: str, error: str
) -> None:
    """What cannot be imported or called is one line for the operator."""
    module(source)

    with pytest.raises(OperatorError, match=error) as raised:
        load_function(name)
    assert str(raised.value).startswith("CROCBOT_AGENT_FUNCTION: ")
    assert "\n" not in str(raised.value)


def test_a_module_with_the_name_of_a_library(module: Callable[..., str]) -> None:
    """The error names the module that was found, and the file that was meant."""
    module("def answer(question): ...", "textwrap")
    sys.modules["textwrap"] = textwrap

    with pytest.raises(OperatorError, match=r"rename textwrap\.py"):
        load_function("textwrap:answer")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("agent.py:answer", "no path and no .py"),
        ("./agent:answer", "no path"),
        ("agent", "like agent:answer"),
        ("agent:", "like agent:answer"),
        (":answer", "like agent:answer"),
        ("agent:answer()", "like agent:answer"),
        ("a..b:c", "like agent:answer"),
    ],
)
def test_settings(name: str, hint: str) -> None:
    """A name that is none is refused with the settings, before any import."""
    environment = {
        "TELEGRAM_BOT_TOKEN": "1:a",
        "CROCBOT_AGENT": "python",
        "CROCBOT_AGENT_FUNCTION": name,
    }
    with pytest.raises(OperatorError, match=hint):
        settings.load(environment, None)


def test_the_working_directory_is_searched_last_later(
    module: Callable[..., str], tmp_path: Path
) -> None:
    """A file there replaces no library that the gateway imports later."""
    load_function(f"{module('def answer(question): ...')}:answer")

    assert sys.path[-1] == str(tmp_path)
    assert sys.path.count(str(tmp_path)) == 1


def test_an_import_may_run_a_loop_and_print(
    module: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It runs where no loop runs; what it prints is no output of the command."""
    source = """
        import asyncio
        asyncio.run(asyncio.sleep(0))
        print("imported")
        def answer(question): ...
    """
    load_function(f"{module(source)}:answer")

    assert capsys.readouterr() == ("", "imported\n")


def test_the_question() -> None:
    """It has what the agent `http` gets."""
    context = Context(
        sender="Ada",
        quoted=QuotedMessage(
            author="Bob",
            text="an iguana",
            part="iguana",
            attachments=(Attachment("photo", "photo, 1x1"),),
            message_id=2,
        ),
        forward=ForwardOrigin(OriginType.USER, "Eve", 1_700_000_000),
        links=(Link("this", "https://example.org/"),),
        press=Press("1", "large", "Large"),
    )
    message = a_message(
        "look",
        context=context,
        attachments=(Attachment("document", "document, a.txt", name="a.txt"),),
    )
    prompt = Prompt(
        message,
        (Exchange("hello", "Hello."),),
        (Image("image/png", b"p"),),
        files=(File(type="document", mime_type="text/plain", content=b"a"),),
    )
    question = question_of(prompt, "Be brief.")

    assert question.message == "look\n[document, a.txt]"
    assert "iguana" in question.prompt
    assert (question.chat, question.sender_id) == (message.chat.key, message.sender_id)
    assert question.sender_name == "Ada"
    assert [(each.role, each.content) for each in question.history] == [
        ("user", "hello"),
        ("assistant", "Hello."),
    ]
    assert question.messages[0] == {"role": "system", "content": "Be brief."}
    assert question.messages[-1] == {"role": "user", "content": question.prompt}
    assert question.images[0].content == b"p"
    assert question.files[0].size == 1
    assert question.media[0].name == "a.txt"
    assert question.reply_to is not None
    assert question.reply_to.quote == "iguana"
    assert question.reply_to.media[0].kind == "photo"
    assert question.forward == agents.Forward(
        kind="user", name="Eve", date=1_700_000_000
    )
    assert question.links == (agents.TextLink("this", "https://example.org/"),)
    assert question.button == agents.PressedButton(data="large", label="Large")
    with pytest.raises(AttributeError):
        question.message = "other"  # type: ignore[misc]


def test_a_file_is_saved_under_a_safe_name(tmp_path: Path) -> None:
    """Neither the name that a sender chose nor a second file replaces another one."""
    file = agents.QuestionFile(
        kind="document", mime_type="text/plain", content=b"x", name="../../e vil\0.txt"
    )
    first, second = file.save(tmp_path), file.save(str(tmp_path))

    assert (first.name, second.name) == ("1-e_vil.txt", "2-e_vil.txt")
    assert first.read_bytes() == second.read_bytes() == b"x"


async def test_pieces(tmp_path: Path) -> None:
    """Files, buttons and usage become what every agent yields."""
    (tmp_path / "a.txt").write_bytes(b"on disk")
    (tmp_path / "large").write_bytes(b"x" * 11)

    def call(_: Question) -> Any:
        yield "Here: \ud800"
        yield AnswerFile(content=b"bytes", name="b", kind="document", caption="c")
        yield AnswerFile(path=tmp_path / "a.txt")
        yield AnswerFile(url="https://example.org/c")
        yield AnswerFile(path=tmp_path / "large")
        yield AnswerFile(path=tmp_path)
        yield AnswerFile(path="/no\0where")
        yield AnswerFile(path=5)  # type: ignore[arg-type]
        yield AnswerFile(content="text")  # type: ignore[arg-type]
        yield AnswerFile()
        yield Buttons([[Button("Yes", data="y"), Button("Site", url="https://a.b/")]])
        yield Buttons("nonsense")  # type: ignore[arg-type]
        yield Usage(1, -2)

    agent = PythonAgent(a_function(call), max_file_bytes=10)
    text, first, disk, url, large, folder, *others = await parts(agent)
    nowhere, number, typed, nothing, *rest = others

    assert text == "Here: \ufffd"
    assert first == AgentFile(
        content=b"bytes", name="b", kind=FileKind.DOCUMENT, caption="c"
    )
    assert (disk.content, disk.name) == (b"on disk", "a.txt")
    assert url.url == "https://example.org/c"
    assert (large.content, large.too_large) == (None, True)
    assert folder.problem == "it is not a regular file"
    assert nowhere.problem
    assert number.problem == "its path is int, not str"
    assert typed.problem == "its content is str, not bytes"
    assert nothing.problem == "it has no content, path or url"
    assert rest == [
        AgentButtons(
            rows=[
                [{"text": "Yes", "data": "y"}, {"text": "Site", "url": "https://a.b/"}]
            ]
        ),
        AgentButtons(rows="nonsense"),
        Usage(1, 0),
    ]


@pytest.mark.parametrize("result", [None, 1, b"bytes", {"text": "a"}, [None]])
async def test_wrong_pieces(result: object) -> None:
    """Anything but a piece is an error that names the type."""
    with pytest.raises(AgentError, match="as a part of its answer") as raised:
        await answer(lambda _: result)
    assert raised.value.reason is AgentErrorReason.MALFORMED


def raising(error: BaseException) -> list[Callable[[Any], Any]]:
    """Return functions of every kind that raise an error after a word."""

    async def generator(_: Question) -> Any:
        yield "word"
        raise error

    async def coroutine(_: Question) -> Any:
        await asyncio.sleep(0)
        raise error

    def blocking(_: Question) -> Any:
        raise error

    def blocking_generator(_: Question) -> Any:
        yield "word"
        raise error

    return [generator, coroutine, blocking, blocking_generator]


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize(
    "error",
    [
        ValueError("no 'hello' here"),
        SystemExit("hello"),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        GeneratorExit(),
        RecursionError("hello"),
        BaseExceptionGroup("hello", [ValueError("hello")]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_exceptions(
    error: BaseException, kind: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is an error of the agent; the log has where, and no text of a message."""
    with pytest.raises(AgentError, match="here:call failed: ") as raised:
        await answer(raising(error)[kind], "hello")

    assert raised.value.reason is AgentErrorReason.FAILED
    assert not raised.value.retry
    assert raised.value.__cause__ is None
    assert type(error).__name__ in str(raised.value)
    assert "hello" not in str(raised.value)
    logged = capsys.readouterr().out
    assert "hello" not in logged
    assert "test_agents_python.py" in logged
    assert type(error).__name__ in logged


async def test_the_next_call_works_after_system_exit() -> None:
    """One that a task of the function raises ends neither the loop nor the gateway."""

    async def exit_now() -> None:
        raise SystemExit

    async def call(question: Question) -> Any:
        if question.message == "exit":
            asyncio.get_running_loop().call_soon(sys.exit)
            asyncio.create_task(exit_now())  # noqa: RUF006
            asyncio.get_running_loop().stop()
            await asyncio.sleep(0.01)
        yield "here"

    agent = PythonAgent(a_function(call))
    try:
        for text in ("exit", "again"):
            assert [part async for part in agent.answer(a_prompt(text))] == ["here"]
    finally:
        await agent.close()


async def test_an_async_function_that_blocks_keeps_only_others_of_it_waiting() -> None:
    """The gateway's own loop goes on, and reaches the timeout."""
    release = threading.Event()

    async def call(_: Question) -> Any:
        release.wait(30)
        yield "late"

    agent = PythonAgent(a_function(call))
    reader = AnswerReader(
        agent=agent,
        prompt=a_prompt(),
        timeouts=Timeouts(first_byte=0.2, total=5.0),
        events=NO_EVENTS,
    )
    texts = [text async for text in reader.texts() if text]
    release.set()
    await agent.close()

    assert texts == []
    assert isinstance(reader.error, AgentError)
    assert reader.error.reason is AgentErrorReason.TIMEOUT


@pytest.mark.parametrize("blocking", [False, True])
async def test_stop(blocking: bool) -> None:
    """A cancelled async call ends at once; a blocking one at its next piece."""
    began, ended = threading.Event(), threading.Event()
    release = threading.Event()

    async def cancelled(_: Question) -> Any:
        try:
            yield "word"
            began.set()
            await asyncio.sleep(3600)
        finally:
            ended.set()

    def given_up(_: Question) -> Any:
        try:
            yield "word"
            began.set()
            release.wait(30)
            while True:
                yield "more"
        finally:
            ended.set()

    agent = PythonAgent(a_function(given_up if blocking else cancelled))

    async def read() -> None:
        async for _ in agent.answer(a_prompt()):
            pass

    task = asyncio.create_task(read())
    await asyncio.to_thread(began.wait, 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set() or not blocking or not release.is_set()
    release.set()
    assert await asyncio.to_thread(ended.wait, 30)
    await agent.close()


async def test_calls_that_never_end_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When too many were given up no more begin, until some have ended."""
    monkeypatch.setattr(calls, "MAX_GIVEN_UP", 3)
    monkeypatch.setattr(calls, "CHECK_SECONDS", 0.01)
    release, running = threading.Event(), threading.Semaphore(0)

    def call(question: Question) -> str:
        if question.message == "quick":
            return "here"
        running.release()
        release.wait(30)
        return "late"

    agent = PythonAgent(a_function(call))

    async def give_up() -> None:
        task = asyncio.create_task(anext(agent.answer(a_prompt("slow"))))
        await asyncio.to_thread(running.acquire)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for _ in range(3):
        await give_up()
    with pytest.raises(AgentError, match="3 calls of here:call were given") as raised:
        await anext(agent.answer(a_prompt("quick")))
    assert raised.value.reason is AgentErrorReason.OPERATOR
    release.set()
    async with asyncio.timeout(30):
        while True:
            try:
                found = [part async for part in agent.answer(a_prompt("quick"))]
                break
            except AgentError:
                await asyncio.sleep(0.01)
    assert found == ["here"]
    await agent.close()


async def test_a_fast_function_waits_for_its_reader() -> None:
    """At most two pieces are made ahead."""
    made = 0

    def call(_: Question) -> Any:
        nonlocal made
        while True:
            made += 1
            yield "x"

    agent = PythonAgent(a_function(call))
    answer = agent.answer(a_prompt())
    for _ in range(3):
        await anext(answer)
    await answer.aclose()
    await agent.close()

    assert made <= 5


async def test_an_endless_text_is_cut() -> None:
    """Also one that is not shown, such as a model's thinking."""

    async def call(_: Question) -> Any:
        while True:
            yield "x" * 100_000

    with pytest.raises(AgentError, match="more than 1048576") as raised:
        await answer(call)
    assert raised.value.reason is AgentErrorReason.TOO_LONG


async def test_one_large_text_is_delivered_up_to_the_bound() -> None:
    """The person sees its beginning, as of a text in many pieces."""

    async def call(_: Question) -> str:
        return "Hello" + "x" * 2_000_000

    agent = PythonAgent(a_function(call))
    stream = agent.answer(a_prompt())
    text = await anext(stream)
    with pytest.raises(AgentError, match="more than 1048576"):
        await anext(stream)
    await agent.close()
    assert isinstance(text, str)
    assert text.startswith("Hellox")
    assert len(text) == 1_048_576


WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=12)


@given(words=st.lists(WORDS, min_size=1, max_size=5), text=st.text(max_size=40))
def test_no_word_of_a_message_is_in_a_failure(words: list[str], text: str) -> None:
    """Whatever the exception quotes of it, in whatever case or form."""
    message = " ".join(words)
    for quoted in (message, repr(message), message.upper(), f"{text} {message}"):
        failure = describe(ValueError(quoted), [message], __file__)
        line = failure.traceback.splitlines()[-1].removeprefix("ValueError: ")
        shown = {word.casefold() for word in line.split()}
        assert not shown & {word.casefold() for word in words}


def test_causes_and_groups_are_shown() -> None:
    """The traceback has the whole chain, up to a bound."""
    try:
        try:
            raise KeyError("OPENAI_API_KEY")
        except KeyError as error:
            raise ExceptionGroup("two", [ValueError("a"), TypeError("b")]) from error
    except ExceptionGroup as error:
        failure = describe(error, ["nothing"], "")

    assert "KeyError: 'OPENAI_API_KEY'" in failure.traceback
    assert "  | TypeError: b" in failure.traceback
    assert failure.summary.startswith("ExceptionGroup in test_agents_python.py, line ")


@pytest.mark.parametrize("text", ["iguana-4711", "exit"])
async def test_a_thread_of_the_function(
    text: str,
    module: Callable[..., str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An error in a thread that it started is logged without words of a message."""
    name = module(
        """
        import threading

        def fails(text):
            raise SystemExit(text) if text == "exit" else ValueError(text)

        def answer(question):
            thread = threading.Thread(target=fails, args=(question.message,))
            thread.start()
            thread.join()
            return "Hello"
        """
    )
    hook = threading.excepthook
    agent = PythonAgent(load_function(f"{name}:answer"))
    with capture_logs() as logs:
        assert [part async for part in agent.answer(a_prompt(text))] == ["Hello"]
        await agent.close()

    expected = [("a thread of the agent failed", "ValueError in an_agent.py, line 5")]
    assert [(log["event"], log["error"]) for log in logs] == (
        [] if text == "exit" else expected
    )
    assert text not in capfd.readouterr().err
    assert threading.excepthook is hook
