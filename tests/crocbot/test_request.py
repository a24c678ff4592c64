"""Requests: what goes over the wire, and what never leaves this file."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import telegram.error
from aiohttp import web
from telegram import InputFile
from telegram.request import RequestData
from telegram.request._requestparameter import RequestParameter

from crocbot.botapi.request import PLACEHOLDER, AiohttpRequest, FloodError
from crocbot.sandbox import Server

TOKEN = "123:a-very-secret-token"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def ask(
    answer: Answer,
    method: str = "POST",
    data: RequestData | None = None,
    seconds: float = 10,
) -> tuple[int, bytes]:
    """Make one request to a server that answers so."""

    async def run() -> tuple[int, bytes]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with AiohttpRequest(TOKEN, url, connections=1) as request:
                return await request.do_request(
                    f"{url}/bot{PLACEHOLDER}/getMe", method, data, read_timeout=seconds
                )
        finally:
            await runner.cleanup()

    return asyncio.run(run())


def parameters(**values: object) -> RequestData:
    """What the Bot makes of the parameters of a call."""
    return RequestData([RequestParameter.from_input(*item) for item in values.items()])


async def show(request: web.Request) -> web.Response:
    """Answer with what came."""
    fields = []
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            content = value.file.read().decode()
            fields.append(f"{name}={value.filename},{value.content_type},{content}")
        else:
            fields.append(f"{name}={value!s}")
    words = [request.method, request.path, request.content_type, *fields]
    return web.Response(text="\n".join(words))


def test_form() -> None:
    """Parameters travel as a form; what is no text is JSON in it."""
    data = parameters(chat_id=7, text="a&b é", allowed_updates=("message",))
    status, payload = ask(show, data=data)

    assert status == 200
    assert payload.decode().splitlines() == [
        "POST",
        f"/bot{PLACEHOLDER}/getMe",  # the token, had it not been taken out
        "application/x-www-form-urlencoded",
        "chat_id=7",
        "text=a&b é",
        'allowed_updates=["message"]',
    ]


def test_multipart() -> None:
    """With a file among them, parameters travel as multipart."""
    file = InputFile(b"the file", filename="a.txt")
    status, payload = ask(show, data=parameters(chat_id=7, document=file))

    assert status == 200
    assert payload.decode().splitlines()[2:] == [
        "multipart/form-data",
        "chat_id=7",
        "document=a.txt,text/plain,the file",
    ]


def test_the_token_is_put_in() -> None:
    """The server sees the token where the Bot wrote the placeholder."""

    async def judge(request: web.Request) -> web.Response:
        return web.Response(status=200 if TOKEN in request.path else 401)

    assert ask(judge, "GET") == (200, b"")


def test_the_token_does_not_come_back() -> None:
    """A page that shows the URL shows the placeholder instead."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(status=502, text=f"<p>{request.url} failed")

    status, payload = ask(page)

    assert status == 502
    assert TOKEN.encode() not in payload
    assert PLACEHOLDER.encode() in payload


def test_a_redirect_is_not_followed() -> None:
    """A server cannot send the token elsewhere."""
    asked = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound("/elsewhere")

    assert ask(elsewhere)[0] == 302
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ('{"ok":false,"parameters":{"retry_after":35}}', 35.0),
        ('{"ok":false,"parameters":{"retry_after":1e999}}', 86_400.0),
        ('{"ok":false,"parameters":{"retry_after":-5}}', 1.0),
        ('{"ok":false,"parameters":{"retry_after":NaN}}', 1.0),
        ('{"ok":false,"parameters":{"retry_after":"soon"}}', 1.0),
        ('{"ok":false,"parameters":[]}', 1.0),
        ("[]", 1.0),
        ("<html>Too Many Requests", 1.0),
        ("", 1.0),
    ],
)
def test_flood_wait(body: str, seconds: float) -> None:
    """A 429 says how long to wait, within a day, or it is a second."""

    async def flooded(_: web.Request) -> web.Response:
        return web.Response(status=429, text=body)

    with pytest.raises(FloodError) as wait:
        ask(flooded)

    assert wait.value.seconds == seconds


async def hang(_: web.Request) -> web.Response:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


