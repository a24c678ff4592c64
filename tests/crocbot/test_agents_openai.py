"""Servers with chat completions; tests/end_to_end/test_agents.py has a real one."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from crocbot.agents import Timeouts
from crocbot.agents.rules import MAX_BODY_BYTES
from crocbot.content import Image
from crocbot.errors import AgentError, UnconfirmedError
from crocbot.model import Exchange, Prompt, Usage
from crocbot.turn_outcomes import AgentErrorReason
from tests.crocbot.fakes import Reading, a_message, read_answer, serving, streaming

pytest.importorskip("openai", reason="the extra crocbot[openai] is not installed")

from crocbot.agents.openai import OpenAIAgent

HELLO = Prompt(a_message("hello there"))


def chunk(content: str | None = None, **more: Any) -> bytes:
    """Return one event of a stream."""
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
    """A server that streams these chunks, or answers with an error status."""

    def __init__(
        self,
        *chunks: bytes,
        status: int = 200,
        cut: bool = False,
        slow: float = 0.0,
        refuses_usage: bool = False,
        content_type: str = "text/event-stream",
    ) -> None:
        self.stream = streaming(content_type, *chunks, cut=cut)
        self.status = status
        self.slow = slow
        self.refuses_usage = refuses_usage
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("Authorization", ""))
        await asyncio.sleep(self.slow)
        if self.refuses_usage and "stream_options" in self.asked[-1]:
            return refusal(400, "unknown field: stream_options")
        if self.status != 200:
            return refusal(self.status)
        return await self.stream(request)

    async def models(self, _: web.Request) -> web.Response:
        if self.status != 200:
            return refusal(self.status)
        model = {"id": "m", "object": "model", "created": 1, "owned_by": "me"}
        return web.json_response({"object": "list", "data": [model]})


def refusal(status: int, message: str = "no") -> web.Response:
    """Return an error as OpenAI's servers do; a client may retry at once."""
    error = {"error": {"message": message}}
    return web.json_response(error, status=status, headers={"Retry-After": "0"})


@asynccontextmanager
async def running(model: Model) -> AsyncIterator[str]:
    """Run a scripted server while in this context; it has this base URL."""
    handlers = {
        "POST /v1/chat/completions": model.complete,
        "GET /v1/models": model.models,
    }
    async with serving(handlers) as place:
        yield f"http://{place}/v1"


@asynccontextmanager
async def an_agent(
    base_url: str, model: str = "m", key: str | None = None
) -> AsyncIterator[OpenAIAgent]:
    """Return an agent that is closed afterwards."""
    agent = OpenAIAgent(
        base_url=base_url,
        api_key=key,
        model=model,
        system_prompt="Be brief.",
        connect_seconds=5.0,
    )
    try:
        yield agent
    finally:
        await agent.close()


async def read(
    model: Model,
    prompt: Prompt = HELLO,
    timeouts: Timeouts | None = None,
    key: str | None = None,
) -> Reading:
    """Read the answer of a scripted server."""
    async with (
        asyncio.timeout(60),
        running(model) as url,
        an_agent(url, key=key) as agent,
    ):
        return await read_answer(agent, prompt, timeouts)


async def test_a_completion() -> None:
    """The chunks are the answer, and the tokens are the server's count."""
    model = Model(chunk(""), chunk("Hel"), chunk("lo."), chunk(), USAGE, DONE)
    reading = await read(model, key="sk-key")

    assert (reading.text, reading.usage, reading.error) == ("Hello.", Usage(9, 2), None)
    assert model.keys == ["Bearer sk-key"]


async def test_request() -> None:
    """A request has system prompt, history and message; images are data URLs."""
    model = Model(chunk("Hi."), DONE)
    history, images = (Exchange("hi", "Hello."),), (Image("image/png", b"\0P"),)
    await read(model, Prompt(HELLO.message, history, images))

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


async def test_a_server_that_does_not_count() -> None:
    """A server that does not know stream_options is asked without."""
    model = Model(chunk("Hi."), DONE, refuses_usage=True)
    reading = await read(model)

    assert (reading.text, reading.error) == ("Hi.", None)
    assert ["stream_options" in asked for asked in model.asked] == [True, False]


