"""The rules for every agent: bytes, redirects and secrets, whatever a server sends."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from crocbot.agents import Agent, rules
from crocbot.agents.answer import StreamRedactor
from crocbot.agents.http import HttpAgent
from crocbot.http_client import HttpClient
from crocbot.log import REDACTED, Redactor
from crocbot.turn_outcomes import AgentErrorReason
from tests.certificates import Authority
from tests.crocbot.fakes import Handler, Reading, read_answer, serving
from tests.servers import stream_server

pytest.importorskip("openai", reason="the extra crocbot[openai] is not installed")

from crocbot.agents.openai import OpenAIAgent

TOKEN = "4242424242:AAthis-is-very_secret-indeed-00000000"


def an_http_agent(url: str) -> Agent:
    """Return an agent that posts to a service."""
    return HttpAgent(url, None, 5.0)


def an_openai_agent(url: str) -> Agent:
    """Return an agent that asks a model."""
    return OpenAIAgent(
        base_url=url.removesuffix("/chat/completions"),
        api_key="sk-key",
        model="m",
        system_prompt="Be brief.",
        connect_seconds=5.0,
    )


every_agent = pytest.mark.parametrize("create", [an_http_agent, an_openai_agent])


async def read(create: Callable[[str], Agent], handler: Handler) -> tuple[Reading, int]:
    """Return what an agent reads from a server, and the bytes that were sent to it."""
    sent = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = await handler(request)
        sent += response.body_length
        return response

    async with (
        asyncio.timeout(60),
        serving({"POST /chat/completions": handle}) as place,
    ):
        agent = create(f"http://{place}/chat/completions")
        reading = await read_answer(agent)
        await agent.close()
    return reading, sent


def endless(chunk: bytes, status: int = 200, **headers: str) -> Handler:
    """Return a handler that sends a chunk until the client hangs up."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers=headers)
        await response.prepare(request)
        try:
            while True:
                await response.write(chunk)
        except ConnectionError:
            return response

    return handle


EVENTS = {"Content-Type": "text/event-stream"}
JSON = {"Content-Type": "application/json"}
LINE = b"x" * 65536


@every_agent
@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        (endless(LINE, **EVENTS), AgentErrorReason.TOO_LONG),
        (endless(b"data: x\n" * 8192, **EVENTS), AgentErrorReason.TOO_LONG),
        (endless(b": x\r" * 8192, **EVENTS), AgentErrorReason.TOO_LONG),
        (endless(b"event: x\r\n" * 8192, **EVENTS), AgentErrorReason.TOO_LONG),
        (endless(b": alive\n\n" * 8192, **EVENTS), AgentErrorReason.TOO_LONG),
        (endless(LINE, **JSON), AgentErrorReason.TOO_LONG),
        (endless(LINE, 400), AgentErrorReason.REFUSED),
        (endless(LINE, 500, **JSON), AgentErrorReason.FAILED),
    ],
)
async def test_an_endless_body(
    create: Callable[[str], Agent],
    handler: Handler,
    reason: AgentErrorReason,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An endless line, event, stream, object or error ends, at a number of bytes."""
    monkeypatch.setattr(rules, "MAX_STREAM_BYTES", 4 * 1024 * 1024)
    reading, _ = await read(create, handler)

    assert reading.reason is reason


@every_agent
async def test_a_trickling_error(
    create: Callable[[str], Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body of an error is read for a short time only."""
    monkeypatch.setattr(rules, "ERROR_SECONDS", 0.05)

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=401)
        await response.prepare(request)
        while True:
            await response.write(b"x")
            await asyncio.sleep(0.01)

    reading, _ = await read(create, handle)

    assert reading.reason is AgentErrorReason.UNAUTHORIZED


