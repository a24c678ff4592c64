"""The HTTP server of both doors: its connections are bounded, whatever clients do."""

from __future__ import annotations

import asyncio
import gzip
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from crocbot import http_server
from crocbot.http_server import HttpServer, max_connections
from tests.ports import HOST

GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"

POST = b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"
CHUNKED = (
    b"POST /page HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\nbody\r\n0\r\n\r\n"
)


class Client:
    """One connection to the server."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self, head: bytes = GET) -> str:
        """Send a request; return the status line, empty if the server hangs up."""
        self.writer.write(head)
        return await self.status()

    async def status(self) -> str:
        """Return the status line of an answer, empty if the server hangs up."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            await self.reader.readexactly(2)
        except (ConnectionError, asyncio.IncompleteReadError):
            return ""
        return head.decode().splitlines()[0]

    async def is_closed(self) -> bool:
        """Return whether the server closes the connection without another byte."""
        try:
            return not await self.reader.read(1)
        except ConnectionError:
            return True


class Door:
    """A server whose page is `ok`, or waits if `blocked`."""

    def __init__(self) -> None:
        self.blocked = asyncio.Event()
        self.blocked.set()
        self.answering = asyncio.Semaphore(0)
        self.bodies: list[bytes] = []
        app = web.Application()
        app.router.add_route("*", "/page", self._page)
        self.server = HttpServer(app, max_request_bytes=8192, shutdown_seconds=0.1)
        self.clients: list[Client] = []

    async def _page(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.answering.release()
        await self.blocked.wait()
        return web.Response(text="ok")

    async def connect(self, data: bytes = b"") -> Client:
        """Connect, and send a part of a head."""
        client = Client(*await asyncio.open_connection(HOST, self.server.port))
        client.writer.write(data)
        self.clients.append(client)
        return client


@asynccontextmanager
async def door(files: int | None = None) -> AsyncIterator[Door]:
    """Run a server; with `files`, as with this limit of open files."""
    opened = Door()
    await opened.server.listen(HOST, 0)
    try:
        async with asyncio.timeout(30):
            yield opened
    finally:
        for client in opened.clients:
            client.writer.close()
        await opened.server.close()


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Permit four connections."""
    monkeypatch.setattr(http_server, "max_connections", lambda: 4)


@pytest.mark.usefixtures("four")
async def test_half_heads_do_not_keep_others_out() -> None:
    """One connection too many closes the quietest; this is logged once."""
    with capture_logs() as logs:
        async with door() as opened:
            halves = [await opened.connect(b"GET /pa") for _ in range(100)]
            # The last three of these are left; the oldest of them becomes active.
            await opened.connect()
            halves[-3].writer.write(b"ge HTTP/1.1\r\nHo")
            await halves[-3].writer.drain()
            assert await halves[-4].is_closed()
            fresh = await opened.connect()
            assert await fresh.request() == "HTTP/1.1 200 OK"
            assert await halves[-3].request(b"st: x\r\n\r\n") == "HTTP/1.1 200 OK"

    assert [log["connections"] for log in logs] == [4]


@pytest.mark.usefixtures("four")
async def test_a_request_that_is_answered_is_not_the_quietest() -> None:
    """Half heads are closed before a request whose answer is awaited."""
    async with door() as opened:
        opened.blocked.clear()
        patient = await opened.connect(GET)
        await opened.answering.acquire()
        for _ in range(20):
            await opened.connect(b"GET /pa")
        await (await opened.connect()).request(b"nonsense\r\n\r\n")
        opened.blocked.set()
        assert await patient.status() == "HTTP/1.1 200 OK"


@pytest.mark.usefixtures("four")
async def test_only_requests_that_are_answered() -> None:
    """If the answers of all are awaited, the one that waits longest is closed."""
    async with door() as opened:
        opened.blocked.clear()
        clients = []
        for _ in range(5):
            clients.append(await opened.connect(GET))
            await opened.answering.acquire()
        assert await clients[0].is_closed()
        opened.blocked.set()
        assert await clients[1].status() == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("data", [b"", b"GET /page HT", GET[:-2]])
@pytest.mark.parametrize("reused", [False, True])
async def test_a_head_must_be_complete_in_time(
    monkeypatch: pytest.MonkeyPatch, data: bytes, reused: bool
) -> None:
    """A head that is not complete in time closes the connection, also a later one."""
    monkeypatch.setattr(http_server, "IDLE_SECONDS", 0.2)
    async with door() as opened:
        if reused:
            client = await opened.connect()
            assert await client.request() == "HTTP/1.1 200 OK"
        monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.1)
        if not reused:
            client = await opened.connect()
        client.writer.write(data)
        assert await client.is_closed()


@pytest.mark.parametrize("first", [GET, GET * 2, POST, POST * 2, CHUNKED])
@pytest.mark.parametrize("half", [b"", b"G", GET[:-2]])
async def test_half_a_head_behind_a_request(
    monkeypatch: pytest.MonkeyPatch, first: bytes, half: bytes
) -> None:
    """It must be complete in time, too; a connection without one stays open."""
    async with door() as opened:
        opened.blocked.clear()
        client = await opened.connect(first + half)
        for left in reversed(range(first.count(b"/page"))):
            await opened.answering.acquire()
            if not left:
                # Short only for what is behind the last request.
                monkeypatch.setattr(http_server, "HEAD_SECONDS", 0.1)
            opened.blocked.set()
            opened.blocked.clear()
            assert await client.status() == "HTTP/1.1 200 OK"
        if half:
            assert await client.is_closed()
        else:
            await asyncio.sleep(0.2)
            monkeypatch.undo()
            opened.blocked.set()
            assert await client.request() == "HTTP/1.1 200 OK"


async def test_an_answer_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for a head does not apply to its answer."""
    # So long that the head is here in time on a machine that is busy.
    monkeypatch.setattr(http_server, "HEAD_SECONDS", 2.0)
    async with door() as opened:
        opened.blocked.clear()
        client = await opened.connect(GET)
        await opened.answering.acquire()
        await asyncio.sleep(2.5)
        opened.blocked.set()
        assert await client.status() == "HTTP/1.1 200 OK"


async def test_many_requests_on_one_connection() -> None:
    """Requests that are sent before the answers are read are all answered."""
    async with door() as opened:
        client = await opened.connect(GET * 100)
        statuses = [await client.status() for _ in range(100)]

    assert statuses == ["HTTP/1.1 200 OK"] * 100


async def test_a_client_that_does_not_read() -> None:
    """Its requests wait, and other clients are answered."""
    async with door() as opened:
        deaf = await opened.connect()
        deaf.writer.transport.set_write_buffer_limits(high=0)
        sending = asyncio.create_task(send_endlessly(deaf))
        for _ in range(5):
            assert await (await opened.connect()).request() == "HTTP/1.1 200 OK"
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def send_endlessly(client: Client) -> None:
    """Send requests and read no answer."""
    while True:
        client.writer.write(GET * 100)
        await client.writer.drain()


@pytest.mark.parametrize(
    "data",
    [
        b"GET /page HTTP/1.1\r\nX: " + b"x" * 9000,
        b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000,
        b"\r\n" * 5000,
        GET * 1000,
    ],
)
async def test_the_longest_request(data: bytes) -> None:
    """A request with more bytes closes its connection."""
    async with door() as opened:
        client = await opened.connect(data)
        while not await client.is_closed():
            pass
        assert await (await opened.connect()).request() == "HTTP/1.1 200 OK"


async def test_malformed_requests_are_logged_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Fifty of them are one line; a bug in a page is logged with its traceback."""
    with capture_logs() as logs:
        async with door() as opened:
            for _ in range(50):
                client = await opened.connect()
                status = await client.request(b"GET / HTTP/1.1\r\n no\x00name\r\n\r\n")
                assert status == "HTTP/1.0 400 Bad Request"
            opened.blocked = None  # type: ignore[assignment]
            fault = await (await opened.connect()).request()
            assert fault == "HTTP/1.1 500 Internal Server Error"

    assert [log["event"] for log in logs] == ["a malformed HTTP request was refused"]
    assert "'NoneType' object has no attribute 'wait'" in caplog.text


async def test_a_compressed_body_is_not_decoded() -> None:
    """A small body that decodes to a large one costs no time."""
    bomb = gzip.compress(bytes(10**6))
    head = b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n"
    length = f"Content-Length: {len(bomb)}\r\n\r\n".encode()
    async with door() as opened:
        client = await opened.connect()
        assert await client.request(head + length + bomb) == "HTTP/1.1 200 OK"
    assert opened.bodies == [bomb]


@pytest.fixture
def limits() -> Iterator[Any]:
    """Restore the limit of open files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("files", "connections"), [(16, 4), (64, 8), (256, 32), (1024, 128), (65536, 128)]
)
def test_connections_by_open_files(
    limits: Any,
    monkeypatch: pytest.MonkeyPatch,
    files: int,
    connections: int,
) -> None:
    """An eighth of the open files, within bounds."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert max_connections() == connections
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, 0))
    assert max_connections() == 128
