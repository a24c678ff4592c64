"""Bot API requests: what is sent, and that no error shows the token."""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import pytest
import telegram.error
from aiohttp import web
from telegram import InputFile
from telegram.request import RequestData
from telegram.request._requestparameter import RequestParameter

from crocbot import leases
from crocbot.botapi.bot import (
    PLACEHOLDER,
    AiohttpRequest,
    FloodError,
    NotConnected,
)
from crocbot.leases import Lease
from crocbot.sandbox import Server
from tests.crocbot.fakes import serving
from tests.servers import close_runner

TOKEN = "123:a-very-secret-token"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def ask(
    answer: Answer,
    method: str = "POST",
    data: RequestData | None = None,
    seconds: float = 10,
) -> tuple[int, bytes]:
    """Make one request to a server with this answer."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with AiohttpRequest(TOKEN, url, connections=1) as request:
            return await request.do_request(
                f"{url}/bot{PLACEHOLDER}/getMe", method, data, read_timeout=seconds
            )
    finally:
        await close_runner(runner)


def parameters(**values: object) -> RequestData:
    """Return the parameters of a call as python-telegram-bot passes them."""
    return RequestData([RequestParameter.from_input(*item) for item in values.items()])


async def show(request: web.Request) -> web.Response:
    """Answer with the request."""
    fields = []
    for name, value in (await request.post()).items():
        if isinstance(value, web.FileField):
            content = value.file.read().decode()
            fields.append(f"{name}={value.filename},{value.content_type},{content}")
        else:
            fields.append(f"{name}={value!s}")
    words = [request.method, request.path, request.content_type, *fields]
    return web.Response(text="\n".join(words))


async def test_form() -> None:
    """Parameters are sent as a form; one that is not text is JSON in it."""
    data = parameters(chat_id=7, text="a&b é", allowed_updates=("message",))
    status, payload = await ask(show, data=data)

    assert status == 200
    assert payload.decode().splitlines() == [
        "POST",
        f"/bot{PLACEHOLDER}/getMe",  # the token, had it not been taken out
        "application/x-www-form-urlencoded",
        "chat_id=7",
        "text=a&b é",
        'allowed_updates=["message"]',
    ]


async def test_multipart() -> None:
    """With a file among them, parameters are sent as multipart."""
    file = InputFile(b"the file", filename="a.txt")
    status, payload = await ask(show, data=parameters(chat_id=7, document=file))

    assert status == 200
    assert payload.decode().splitlines()[2:] == [
        "multipart/form-data",
        "chat_id=7",
        "document=a.txt,text/plain,the file",
    ]


async def test_the_token_is_put_in() -> None:
    """The server gets the token in place of the placeholder."""

    async def judge(request: web.Request) -> web.Response:
        return web.Response(status=200 if TOKEN in request.path else 401)

    assert await ask(judge, "GET") == (200, b"")


async def test_no_text_has_the_token() -> None:
    """A text with the token is sent without, in the same number of characters."""
    _, payload = await ask(show, data=parameters(text=f"It is {TOKEN}!", chat_id=7))

    assert f"text=It is {'*' * len(TOKEN)}!" in payload.decode().splitlines()


async def test_the_token_does_not_come_back() -> None:
    """An error page with the URL is returned with the placeholder."""

    async def page(request: web.Request) -> web.Response:
        return web.Response(status=502, text=f"<p>{request.url} failed")

    status, payload = await ask(page)

    assert status == 502
    assert TOKEN.encode() not in payload
    assert PLACEHOLDER.encode() in payload


async def test_a_redirect_is_not_followed() -> None:
    """A server cannot send the token elsewhere."""
    asked = []

    async def elsewhere(request: web.Request) -> web.Response:
        asked.append(request.path)
        raise web.HTTPFound("/elsewhere")

    assert (await ask(elsewhere))[0] == 302
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
async def test_flood_wait(body: str, seconds: float) -> None:
    """The wait of a 429 is at most a day, and a second if there is none."""

    async def flooded(_: web.Request) -> web.Response:
        return web.Response(status=429, text=body)

    with pytest.raises(FloodError) as wait:
        await ask(flooded)

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
async def test_every_call_ends(answer: Answer) -> None:
    """The timeout covers the whole call, also an answer that never ends."""
    with pytest.raises(telegram.error.TimedOut, match=r"no answer within 0.1 s"):
        await ask(answer, seconds=0.1)


async def drop(request: web.Request) -> web.Response:
    """Hang up."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def flood(request: web.Request) -> web.StreamResponse:
    """Answer with more than is read."""
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(bytes(1024 * 1024))


