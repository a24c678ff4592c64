"""Servers that speak chat completions: scripted ones, and somebody else's."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from crocbot.agents.answer import AnswerReader, Limits
from crocbot.errors import AgentError
from crocbot.events import AgentErrorReason
from crocbot.model import (
    ChatThread,
    Exchange,
    Image,
    Message,
    MessageType,
    Prompt,
    Usage,
)

pytest.importorskip("openai", reason="the extra crocbot[openai] is not installed")

from crocbot.agents.openai import OpenAI  # noqa: E402

PATIENT = Limits(30.0, 30.0)
MESSAGE = Message(
    11, ChatThread(7), 3, 7, True, MessageType.TEXT, "hello there", None, 0.0
)
QUESTION = Prompt(MESSAGE)


def chunk(content: str | None = None, **more: Any) -> bytes:
    """One event of a stream."""
    delta = {} if content is None else {"content": content}
    choices = [{"index": 0, "delta": delta, "finish_reason": None}]
    event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return f"data: {json.dumps({**event, 'choices': choices, **more})}\n\n".encode()


USAGE = chunk(
    choices=[],
    usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
)
DONE = b"data: [DONE]\n\n"


class Model:
    """A server with a script: what it streams, or which status it answers with."""

    def __init__(
        self,
        *chunks: bytes,
        status: int = 200,
        cut: bool = False,
        slow: float = 0.0,
        refuses_usage: bool = False,
        headers: dict[str, str] | None = None,
        content_type: str = "text/event-stream",
    ) -> None:
        self.chunks = chunks
        self.status = status
        self.cut = cut
        self.slow = slow
        self.refuses_usage = refuses_usage
        self.headers = headers or {}
        self.content_type = content_type
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Answer as the script says."""
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization", ""))
        await asyncio.sleep(self.slow)
        if self.refuses_usage and "stream_options" in self.asked[-1]:
            words = {"error": {"message": "unknown field: stream_options"}}
            return web.json_response(words, status=400)
        if self.status != 200:
            words = {"error": {"message": "no"}}
            return web.json_response(words, status=self.status, headers=self.headers)
        response = web.StreamResponse(headers={"Content-Type": self.content_type})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for one in self.chunks:
            await response.write(one)
            await asyncio.sleep(0.01)
        if self.cut and request.transport is not None:
            request.transport.abort()
        return response

    async def models(self, _: web.Request) -> web.Response:
        """List the models, or refuse."""
        if self.status != 200:
            return web.json_response({"error": {"message": "no"}}, status=self.status)
        model = {"id": "m", "object": "model", "created": 1, "owned_by": "me"}
        return web.json_response({"object": "list", "data": [model]})


async def ask(
    base_url: str,
    prompt: Prompt,
    limits: Limits,
    key: str | None = None,
    model: str = "m",
) -> tuple[AnswerReader, AgentError | None]:
    """Ask a server; pauses are short."""
    agent = OpenAI(base_url, key, model, "Be brief.", 5.0)
    hearing = AnswerReader(agent, prompt, limits, sleep=lambda _: asyncio.sleep(0))
    try:
        async for _ in hearing.pieces():
            pass
    except AgentError as error:
        return hearing, error
    finally:
        await agent.close()
    return hearing, None


def meet(model: Model, scene: Any) -> Any:
    """Run a scene with the base URL of a model."""

    async def run() -> Any:
        app = web.Application(client_max_size=10**7)
        app.router.add_post("/v1/chat/completions", model.complete)
        app.router.add_get("/v1/models", model.models)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            return await scene(f"http://127.0.0.1:{runner.addresses[0][1]}/v1")
        finally:
            await runner.cleanup()

    return asyncio.run(asyncio.wait_for(run(), 60))


def hear(
    model: Model,
    prompt: Prompt = QUESTION,
    limits: Limits = PATIENT,
    key: str | None = None,
) -> tuple[AnswerReader, AgentError | None]:
    """Ask a scripted model."""
    found: tuple[AnswerReader, AgentError | None] = meet(
        model, lambda url: ask(url, prompt, limits, key)
    )
    return found


