"""An HTTP service that answers, well or badly."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from crocbot.agents.answer import AnswerReader, Limits
from crocbot.agents.http import SIGNATURE, Http
from crocbot.errors import AgentError
from crocbot.events import AgentErrorReason
from crocbot.model import (
    Attachment,
    ChatThread,
    Exchange,
    Image,
    Message,
    MessageType,
    Prompt,
    Usage,
)

PATIENT = Limits(30.0, 30.0)
MESSAGE = Message(
    *(11, ChatThread(-5, 4), 3, 7, False, MessageType.MEDIA, "look", None, 0.0),
    (Attachment("photo", "photo, 2x1"),),
)
QUESTION = Prompt(MESSAGE, (Exchange("hi", "Hello."),), (Image("image/png", b"\0P"),))
Service = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Heard:
    """What came of a question."""

    def __init__(self) -> None:
        self.text = ""
        self.pieces: list[str] = []
        self.usage = Usage()
        self.error: AgentError | None = None
        self.asked = 0

    @property
    def fault(self) -> AgentErrorReason | None:
        """Why there is no answer, or not all of it."""
        return None if self.error is None else self.error.fault


def hear(
    service: Service, limits: Limits = PATIENT, secret: str | None = None
) -> Heard:
    """Ask a service, which lives as long as this takes."""
    heard = Heard()

    async def count(request: web.Request) -> web.StreamResponse:
        heard.asked += 1
        return await service(request)

    async def run() -> None:
        app = web.Application(client_max_size=10**7)
        app.router.add_post("/ask", count)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        agent = Http(f"http://127.0.0.1:{runner.addresses[0][1]}/ask", secret, 5.0)
        await listen(agent, limits, heard)
        await agent.close()
        await runner.cleanup()

    asyncio.run(asyncio.wait_for(run(), 30))
    return heard


async def listen(agent: Http, limits: Limits, heard: Heard) -> None:
    """Hear an answer to its end; pauses are short."""
    hearing = AnswerReader(agent, QUESTION, limits, sleep=lambda _: asyncio.sleep(0))
    try:
        async for piece in hearing.pieces():
            heard.pieces.append(piece)
    except AgentError as error:
        heard.error = error
    heard.text, heard.usage = hearing.text, hearing.usage


def test_what_is_posted() -> None:
    """The message in words, chat, history, images as data, and a signature."""
    posted: list[tuple[bytes, str]] = []

    async def service(request: web.Request) -> web.Response:
        posted.append((await request.read(), request.headers[SIGNATURE]))
        return web.json_response({"reply": "Nice."})

    assert hear(service, secret="hush").text == "Nice."
    ((payload, signature),) = posted
    assert json.loads(payload) == {
        "message": "look\n[photo, 2x1]",
        "chat": "-5:4",
        "history": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "Hello."},
        ],
        "images": [{"mime_type": "image/png", "data": "AFA="}],
        "media": [{"kind": "photo", "description": "photo, 2x1"}],
        "command": None,
        "sender_id": 7,
        "message_id": 3,
        "update_id": 11,
    }
    digest = hmac.new(b"hush", payload, hashlib.sha256).hexdigest()
    assert signature == f"sha256={digest}"


def test_without_a_secret() -> None:
    """Without a secret nothing is signed."""

    async def service(request: web.Request) -> web.Response:
        return web.json_response({"reply": str(SIGNATURE in request.headers)})

    assert hear(service).text == "False"


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"reply": "Yes."}, Usage()),
        ({"text": "Yes."}, Usage()),
        ({"response": "Yes."}, Usage()),
        ({"reply": "Yes.", "text": "No."}, Usage()),
        (
            {"reply": "Yes.", "usage": {"input_tokens": 3, "output_tokens": 1}},
            Usage(3, 1),
        ),
        (
            {"reply": "Yes.", "usage": {"prompt_tokens": 3, "completion_tokens": -1}},
            Usage(3, 0),
        ),
    ],
)
def test_json(answer: dict[str, Any], usage: Usage) -> None:
    """An object has the reply, and the tokens if the service knows them."""

    async def service(_: web.Request) -> web.Response:
        return web.json_response(answer)

    heard = hear(service)
    assert (heard.text, heard.usage, heard.fault) == ("Yes.", usage, None)


def streaming(content_type: str, *chunks: bytes, cut: bool = False) -> Service:
    """A service that writes these chunks one by one, and may hang up in the middle."""

    async def service(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": content_type})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.01)
        if cut and request.transport is not None:
            request.transport.abort()
        return response

    return service


def test_text() -> None:
    """A text comes as it is written; a character may be cut anywhere."""
    croc = "🐊".encode()
    heard = hear(
        streaming("text/plain; charset=utf-8", b"A ", croc[:2], croc[2:], b"!")
    )

    assert (heard.text, heard.fault) == ("A 🐊!", None)
    assert len(heard.pieces) > 1


def test_no_content_type() -> None:
    """What a service does not name is a text."""
    assert hear(streaming("application/octet-stream", b"Yes.")).text == "Yes."


@pytest.mark.parametrize(
    ("chunks", "text", "usage"),
    [
        ([b"data: Hel\n\nda", b"ta: lo\n\n"], "Hello", Usage()),
        ([b"data: one\ndata: two\r\n\r\ndata:  three\n\n"], "one\ntwo three", Usage()),
        ([b": comment\nevent: x\nid: 1\ndata: a\n\n"], "a", Usage()),
        (
            [
                b'data: {"text": "a"}\n\n',
                b'data: {"usage": {"input_tokens": 2, "output_tokens": 1}}\n\n',
                b"data: [DONE]\n\n",
            ],
            "a",
            Usage(2, 1),
        ),
        ([b'data: {"no": "json of ours"}\n\n'], '{"no": "json of ours"}', Usage()),
        ([b"data: {broken\n\n"], "{broken", Usage()),
        ([b"data: a\n\ndata: b\n"], "ab", Usage()),
        ([b"data: a\n\ndata: b\ndata: c"], "ab\nc", Usage()),
    ],
)
def test_events(chunks: list[bytes], text: str, usage: Usage) -> None:
    """Server-sent events have texts, or objects as above."""
    heard = hear(streaming("text/event-stream", *chunks))

    assert (heard.text, heard.usage, heard.fault) == (text, usage, None)


def status(code: int, **headers: str) -> Service:
    """A service that always answers with this status."""

    async def service(_: web.Request) -> web.Response:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=code, headers=names)

    return service


@pytest.mark.parametrize(
    ("service", "fault", "asked"),
    [
        (status(400), AgentErrorReason.REFUSED, 1),
        (status(401), AgentErrorReason.UNAUTHORIZED, 1),
        (status(403), AgentErrorReason.UNAUTHORIZED, 1),
        (status(404), AgentErrorReason.REFUSED, 1),
        (status(429, Retry_After="0"), AgentErrorReason.RATE_LIMITED, 3),
        (status(500), AgentErrorReason.FAILED, 1),
        (status(502), AgentErrorReason.FAILED, 1),
        (status(503), AgentErrorReason.FAILED, 3),
        (status(302, Location="http://127.0.0.1:1/"), AgentErrorReason.FAILED, 1),
        (status(204), AgentErrorReason.FAILED, 1),
    ],
)
def test_refusals(service: Service, fault: AgentErrorReason, asked: int) -> None:
    """Each status is a fault of its own; only who was too busy is asked again."""
    heard = hear(service)

    assert (heard.fault, heard.asked) == (fault, asked)


def answering(text: str, content_type: str) -> Service:
    """A service with one answer."""

    async def service(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type=content_type)

    return service


@pytest.mark.parametrize(
    ("text", "content_type", "fault"),
    [
        ("{", "application/json", AgentErrorReason.MALFORMED),
        ("[]", "application/json", AgentErrorReason.MALFORMED),
        ("{}", "application/json", AgentErrorReason.MALFORMED),
        ('{"reply": 7}', "application/json", AgentErrorReason.MALFORMED),
        ('{"reply": ""}', "application/json", AgentErrorReason.EMPTY),
        ("[" * 100_000, "application/json", AgentErrorReason.MALFORMED),
        (
            f'{{"reply": "{"x" * 2**21}"}}',
            "application/json",
            AgentErrorReason.TOO_LONG,
        ),
        ("<html>", "text/html", AgentErrorReason.MALFORMED),
        ("", "text/plain", AgentErrorReason.EMPTY),
        ("x" * 2**21, "text/plain", AgentErrorReason.TOO_LONG),
        ("x" * 2**21, "text/event-stream", AgentErrorReason.TOO_LONG),
    ],
)
def test_answers_that_are_none(
    text: str, content_type: str, fault: AgentErrorReason
) -> None:
    """What cannot be read, says nothing or has no end is a fault of its own."""
    assert hear(answering(text, content_type)).fault is fault


def test_a_cut_stream() -> None:
    """What came before the connection broke is kept."""
    heard = hear(streaming("text/plain", b"The answer is", cut=True))

    assert (heard.text, heard.fault) == ("The answer is", AgentErrorReason.FAILED)


def test_slow() -> None:
    """Who does not begin in time has no answer; he is not asked again."""

    async def service(_: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    heard = hear(service, Limits(0.2, 30))
    assert (heard.fault, heard.asked) == (AgentErrorReason.TIMEOUT, 1)


def test_nobody_there() -> None:
    """Who cannot be connected to is tried again, and then out of reach."""
    heard = Heard()

    async def run() -> str:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            agent = Http(f"http://127.0.0.1:{nobody.getsockname()[1]}/", None, 5.0)
            await listen(agent, PATIENT, heard)
            with pytest.raises(AgentError) as refused:
                await agent.check()
            await agent.close()
            return str(refused.value)

    assert "cannot connect" in asyncio.run(run())
    assert heard.fault is AgentErrorReason.UNREACHABLE


def test_check() -> None:
    """A service that is there is there, whatever it says to HEAD."""
    calls: list[str] = []

    async def run() -> str:
        async def ask(request: web.Request) -> web.Response:
            calls.append(request.method)
            return web.Response()

        app = web.Application()
        app.router.add_post("/ask", ask)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        place = f"127.0.0.1:{runner.addresses[0][1]}/ask"
        agent = Http(f"http://me:hush@{place}", None, 5.0)
        told = await agent.check()
        await agent.close()
        await runner.cleanup()
        return told

    told = asyncio.run(run())
    assert told.startswith("http://127.0.0.1:")
    assert told.endswith("/ask is there (HEAD: 405)")
    assert calls == []