@pytest.mark.parametrize(
    ("answer", "text"),
    [(drop, "ServerDisconnectedError"), (flood, "more than 4194304 bytes")],
)
async def test_faults_of_the_network(answer: Answer, text: str) -> None:
    """A broken or endless answer is a network error, which names its cause."""
    with pytest.raises(telegram.error.NetworkError, match=text):
        await ask(answer)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "name.invalid", "[::1]:1", "a b"])
async def test_no_connection(host: str) -> None:
    """No error text, traceback, cause or context shows the URL or the token."""
    url = f"http://{host}"
    async with AiohttpRequest(TOKEN, url, connections=1) as request:
        with pytest.raises(telegram.error.NetworkError) as raised:
            await request.do_request(f"{url}/bot{PLACEHOLDER}/getMe", "POST")
    error = raised.value
    shown = "".join(traceback.format_exception(error)) + repr(error)

    assert "very-secret" not in shown
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.parametrize("payload", [b"<html>", b"[]", b"", b"\xff", b"[" * 100_000])
def test_what_is_no_answer(payload: bytes) -> None:
    """A payload that is not a JSON object is not a Bot API answer."""
    with pytest.raises(telegram.error.TelegramError, match="not a Bot API answer"):
        AiohttpRequest.parse_json_payload(payload)


@pytest.mark.parametrize("silent", [False, True])
async def test_a_host_whose_ipv6_fails(
    monkeypatch: pytest.MonkeyPatch, silent: bool
) -> None:
    """If its IPv6 address refuses or stays silent, IPv4 is used in the same call."""

    async def resolve(*_: Any, **__: Any) -> list[Any]:
        kind = (socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [
            (socket.AF_INET6, *kind, ("::1", port, 0, 0)),
            (socket.AF_INET, *kind, ("127.0.0.1", port)),
        ]

    async with Server() as server:
        port = int(server.url.rpartition(":")[2])
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        url = f"http://telegram.invalid:{port}"
        with silent_listener("::1", port) if silent else nullcontext():
            async with AiohttpRequest(server.token, url, connections=1) as request:
                status, _ = await request.do_request(
                    f"{url}/bot{PLACEHOLDER}/getMe", "POST", read_timeout=9
                )
    assert status == 200


@contextmanager
def silent_listener(host: str, port: int) -> Iterator[None]:
    """Listen, but answer no packet: a connection is never made."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_INET6))
        try:
            listener.bind((host, port))
        except OSError:
            pytest.skip("there is no IPv6 here")
        # These take the few places in the queue.
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket(socket.AF_INET6))
            filler.setblocking(False)
            filler.connect_ex((host, port))
        yield


@pytest.mark.parametrize("left", [0.1, 0.0])
async def test_a_request_that_gets_no_connection_under_its_lease(left: float) -> None:
    """It is not made later, when another replica may work the chat."""
    calls, free = 0, asyncio.Event()

    async def answer(_: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        await free.wait()
        return web.json_response({"ok": True, "result": True})

    async with serving({"POST /{path:.*}": answer}) as address:
        url = f"http://{address}"
        call = f"{url}/bot{PLACEHOLDER}/sendMessage"
        async with AiohttpRequest(TOKEN, url, connections=1) as request:
            first = asyncio.create_task(request.do_request(call, "POST"))
            while not calls:
                await asyncio.sleep(0)
            lease = Lease(7, 1, leases.now() + left)
            with leases.working_under(lease), pytest.raises(NotConnected):
                await request.do_request(call, "POST")
            assert calls == 1
            free.set()
            await first
            lease.renew(leases.now() + 60.0)
            with leases.working_under(lease):
                assert (await request.do_request(call, "POST"))[0] == 200