def test_a_completion() -> None:
    """The pieces are the answer, and the tokens are what the server counted."""
    model = Model(chunk(""), chunk("Hel"), chunk("lo."), chunk(), USAGE, DONE)
    hearing, error = hear(model, key="sk-key")

    assert (hearing.text, hearing.usage, error) == ("Hello.", Usage(9, 2), None)
    assert model.keys == ["Bearer sk-key"]


def test_what_is_asked() -> None:
    """System prompt, history, then the message; images are data URLs."""
    model = Model(chunk("Hi."), DONE)
    prompt = Prompt(MESSAGE, (Exchange("hi", "Hello."),), (Image("image/png", b"\0P"),))
    hear(model, prompt)

    (asked,) = model.asked
    assert (asked["model"], asked["stream"]) == ("m", True)
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "Hello."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hello there"},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,AFA="},
                },
            ],
        },
    ]


def test_a_server_that_does_not_count() -> None:
    """A server that knows no stream_options is asked without."""
    model = Model(chunk("Hi."), DONE, refuses_usage=True)
    hearing, error = hear(model)

    assert (hearing.text, error) == ("Hi.", None)
    assert ["stream_options" in asked for asked in model.asked] == [True, False]


@pytest.mark.parametrize(
    ("model", "fault", "text", "asked"),
    [
        (Model(status=400), AgentErrorReason.REFUSED, "", 1),
        (Model(status=401), AgentErrorReason.UNAUTHORIZED, "", 1),
        (Model(status=404), AgentErrorReason.REFUSED, "", 1),
        (
            Model(status=429, headers={"Retry-After": "0"}),
            AgentErrorReason.RATE_LIMITED,
            "",
            3,
        ),
        (Model(status=500), AgentErrorReason.FAILED, "", 3),
        (Model(status=503), AgentErrorReason.FAILED, "", 3),
        (Model(chunk("The ans"), cut=True), AgentErrorReason.FAILED, "The ans", 1),
        (Model(cut=True), AgentErrorReason.FAILED, "", 3),
        (Model(b"data: {broken\n\n"), AgentErrorReason.MALFORMED, "", 3),
        (Model(b'data: {"choices": 7}\n\n'), AgentErrorReason.MALFORMED, "", 3),
        (Model(b'data: {"choices": {"a": 1}}\n\n'), AgentErrorReason.MALFORMED, "", 3),
        (Model(b"data: []\n\n", DONE), AgentErrorReason.EMPTY, "", 1),
        (Model(b"<html>"), AgentErrorReason.EMPTY, "", 1),
        (Model(DONE), AgentErrorReason.EMPTY, "", 1),
        (Model(*[chunk("x" * 8192)] * 9), AgentErrorReason.TOO_LONG, "x" * 65536, 1),
    ],
)
def test_faults(model: Model, fault: AgentErrorReason, text: str, asked: int) -> None:
    """Each way to fail is a fault of its own; what came is kept."""
    hearing, error = hear(model)

    assert error is not None
    assert (error.fault, hearing.text, len(model.asked)) == (fault, text, asked)


@pytest.mark.parametrize(
    ("completion", "text", "usage"),
    [
        (
            {
                "choices": [{"message": {"content": "Hi."}}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 2},
            },
            "Hi.",
            Usage(9, 2),
        ),
        ({"choices": [{"message": {"refusal": "No."}}]}, "No.", Usage()),
        (
            {"choices": [{"message": {"content": "Hi."}}], "usage": {"a": 1}},
            "Hi.",
            Usage(),
        ),
    ],
)
def test_a_server_that_does_not_stream(
    completion: Any, text: str, usage: Usage
) -> None:
    """An answer in one JSON object is as good as a stream."""
    model = Model(json.dumps(completion).encode(), content_type="application/json")
    hearing, error = hear(model)

    assert (hearing.text, hearing.usage, error) == (text, usage, None)


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"{}", AgentErrorReason.MALFORMED),
        (b'{"choices": []}', AgentErrorReason.MALFORMED),
        (b'{"choices": [{"message": null}]}', AgentErrorReason.MALFORMED),
        (b'{"choices": [{"message": {"tool_calls": []}}]}', AgentErrorReason.EMPTY),
        (b'{"choices": [{"message": {"content": 7}}]}', AgentErrorReason.EMPTY),
        (b"[" * 100_000, AgentErrorReason.MALFORMED),
        (b'"' + b"x" * 2**21, AgentErrorReason.TOO_LONG),
    ],
)
def test_objects_that_are_no_answer(payload: bytes, fault: AgentErrorReason) -> None:
    """An object without an answer in it is a fault."""
    _, error = hear(Model(payload, content_type="application/json"))

    assert error is not None
    assert error.fault is fault


