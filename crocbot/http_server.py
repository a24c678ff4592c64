"""
Incoming HTTP: one rule for the health address and for the webhook.

    accept --> bounded connection --> aiohttp --> the application

- The number of connections is bounded.  One more closes the one that was quiet for the
  longest time, of those whose request is not being answered if there is one.
- The head of a request is complete within `HEAD_SECONDS`, or the connection is closed,
  also if it began behind another request.
- A request has at most `max_request_bytes`, or the connection is closed.
- A connection without a request is closed after `IDLE_SECONDS`.
- Compressed bodies are not decoded: neither page nor Telegram's webhook needs that.
- What clients do wrong is logged at most once a minute.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import time
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from crocbot import log

HEAD_SECONDS = 10.0
IDLE_SECONDS = 75.0
MAX_CONNECTIONS = 128
MIN_CONNECTIONS = 4
# Each server has one eighth of the files that may be open: most are for other servers.
FILES_PER_CONNECTION = 8
EMPTY_LINE = (b"\r\n\r\n", b"\n\n")
MAX_TAIL_BYTES = 64
# More turns of the event loop than a connection takes from its socket to aiohttp, which
# can then close it.
ACCEPT_TURNS = 10

logger = log.logger(__name__)


def max_connections() -> int:
    """Return how many connections a server may have, by the limit of open files."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, files // FILES_PER_CONNECTION))


async def settle_connections() -> None:
    """Let the event loop hand over the connections that it has accepted, or closed."""
    for _ in range(ACCEPT_TURNS):
        await asyncio.sleep(0)


class HttpServer:
    """
    Serves an application at one address, until it is closed.

    `port` is None until it listens.  `close` waits `shutdown_seconds` for requests that
    are being answered.
    """

    def __init__(
        self, app: web.Application, *, max_request_bytes: int, shutdown_seconds: float
    ) -> None:
        app.middlewares.append(self._track)
        rate_limited = log.RateLimitedLog(time.monotonic)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=IDLE_SECONDS,
            # A small body that decodes to a large one must not keep others waiting.
            auto_decompress=False,
            logger=_server_logger(rate_limited),
            shutdown_timeout=shutdown_seconds,
        )
        self.port: int | None = None
        self.max_request_bytes = max_request_bytes
        self._max_connections = max_connections()
        # In the order of their activity, the quietest first.
        self._connections: dict[asyncio.BaseTransport, _Connection] = {}
        self._listener: asyncio.Server | None = None
        self._rate_limited = rate_limited

    async def listen(self, host: str, port: int) -> None:
        """Serve at this address.  Raise OSError."""
        if self._runner.server is None:
            await self._runner.setup()
        loop = asyncio.get_running_loop()
        # asyncio accepts as many at once, before the oldest of them can be closed.
        backlog = self._max_connections // 2
        self._listener = await loop.create_server(
            self._accept, host, port, backlog=backlog
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Accept no more connections, and close those that there are."""
        if self._listener is not None:
            self._listener.close()
            await settle_connections()
        await self._runner.cleanup()

    def add(self, transport: asyncio.BaseTransport, connection: _Connection) -> None:
        """Take a new connection, and close the quietest one if there are too many."""
        if len(self._connections) >= self._max_connections:
            self._close_quietest()
        self._connections[transport] = connection

    def record_activity(self, transport: asyncio.BaseTransport) -> None:
        """Move a connection behind those that were active before it."""
        connection = self._connections.pop(transport, None)
        if connection is not None:
            self._connections[transport] = connection

    def remove(self, transport: asyncio.BaseTransport) -> None:
        """Forget a connection that is closed."""
        self._connections.pop(transport, None)

    def _accept(self) -> _Connection:
        if self._runner.server is None:
            raise RuntimeError("the server is closed")
        return _Connection(self, self._runner.server())

    def _close_quietest(self) -> None:
        idle = (each for each in self._connections.items() if not each[1].is_answering)
        transport, connection = next(idle, next(iter(self._connections.items())))
        self.remove(transport)
        connection.abort()
        self._rate_limited.error(
            "too many connections to an HTTP server: the quietest ones are closed",
            port=self.port,
            connections=self._max_connections,
        )

    @web.middleware
    async def _track(self, request: web.Request, handler: Handler) -> Any:
        """Record at the connection that a request is being answered."""
        transport = request.transport
        connection = None if transport is None else self._connections.get(transport)
        if connection is None:
            return await handler(request)
        connection.begin_answer()
        try:
            return await handler(request)
        finally:
            connection.end_answer(await _last_bytes(request))


async def _last_bytes(request: web.Request) -> tuple[bytes, ...]:
    """Return the last bytes of a request, or alternatives; none if it is not here."""
    if not request.content.is_eof():
        return ()
    if not request.content_length:
        return EMPTY_LINE
    try:
        body = await request.read()
    except Exception:
        # It is too large, or the client has gone.
        return ()
    return (body[-MAX_TAIL_BYTES:],)


class _ClientErrors(logging.Filter):
    """Replaces aiohttp's traceback of each malformed request by a line a minute."""

    def __init__(self, rate_limited: log.RateLimitedLog) -> None:
        super().__init__()
        self._rate_limited = rate_limited

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether aiohttp may log a record."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError):
            return True
        self._rate_limited.error(
            "a malformed HTTP request was refused", error=type(error).__name__
        )
        return False


def _server_logger(rate_limited: log.RateLimitedLog) -> logging.Logger:
    """Return a logger for aiohttp's server; each server has one of its own."""
    found = logging.Logger(f"{__name__}.aiohttp")
    found.parent = logging.getLogger()
    found.addFilter(_ClientErrors(rate_limited))
    return found


class _Connection(asyncio.Protocol):
    """A connection that passes everything on to aiohttp's protocol."""

    def __init__(self, server: HttpServer, handler: web.RequestHandler) -> None:
        self._server = server
        self._handler = handler
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._request_bytes = 0
        self._tail = b""
        self.is_answering = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the time for the head of the first request."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.add(transport, self)
        self._start_deadline()
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass data on; outside of an answer it is a part of a head."""
        if self._transport is not None:
            self._server.record_activity(self._transport)
        self._tail = (self._tail + data[-MAX_TAIL_BYTES:])[-MAX_TAIL_BYTES:]
        self._request_bytes += len(data)
        if self._request_bytes > self._server.max_request_bytes:
            self.abort()
            return
        if self._deadline is None and not self.is_answering:
            self._start_deadline()
        self._handler.data_received(data)

    def eof_received(self) -> None:
        """Pass the end of the requests on; the connection is closed then."""
        self._handler.eof_received()

    def pause_writing(self) -> None:
        """Pass on that the client does not read."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the client reads again."""
        self._handler.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Pass the end of the connection on."""
        self._cancel_deadline()
        if self._transport is not None:
            self._server.remove(self._transport)
        self._handler.connection_lost(exc)

    def begin_answer(self) -> None:
        """Note that the head of a request is complete."""
        self.is_answering = True
        self._cancel_deadline()

    def end_answer(self, last_bytes: tuple[bytes, ...]) -> None:
        """Note that a request was answered; other bytes behind it begin a head."""
        self.is_answering = False
        self._request_bytes = 0
        if not self._tail.endswith(last_bytes):
            self._start_deadline()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _start_deadline(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(HEAD_SECONDS, self.abort)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