async def trickle(request: web.Request) -> web.StreamResponse:
    """Answer a byte at a time, for ever."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("answer", [hang, trickle])
def test_every_call_ends(answer: Answer) -> None:
    """The time-out covers the whole call, also an answer that never ends."""
    with pytest.raises(telegram.error.TimedOut, match=r"no answer within 0.1 s"):
        ask(answer, seconds=0.1)


async def drop(request: web.Request) -> web.Response:
    """Hang up."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def flood(request: web.Request) -> web.StreamResponse:
    """Answer more than anybody wants."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(1024 * 1024))


@pytest.mark.parametrize(
    ("answer", "text"), [(drop, "ServerDisconnectedError"), (flood, "ValueError")]
)
def test_faults_of_the_network(answer: Answer, text: str) -> None:
    """A broken or endless answer is a fault of the network that says what it was."""
    with pytest.raises(telegram.error.NetworkError, match=text):
        ask(answer)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "name.invalid", "[::1]:1", "a b"])
def test_no_connection(host: str) -> None:
    """No error text, traceback, cause or context shows the URL or the token."""

    async def run() -> None:
        url = f"http://{host}"
        async with AiohttpRequest(TOKEN, url, connections=1) as request:
            await request.do_request(f"{url}/bot{PLACEHOLDER}/getMe", "POST")

    with pytest.raises(telegram.error.NetworkError) as raised:
        asyncio.run(run())
    error = raised.value
    shown = "".join(traceback.format_exception(error)) + repr(error)

    assert "secret" not in shown
    assert (error.__cause__, error.__context__) == (None, None)


def test_broken_ipv6_costs_nothing() -> None:
    """A host whose IPv6 address refuses is reached over IPv4 in the same call."""

    async def run() -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", show)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        url = f"http://both.test:{port}"
        try:
            async with AiohttpRequest(TOKEN, url, connections=1) as request:
                assert request._session is not None
                connector = request._session.connector
                connector._resolver.resolve = both  # type: ignore[union-attr]
                address = f"{url}/bot{PLACEHOLDER}/getMe"
                status, _ = await request.do_request(address, "POST")
                return status
        finally:
            await runner.cleanup()

    async def both(host: str, port: int, *_: object, **__: object) -> list[object]:
        """Resolve to an IPv6 address with nothing behind it, and an IPv4 one."""
        common = {"hostname": host, "port": port, "proto": 0}
        flags = {"flags": socket.AI_NUMERICHOST}
        return [
            common | flags | {"host": "::1", "family": socket.AF_INET6},
            common | flags | {"host": "127.0.0.1", "family": socket.AF_INET},
        ]

    assert asyncio.run(run()) == 200


@pytest.mark.parametrize("payload", [b"<html>", b"[]", b"", b"\xff", b"[" * 100_000])
def test_what_is_no_answer(payload: bytes) -> None:
    """What is no JSON object is no Bot API answer."""
    with pytest.raises(telegram.error.TelegramError, match="not a Bot API answer"):
        AiohttpRequest.parse_json_payload(payload)


def test_a_host_whose_ipv6_leads_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the first address swallows every packet the next one is tried soon."""
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6 here")

    async def scene() -> None:
        async with Server() as server:
            port = int(server.url.rpartition(":")[2])
            loop = asyncio.get_running_loop()

            async def resolve(*_: Any, **__: Any) -> list[Any]:
                kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
                return [
                    (socket.AF_INET6, *kind, ("::1", port, 0, 0)),
                    (socket.AF_INET, *kind, ("127.0.0.1", port)),
                ]

            monkeypatch.setattr(loop, "getaddrinfo", resolve)
            url = f"http://telegram.invalid:{port}"
            with deaf("::1", port):
                request = AiohttpRequest(server.token, url, connections=1)
                await request.initialize()
                try:
                    status, _ = await request.do_request(
                        f"{url}/bot{PLACEHOLDER}/getMe", "POST", read_timeout=9
                    )
                finally:
                    await request.shutdown()
            assert status == 200

    asyncio.run(asyncio.wait_for(scene(), 30))


@contextmanager
def deaf(host: str, port: int) -> Iterator[None]:
    """Listen, but answer no packet: who connects waits for ever."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET6))
        try:
            listener.bind((host, port))
        except OSError:
            pytest.skip("there is no IPv6 here")
        # The few connections that a full queue has room for are taken by us.
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket(socket.AF_INET6))
            filler.setblocking(False)
            filler.connect_ex((host, port))
        yield