@pytest.mark.parametrize(
    "usage", [{}, {"total_tokens": 3}, {"prompt_tokens": -1, "completion_tokens": "x"}]
)
def test_tokens_that_are_no_counts(usage: dict[str, Any]) -> None:
    """A server that counts in its own way spoils no answer."""
    hearing, error = hear(Model(chunk("Hi."), chunk(choices=[], usage=usage), DONE))

    assert (hearing.text, hearing.usage, error) == ("Hi.", Usage(), None)


@pytest.mark.parametrize("limits", [Limits(0.3, 30), Limits(30, 0.3)])
def test_slow(limits: Limits) -> None:
    """Who does not begin, or end, in time is not waited for."""
    _, error = hear(Model(chunk("late"), slow=60), limits=limits)

    assert error is not None
    assert error.fault is AgentErrorReason.TIMEOUT


def test_nobody_there() -> None:
    """A server that is not there is out of reach."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"
        _, error = asyncio.run(ask(url, QUESTION, PATIENT))

    assert error is not None
    assert error.fault is AgentErrorReason.UNREACHABLE


@pytest.mark.parametrize(
    ("status", "model", "says"),
    [
        (200, "m", " has 1 models"),
        (200, "other", " has 1 models, without 'other'"),
        (404, "m", " is there, and lists no models"),
    ],
)
def test_check(status: int, model: str, says: str) -> None:
    """The models are listed, which costs nothing; not every server can."""

    async def scene(url: str) -> str:
        agent = OpenAI(url, None, model, None, 5.0)
        try:
            return (await agent.check()).removeprefix(url)
        finally:
            await agent.close()

    assert meet(Model(status=status), scene) == says


def test_check_with_a_wrong_key() -> None:
    """A key that is refused is told."""

    async def scene(url: str) -> None:
        agent = OpenAI(url, "wrong", "m", None, 5.0)
        try:
            with pytest.raises(AgentError, match="401"):
                await agent.check()
        finally:
            await agent.close()

    meet(Model(status=401), scene)


@pytest.fixture(scope="module")
def mockllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of an independent server, PyPI's mockllm."""
    pytest.importorskip("mockllm", reason="mockllm is not installed")
    home = tmp_path_factory.mktemp("mockllm")
    answers = home / "responses.yml"
    # When it streams, it looks its own answer up once more.
    answers.write_text(
        'responses:\n  "hello there": "General **Kenobi**!"\n'
        '  "General **Kenobi**!": "General **Kenobi**!"\n'
        'defaults:\n  unknown_response: "I did not expect that."\n'
        "settings:\n  lag_enabled: true\n  lag_factor: 100\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "mockllm.server:app"),
            *("--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"),
        ],
        cwd=home,
        env=os.environ | {"MOCKLLM_RESPONSES_FILE": str(answers)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        asyncio.run(answers_at(f"http://127.0.0.1:{port}/models"))
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait()


async def answers_at(url: str) -> None:
    """Wait until a server answers."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            try:
                async with session.get(url) as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("hello there", "General **Kenobi**!"),
        ("something else", "I did not expect that."),
    ],
)
def test_somebody_elses_server(mockllm: str, words: str, says: str) -> None:
    """An independent server that speaks chat completions is understood."""
    message = Message(1, ChatThread(7), 1, 7, True, MessageType.TEXT, words, None, 0.0)
    hearing, error = asyncio.run(ask(mockllm, Prompt(message), PATIENT, model="gpt-4o"))

    assert (hearing.text, error) == (says, None)
