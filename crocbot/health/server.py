"""A small HTTP server that shows the gateway's conditions, while the gateway runs."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Mapping
from typing import Protocol, Self

from aiohttp import web

from crocbot import log
from crocbot.errors import OperatorError

OFF = "off"
SETTING = "CROCBOT_HEALTH_ADDRESS"
RETRY_SECONDS = 5.0
CHECK_TIMEOUT_SECONDS = 4.0
MAX_REASON_CHARS = 300

logger = log.logger(__name__)


class Conditions(Protocol):
    """What must hold for the gateway to be ready."""

    async def check(self) -> Mapping[str, str | None]:
        """Return each condition by its name: None if it holds, else why it fails."""


class Health:
    """
    The server; enter it inside the event loop.

    An address that another program has is tried again while the gateway works; one
    that cannot be had at all raises OperatorError.  `port` is None until it listens.
    """

    def __init__(self, address: str, conditions: Conditions) -> None:
        self._address = address
        self._conditions = conditions
        self._retry: asyncio.Task[None] | None = None
        self.port: int | None = None
        app = web.Application()
        app.router.add_get("/healthz", _healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        if self._address == OFF:
            return self
        await self._runner.setup()
        try:
            listening = await self._listen()
        except BaseException:
            await self._runner.cleanup()
            raise
        if not listening:
            self._retry = asyncio.create_task(self._retry_to_listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._retry is not None:
            self._retry.cancel()
            await asyncio.gather(self._retry, return_exceptions=True)
        await self._runner.cleanup()

    async def _listen(self) -> bool:
        """Return whether it worked; OperatorError if it never will."""
        host, port = split(self._address)
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno != errno.EADDRINUSE:
                raise OperatorError(
                    f"{SETTING}: cannot listen on {self._address}: {reason}"
                ) from error
            logger.error(
                "no health page: another program has the address",
                address=self._address,
                next_in=RETRY_SECONDS,
            )
            return False
        self.port = self._runner.addresses[0][1]
        return True

    async def _retry_to_listen(self) -> None:
        while True:
            await asyncio.sleep(RETRY_SECONDS)
            try:
                if await self._listen():
                    return
            except OperatorError as error:
                logger.error("no health page", error=str(error))

    async def _readyz(self, _: web.Request) -> web.Response:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                conditions = await self._conditions.check()
        except TimeoutError:
            conditions = {
                "gateway": f"gave no answer within {CHECK_TIMEOUT_SECONDS:g} s"
            }
        lines = [
            f"[+]{name} ok" if reason is None else f"[-]{name} failed: {_line(reason)}"
            for name, reason in conditions.items()
        ]
        ready = all(reason is None for reason in conditions.values())
        lines.append("ready" if ready else "not ready")
        return _page("\n".join(lines), 200 if ready else 503)


async def _healthz(_: web.Request) -> web.Response:
    return _page("ok", 200)


def _page(text: str, status: int) -> web.Response:
    return web.Response(
        text=f"{text}\n", status=status, headers={"Cache-Control": "no-store"}
    )


def _line(text: str) -> str:
    """Return a reason, which may come from any library, as one printable line."""
    printable = "".join(letter if letter.isprintable() else "?" for letter in text)
    return printable[:MAX_REASON_CHARS]


def split(address: str) -> tuple[str, int]:
    """
    Take host and port apart.

        [::1]:8787 -> ::1, 8787
    """
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