@every_agent
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect(create: Callable[[str], Agent], status: int) -> None:
    """A redirect is not followed; the error names the target without its secrets."""
    requested: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        requested.append(request.path)
        return web.Response()

    async with serving(
        {"POST /{path:.*}": elsewhere, "GET /{path:.*}": elsewhere}
    ) as it:

        async def handle(_: web.Request) -> web.Response:
            location = {"Location": f"http://me:hush@{it}/x?key=hush"}
            return web.Response(status=status, headers=location)

        reading, _ = await read(create, handle)

    assert requested == []
    assert f"redirect to http://{it}/x: redirects are not followed" in str(
        reading.error
    )
    assert "hush" not in str(reading.error)


async def refuse(agent: Agent) -> None:
    """Check that one request ends with an error of the operator."""
    reading = await read_answer(agent)
    await agent.close()

    assert (reading.reason, reading.slept) == (AgentErrorReason.OPERATOR, [])
    assert "set OPENAI_BASE_URL or CROCBOT_AGENT_URL" in str(reading.error)
    assert "hush" not in str(reading.error)


@every_agent
async def test_a_server_without_tls(create: Callable[[str], Agent]) -> None:
    """A URL with https:// of a server without TLS is wrong, not unreachable."""
    async with serving({}) as place:
        await refuse(create(f"https://{place}/chat/completions"))


@every_agent
async def test_an_unknown_certificate(
    create: Callable[[str], Agent], tmp_path: Path
) -> None:
    """A certificate that cannot be verified is the operator's to install."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*Authority(tmp_path).issue("it.example"))

    async def serve(*_: Any) -> None:
        """Say nothing."""

    async with stream_server(serve, ssl=context) as port:
        await refuse(create(f"https://127.0.0.1:{port}/chat/completions"))


@pytest.mark.parametrize("url", ["ftp://me:hush@127.0.0.1/", "http:///hush"])
async def test_an_invalid_url(url: str) -> None:
    """A URL that is none of HTTP is wrong; it may have a password and is not shown."""
    await refuse(an_http_agent(url))


@pytest.mark.parametrize("reason", [ssl.SSLEOFError, ssl.SSLZeroReturnError])
async def test_a_server_that_closes_during_tls(
    reason: type[ssl.SSLError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that restarts may close the connection: it is tried again."""
    key: Any = SimpleNamespace(host="it.example", port=443, ssl=True)

    @asynccontextmanager
    async def request(*_: Any, **__: Any) -> AsyncIterator[None]:
        raise aiohttp.ClientConnectorSSLError(key, reason(8, "EOF occurred"))
        yield

    monkeypatch.setattr(HttpClient, "request", request)
    reading = await read_answer(an_http_agent("https://it.example/"))

    assert (reading.reason, len(reading.slept)) == (AgentErrorReason.UNREACHABLE, 2)


@given(
    st.lists(
        st.sampled_from(
            [TOKEN, TOKEN[:20], TOKEN[20:], "4242", "abcabc", "abc", " hi "]
        ),
        max_size=8,
    ),
    st.lists(st.integers(1, 400)),
)
def test_secrets_in_parts(words: list[str], cuts: list[int]) -> None:
    """Wherever a text is cut into parts, the result is that of the whole text."""
    text = "".join(words)
    redactor = Redactor([TOKEN, "abcabc"])
    stream = StreamRedactor(redactor)
    ends = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    parts = [text[start:end] for start, end in pairwise(ends)]
    shown = [*map(stream.feed, parts), stream.flush()]

    assert "".join(shown) == redactor.redact(text)


@pytest.mark.parametrize(
    "written",
    [TOKEN, TOKEN.replace("_", "\\_"), TOKEN.replace("_", "\\_").replace("-", "\\-")],
)
async def test_an_agent_that_shows_a_secret(written: str) -> None:
    """A secret is replaced in the answer, however Markdown escapes it."""

    class Leaking:
        async def answer(self, _: Any) -> AsyncGenerator[str, None]:
            for char in f"It is {written}.":
                yield char

    reading = await read_answer(Leaking(), redactor=Redactor([TOKEN]))

    assert (reading.text, reading.error) == (f"It is {REDACTED}.", None)
