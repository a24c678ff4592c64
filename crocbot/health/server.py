"""Conditions to pages: a small HTTP server, for as long as the gateway runs."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Mapping
from typing import Self

from aiohttp import web

from crocbot import log
from crocbot.errors import OperatorError

OFF = "off"
SETTING = "CROCBOT_HEALTH_ADDRESS"
RETRY_SECONDS = 5.0
PATIENCE = 4.0

Readiness = Callable[[], Awaitable[Mapping[str, str | None]]]
"""What must hold for the gateway to be ready, by name: None, or why it does not."""

logger = log.logger(__name__)


class Health:
    """
    The server; enter it inside the event loop.

    An address that somebody else has is tried again: people are answered all the same.
    One that cannot be had at all is the operator's to change.  `port` is the port, once
    there is one.
    """

    def __init__(self, address: str, conditions: Readiness) -> None:
        self._address = address
        self._conditions = conditions
        self._trying: asyncio.Task[None] | None = None
        self.port: int | None = None
        app = web.Application()
        app.router.add_get("/healthz", _alive)
        app.router.add_get("/readyz", self._ready)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        if self._address != OFF:
            await self._runner.setup()
            if not await self._listen():
                self._trying = asyncio.create_task(self._keep_trying())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._trying is not None:
            self._trying.cancel()
            await asyncio.gather(self._trying, return_exceptions=True)
        await self._runner.cleanup()

    async def _listen(self) -> bool:
        """Tells whether it worked; OperatorError if it never will."""
        host, port = split(self._address)
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            why = error.strerror or str(error)
            if error.errno != errno.EADDRINUSE:
                raise OperatorError(
                    f"{SETTING}: cannot listen on {self._address}: {why}"
                ) from error
            logger.error(
                "no health page: somebody else has the address",
                address=self._address,
                next_in=RETRY_SECONDS,
            )
            return False
        self.port = self._runner.addresses[0][1]
        return True

    async def _keep_trying(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                if await self._listen():
                    return
            except OperatorError as error:
                logger.error("no health page", error=str(error))

    async def _ready(self, _: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(PATIENCE):
                conditions = await self._conditions()
        except TimeoutError:
            conditions = {"gateway": f"gave no answer within {PATIENCE:g} s"}
        lines = [
            f"[+]{name} ok" if why is None else f"[-]{name} failed: {_line(why)}"
            for name, why in conditions.items()
        ]
        ready = all(why is None for why in conditions.values())
        lines.append("ready" if ready else "not ready")
        return _page("\n".join(lines), 200 if ready else 503)


async def _alive(_: web.Request) -> web.Response:
    return _page("ok", 200)


def _page(text: str, status: int) -> web.Response:
    return web.Response(
        text=f"{text}\n", status=status, headers={"Cache-Control": "no-store"}
    )


def _line(text: str) -> str:
    """A reason may come from a stranger's library: one line, nothing that hides."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:300]


def split(address: str) -> tuple[str, int]:
    """
    Take host and port apart.

        [::1]:8787 -> ::1, 8787
    """
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
