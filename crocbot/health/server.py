"""A small HTTP server that shows the gateway's conditions, while the gateway runs."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Mapping
from typing import Protocol, Self

from aiohttp import web

from crocbot import log
from crocbot.backoff import Backoff
from crocbot.errors import OperatorError
from crocbot.health.send import MAX_FORM_BYTES, SendPage
from crocbot.health.status import StatusPage
from crocbot.http_server import HttpServer
from crocbot.model import HostPort
from crocbot.settings import HEALTH_ADDRESS
from crocbot.text import printable

MAX_RETRY_SECONDS = 5.0
CHECK_TIMEOUT_SECONDS = 4.0
MAX_REASON_CHARS = 300
# A head: the pages need no body.
MAX_REQUEST_BYTES = 32 * 1024

logger = log.logger(__name__)


class Conditions(Protocol):
    """What must hold for the gateway to be ready."""

    async def check(self) -> Mapping[str, str | None]:
        """Return each condition by its name: None if it holds, else why it fails."""

    def notes(self) -> Mapping[str, str]:
        """Return what is to be known of conditions that hold, by their names."""


class Health:
    """
    The server; enter it inside the event loop.

    Without an address there is no server.  If another program listens on the address,
    the server retries while the gateway runs; an address that cannot be bound for
    another reason raises OperatorError.  `send` is the page that sends messages,
    `status` the one for `crocbot status`.
    """

    def __init__(
        self,
        address: HostPort | None,
        conditions: Conditions,
        *,
        send: SendPage | None = None,
        status: StatusPage | None = None,
    ) -> None:
        self._address = address
        self._conditions = conditions
        self._retry: asyncio.Task[None] | None = None
        app = web.Application()
        app.router.add_get("/healthz", _healthz)
        app.router.add_get("/readyz", self._readyz)
        if status is not None:
            app.router.add_get("/status", status.handle)
        max_bytes = MAX_REQUEST_BYTES
        if send is not None:
            app.router.add_post("/send", send.handle)
            max_bytes += 2 * MAX_FORM_BYTES
        self._server = HttpServer(
            app, max_request_bytes=max_bytes, shutdown_seconds=0.1
        )

    @property
    def port(self) -> int | None:
        """Return the port; None until it listens."""
        return self._server.port

    async def __aenter__(self) -> Self:
        if self._address is None:
            return self
        try:
            listening = await self._listen(self._address)
        except BaseException:
            await self._server.close()
            raise
        if not listening:
            logger.error(
                "no health page: another program has the address",
                address=str(self._address),
            )
            self._retry = asyncio.create_task(self._retry_to_listen(self._address))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._retry is not None:
            self._retry.cancel()
            await asyncio.gather(self._retry, return_exceptions=True)
        await self._server.close()

    async def _listen(self, address: HostPort) -> bool:
        """Return False if the address is busy; OperatorError if it cannot be bound."""
        try:
            await self._server.listen(address.host, address.port)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno != errno.EADDRINUSE:
                raise OperatorError(
                    f"{HEALTH_ADDRESS}: cannot listen on {address}: {reason}"
                ) from error
            return False
        return True

    async def _retry_to_listen(self, address: HostPort) -> None:
        backoff = Backoff(longest=MAX_RETRY_SECONDS)
        logged = ""
        while True:
            await asyncio.sleep(backoff.next_pause())
            try:
                if await self._listen(address):
                    logger.info("health page served", address=str(address))
                    return
            except OperatorError as error:
                # Each retry would log it otherwise.
                if str(error) != logged:
                    logged = str(error)
                    logger.error("no health page", error=logged)

    async def _readyz(self, _: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                conditions = await self._conditions.check()
        except TimeoutError:
            conditions = {
                "gateway": f"gave no answer within {CHECK_TIMEOUT_SECONDS:g} s"
            }
        notes = self._conditions.notes()
        lines = [
            _condition(name, reason, notes.get(name))
            for name, reason in conditions.items()
        ]
        ready = all(reason is None for reason in conditions.values())
        lines.append("ready" if ready else "not ready")
        return _page("\n".join(lines), 200 if ready else 503)


async def _healthz(_: web.Request) -> web.Response:
    return _page("ok", 200)


def _condition(name: str, reason: str | None, note: str | None) -> str:
    """Return the line of a condition, which fails for a reason, or may have a note."""
    if reason is not None:
        return f"[-]{name} failed: {_line(reason)}"
    return f"[+]{name} ok" if note is None else f"[+]{name} ok: {_line(note)}"


def _page(text: str, status: int) -> web.Response:
    return web.Response(
        text=f"{text}\n", status=status, headers={"Cache-Control": "no-store"}
    )


def _line(text: str) -> str:
    """Return a reason, which may come from any library, as one printable line."""
    return printable(text)[:MAX_REASON_CHARS]
