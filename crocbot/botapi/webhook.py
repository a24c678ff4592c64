"""
Calls from Telegram to raw updates: a small HTTP server behind a proxy of the operator.

    POST .../<a path nobody can guess>     X-Telegram-Bot-Api-Secret-Token: <secret>
    {"update_id": 7, "message": ...}

| answer | when                                                              |
|--------|-------------------------------------------------------------------|
| 200    | the update is stored; Telegram forgets it                         |
| 403    | the secret is not ours                                            |
| 404    | the path is not ours                                              |
| 400    | no JSON object, or not all of it                                  |
| 408    | the body did not come in time                                     |
| 413    | the body is too long                                              |
| 500    | the update could not be stored; Telegram brings it again          |
| 503    | too much waits here already; the same                             |

Only the last part of the path is looked at: a proxy may take away what is before it.
Once in a while Telegram is asked how it gets on.  If somebody else changed the webhook
it is set again.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web

from crocbot import log
from crocbot.botapi.updates import by_id
from crocbot.errors import CrocbotError, InboxError, OperatorError
from crocbot.events import EventListener, PollFailed, WebhookOutcome, WebhookRequest
from crocbot.model import ErrorEvent, ErrorType, RawUpdate, ReconnectReason, Severity

HEADER = "X-Telegram-Bot-Api-Secret-Token"
MOST_BYTES = 1024 * 1024
BODY_SECONDS = 10.0
ROOM_SECONDS = 10.0
LOOK_SECONDS = 20.0
UNGUESSABLE = 20

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True)
class Door:
    """Where Telegram calls, what it shows, and where we listen."""

    url: str
    secret: str
    host: str
    port: int


def door(url: str, secret: str, listen: str) -> Door:
    """
    Make the door's address one that nobody can guess, unless it is one already.

        https://bot.example.org/crocbot --> https://bot.example.org/crocbot/5f0c...
    """
    host, _, port = listen.rpartition(":")
    if len(_last(urlsplit(url).path)) < UNGUESSABLE:
        path = hmac.new(secret.encode(), b"path", hashlib.sha256).hexdigest()[:32]
        url = f"{url.rstrip('/')}/{path}"
    return Door(url, secret, host.strip("[]"), int(port))


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


@dataclass(slots=True)
class Webhook:
    """
    The server.  `accept`, `room`, `completed` and `trouble` are as the poller's.

    `hook` tells Telegram where to call; `look` asks it how it gets on.
    """

    door: Door
    hook: Callable[[Door], Awaitable[None]]
    look: Callable[[], Awaitable[Mapping[str, Any]]]
    accept: Callable[[Sequence[RawUpdate]], Awaitable[int]]
    room: Callable[[], Awaitable[int]]
    events: EventListener
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    completed: float | None = field(default=None, init=False)
    trouble: str | None = field(default=None, init=False)
    _failed_at: object = field(default=None, init=False)

    async def run(self) -> None:
        """Take calls until cancelled, or until the token is refused."""
        app = web.Application(client_max_size=MOST_BYTES)
        app.router.add_post("/{path:.*}", self._on_post)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await self._listen(runner)
            await self._set()
            while True:
                await self.sleep(LOOK_SECONDS)
                await self._inspect()
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        host, port = self.door.host, self.door.port
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise OperatorError(
                f"CROCBOT_WEBHOOK_LISTEN: cannot listen on {host}:{port}:"
                f" {error.strerror or error}"
            ) from error

    async def _set(self) -> None:
        await self.hook(self.door)
        self.completed, self.trouble = self.clock(), None
        logger.info("Telegram calls us", listen=f"{self.door.host}:{self.door.port}")

    async def _inspect(self) -> None:
        """Whether Telegram still calls us, and gets through."""
        try:
            info = await self.look()
            if info.get("url") != self.door.url:
                self.events.emit(PollFailed(ReconnectReason.CONFLICT))
                logger.warning("somebody else changed the webhook; it is set again")
                await self._set()
                return
        except OperatorError:
            self.events.emit(ErrorEvent(ErrorType.AUTH, Severity.CRITICAL))
            raise
        except CrocbotError as error:
            self.trouble = str(error)
            logger.warning("Telegram does not tell how it gets on", error=str(error))
            return
        failed_at = info.get("last_error_date")
        if failed_at is not None and failed_at != self._failed_at:
            self._failed_at = failed_at
            self.trouble = f"Telegram says: {str(info.get('last_error_message'))[:200]}"
            self.events.emit(PollFailed(ReconnectReason.NETWORK))
            logger.warning("Telegram does not get through to us", error=self.trouble)
            return
        self.completed, self.trouble = self.clock(), None

    async def _on_post(self, request: web.Request) -> web.Response:
        wanted = _last(urlsplit(self.door.url).path)
        if not _same(_last(request.path), wanted):
            return web.Response(status=404)
        outcome, status = await self._take(request)
        self.events.emit(WebhookRequest(outcome))
        if outcome is WebhookOutcome.ACCEPTED:
            self.completed = self.clock()
        return web.Response(status=status)

    async def _take(self, request: web.Request) -> tuple[WebhookOutcome, int]:
        if not _same(request.headers.get(HEADER, ""), self.door.secret):
            return WebhookOutcome.FORGED, 403
        try:
            async with asyncio.timeout(BODY_SECONDS):
                update = json.loads(await request.read())
        except web.HTTPRequestEntityTooLarge:
            return WebhookOutcome.TOO_LARGE, 413
        except TimeoutError:
            return WebhookOutcome.MALFORMED, 408
        except (ValueError, RecursionError, web.RequestPayloadError, OSError):
            return WebhookOutcome.MALFORMED, 400
        if not isinstance(update, dict):
            return WebhookOutcome.MALFORMED, 400
        return await self._store(update)

    async def _store(self, update: RawUpdate) -> tuple[WebhookOutcome, int]:
        try:
            async with asyncio.timeout(ROOM_SECONDS):
                await self.room()
        except TimeoutError:
            return WebhookOutcome.UNAVAILABLE, 503
        try:
            await self.accept(list(by_id([update], self.events).values()))
        except InboxError as error:
            self.events.emit(ErrorEvent(ErrorType.INBOX, Severity.CRITICAL))
            logger.error("an update could not be stored", error=str(error))
            return WebhookOutcome.UNAVAILABLE, 500
        return WebhookOutcome.ACCEPTED, 200


def _same(given: str, ours: str) -> bool:
    """Compare in a time that does not tell how much of it is right."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), ours.encode())