@pytest.mark.parametrize(
    ("model", "reason", "text", "requests"),
    [
        # Asked again without stream_options, since it does not say what it refuses.
        (Model(status=400), AgentErrorReason.REFUSED, "", 2),
        (Model(status=401), AgentErrorReason.UNAUTHORIZED, "", 1),
        (Model(status=404), AgentErrorReason.OPERATOR, "", 1),
        (Model(status=429), AgentErrorReason.RATE_LIMITED, "", 3),
        (Model(status=500), AgentErrorReason.FAILED, "", 3),
        (Model(status=503), AgentErrorReason.FAILED, "", 3),
        (Model(chunk("The ans"), cut=True), AgentErrorReason.FAILED, "The ans", 1),
        (Model(cut=True), AgentErrorReason.FAILED, "", 3),
        (Model(b"data: {broken\n\n"), AgentErrorReason.MALFORMED, "", 3),
        (Model(b'data: {"choices": 7}\n\n'), AgentErrorReason.MALFORMED, "", 3),
        (Model(b'data: {"choices": {"a": 1}}\n\n'), AgentErrorReason.MALFORMED, "", 3),
        (Model(b"data: []\n\n", DONE), AgentErrorReason.EMPTY, "", 1),
        (Model(b"<html>"), AgentErrorReason.OPERATOR, "", 1),
        (Model(DONE), AgentErrorReason.EMPTY, "", 1),
        (Model(*[chunk("x" * 8192)] * 9), AgentErrorReason.TOO_LONG, "x" * 65536, 1),
        (Model(*[chunk("x" * 8192)] * 8, DONE), None, "x" * 65536, 1),
    ],
)
async def test_errors(
    model: Model, reason: AgentErrorReason | None, text: str, requests: int
) -> None:
    """Each way to fail has its reason; text that arrived is kept."""
    reading = await read(model)

    assert (reading.reason, reading.text) == (reason, text)
    assert len(model.asked) == requests


HI = {"message": {"content": "Hi."}}
COUNTS = {"prompt_tokens": 9, "completion_tokens": 2}


@pytest.mark.parametrize(
    ("completion", "text", "usage"),
    [
        ({"choices": [HI], "usage": COUNTS}, "Hi.", Usage(9, 2)),
        ({"choices": [HI], "usage": {"a": 1}}, "Hi.", Usage()),
        ({"choices": [{"message": {"refusal": "No."}}]}, "No.", Usage()),
    ],
)
async def test_a_server_that_does_not_stream(
    completion: Any, text: str, usage: Usage
) -> None:
    """A server may answer with one JSON object."""
    model = Model(json.dumps(completion).encode(), content_type="application/json")
    reading = await read(model)

    assert (reading.text, reading.usage, reading.error) == (text, usage, None)


def object_of(size: int) -> bytes:
    """Return a completion of exactly this many bytes."""
    completion = json.dumps({"choices": [HI]}).encode()
    return completion + b" " * (size - len(completion))


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"{}", AgentErrorReason.MALFORMED),
        (b'{"choices": []}', AgentErrorReason.MALFORMED),
        (b'{"choices": [{"message": null}]}', AgentErrorReason.MALFORMED),
        (b'{"choices": [{"message": {"tool_calls": []}}]}', AgentErrorReason.EMPTY),
        (b'{"choices": [{"message": {"content": 7}}]}', AgentErrorReason.EMPTY),
        (b"[" * 100_000, AgentErrorReason.MALFORMED),
        (object_of(MAX_BODY_BYTES), None),
        (object_of(MAX_BODY_BYTES + 1), AgentErrorReason.TOO_LONG),
    ],
)
async def test_objects(payload: bytes, reason: AgentErrorReason | None) -> None:
    """An object that is malformed, empty or too long has its reason."""
    reading = await read(Model(payload, content_type="application/json"))

    assert reading.reason is reason


@pytest.mark.parametrize(
    "usage", [{}, {"total_tokens": 3}, {"prompt_tokens": -1, "completion_tokens": "x"}]
)
async def test_invalid_token_counts(usage: dict[str, Any]) -> None:
    """Values that are not counts do not spoil the answer."""
    reading = await read(Model(chunk("Hi."), chunk(choices=[], usage=usage), DONE))

    assert (reading.text, reading.usage, reading.error) == ("Hi.", Usage(), None)


@pytest.mark.parametrize(
    "timeouts", [Timeouts(first_byte=0.3, total=30), Timeouts(first_byte=30, total=0.3)]
)
async def test_a_slow_server(timeouts: Timeouts) -> None:
    """An answer that does not begin, or end, in time is given up."""
    reading = await read(Model(chunk("late"), slow=60), timeouts=timeouts)

    assert reading.reason is AgentErrorReason.TIMEOUT


async def test_no_server() -> None:
    """A port on which no server listens is unreachable."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        async with an_agent(url) as agent:
            reading = await read_answer(agent)

    assert reading.reason is AgentErrorReason.UNREACHABLE


async def test_check() -> None:
    """`check` lists the models, which costs nothing."""
    async with running(Model()) as url, an_agent(url, "m") as agent:
        assert await agent.check() == f"{url} has 1 models"


@pytest.mark.parametrize(
    ("status", "name", "text"),
    [
        (200, "other", " has 1 models, without 'other': CROCBOT_MODEL may be wrong"),
        (
            404,
            "m",
            " is there, and lists no models (404): not every server does, or"
            " OPENAI_BASE_URL is wrong",
        ),
    ],
)
async def test_check_without_the_model(status: int, name: str, text: str) -> None:
    """`check` doubts a model or a URL that is not confirmed."""
    async with running(Model(status=status)) as url, an_agent(url, name) as agent:
        with pytest.raises(UnconfirmedError) as doubt:
            await agent.check()

    assert str(doubt.value) == url + text


async def test_check_with_a_wrong_key() -> None:
    """`check` reports a key that is refused."""
    async with running(Model(status=401)) as url, an_agent(url, key="wrong") as agent:
        with pytest.raises(AgentError, match="401"):
            await agent.check()
