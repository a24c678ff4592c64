"""
Webhook: requests of Telegram to raw updates, through an HTTP server behind a proxy.

    POST .../<unguessable path>            X-Telegram-Bot-Api-Secret-Token: <secret>
    {"update_id": 7, "message": ...}

| status | meaning                                                           |
|--------|-------------------------------------------------------------------|
| 200    | the update is stored; Telegram deletes it                         |
| 403    | wrong secret                                                      |
| 404    | wrong path                                                        |
| 400    | not a JSON object, an incomplete or a compressed one              |
| 408    | the body did not arrive in time                                   |
| 413    | the body is too large                                             |
| 500    | the update could not be stored; Telegram delivers it again        |
| 503    | no capacity for further rows; Telegram delivers it again          |

Only the last segment of the path is compared: a proxy may remove those before it.
Every CHECK_SECONDS Telegram is asked whether its requests succeed; a webhook that
another program changed is set again, like one that lacks a type of updates.  Where
replicas share a database, all serve it, and only the leader sets and checks it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from aiohttp import web

from crocbot import log
from crocbot.backoff import Backoff
from crocbot.botapi.client import ALLOWED_UPDATES, Client
from crocbot.botapi.updates import usable_updates
from crocbot.dispatcher import Dispatcher
from crocbot.errors import (
    CrocbotError,
    DeliveryError,
    FloodWaitError,
    InboxError,
    OperatorError,
    TelegramError,
)
from crocbot.events import EventListener, PollFailed, WebhookOutcome, WebhookRequest
from crocbot.http_server import HttpServer
from crocbot.model import (
    Clock,
    ErrorEvent,
    ErrorType,
    HostPort,
    RawUpdate,
    ReconnectReason,
    Severity,
    Sleep,
)
from crocbot.replicas.leader import Leadership, SoleLeader, Term

HEADER = "X-Telegram-Bot-Api-Secret-Token"
IDENTITY = "identity"
MAX_BODY_BYTES = 1024 * 1024
# More, so that a client reads the status 413.
MAX_REQUEST_BYTES = 2 * MAX_BODY_BYTES
BODY_SECONDS = 10.0
CAPACITY_SECONDS = 10.0
CHECK_SECONDS = 20.0
MIN_UNGUESSABLE_LENGTH = 20

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """The URL that Telegram calls, the secret it sends, and where to listen for it."""

    url: str
    secret: str
    listen: HostPort

    @classmethod
    def create(cls, url: str, secret: str, listen: HostPort) -> WebhookEndpoint:
        """
        Make an endpoint whose path cannot be guessed.

            https://bot.example.org/crocbot --> https://bot.example.org/crocbot/5f0c...

        A path that is long enough to be a secret itself stays as it is.
        """
        if len(_last_segment(urlsplit(url).path)) < MIN_UNGUESSABLE_LENGTH:
            digest = hmac.new(secret.encode(), b"path", hashlib.sha256).hexdigest()
            url = f"{url.rstrip('/')}/{digest[:32]}"
        return cls(url, secret, listen)


def _last_segment(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


@dataclass(slots=True, kw_only=True)
class Webhook:
    """
    The HTTP server, from Telegram to `dispatcher`.

    `completed_at` is when, on `clock`, Telegram last reached the webhook or confirmed
    that it does; `error` is what failed since then.
    """

    contact: ClassVar[str] = "webhook check or request"
    endpoint: WebhookEndpoint
    client: Client
    dispatcher: Dispatcher
    events: EventListener
    clock: Clock = time.monotonic
    sleep: Sleep = asyncio.sleep
    leadership: Leadership = field(default_factory=SoleLeader)
    completed_at: float | None = field(default=None, init=False)
    error: str | None = field(default=None, init=False)
    _is_set: bool = field(default=False, init=False)
    _term: Term | None = field(default=None, init=False)
    _known_updates: frozenset[str] | None = field(default=None, init=False)
    _failed_at: object = field(default=None, init=False)
    _backoff: Backoff = field(default_factory=Backoff, init=False)

    async def run(self) -> None:
        """Serve until cancelled; raise OperatorError if the token is refused."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/{path:.*}", self._on_post)
        server = HttpServer(
            app, max_request_bytes=MAX_REQUEST_BYTES, shutdown_seconds=1.0
        )
        try:
            await self._listen(server)
            while True:
                await self._wait_for_term()
                await self.sleep(await self._set_or_check())
        finally:
            await server.close()

    async def _wait_for_term(self) -> None:
        """Wait until this replica is the leader; each one sets the webhook once."""
        term = await self.leadership.wait_for_term()
        if term is not self._term:
            self._term, self._is_set = term, False

    async def _listen(self, server: HttpServer) -> None:
        listen = self.endpoint.listen
        try:
            await server.listen(listen.host, listen.port)
        except OSError as error:
            raise OperatorError(
                f"CROCBOT_WEBHOOK_LISTEN: cannot listen on {listen}:"
                f" {error.strerror or error}"
            ) from error

    async def _set_or_check(self) -> float:
        """Set the webhook, then check it; return how many seconds to wait."""
        try:
            await (self._check() if self._is_set else self._set())
        except OperatorError:
            raise
        except CrocbotError as error:
            if isinstance(error, DeliveryError) and not self._is_set:
                raise OperatorError(f"CROCBOT_WEBHOOK_URL: {error}") from error
            if isinstance(error, TelegramError):
                self.events.emit(ErrorEvent(ErrorType(error.reason), Severity.WARNING))
            self.error = str(error)
            pause = self._backoff.next_pause()
            if isinstance(error, FloodWaitError):
                pause = error.seconds
            logger.warning(
                "the webhook could not be set or checked",
                error=str(error),
                next_in=round(pause, 1),
            )
            return pause
        self._backoff.reset()
        return CHECK_SECONDS

    async def _set(self) -> None:
        await self.client.set_webhook(self.endpoint.url, self.endpoint.secret)
        self._is_set = True
        self._succeeded()
        logger.info("webhook set", listen=str(self.endpoint.listen))

    def _succeeded(self) -> None:
        self.completed_at, self.error = self.clock(), None

    async def _check(self) -> None:
        """Ask Telegram whether the webhook is set and its requests succeed."""
        info = await self.client.get_webhook_info()
        if info.get("url") != self.endpoint.url:
            self.events.emit(PollFailed(ReconnectReason.CONFLICT))
            logger.warning("another program changed the webhook; it is set again")
            await self._set()
            return
        if self._lacks_updates(info):
            logger.warning("the webhook lacks types of updates; it is set again")
            await self._set()
            return
        failed_at = info.get("last_error_date")
        if failed_at is None or failed_at == self._failed_at:
            self._succeeded()
            return
        self._failed_at = failed_at
        reported = str(info.get("last_error_message"))[:200]
        self.error = f"last error reported by Telegram: {reported}"
        self.events.emit(PollFailed(ReconnectReason.NETWORK))
        logger.warning("Telegram cannot reach the webhook", error=self.error)

    def _lacks_updates(self, info: Mapping[str, Any]) -> bool:
        """
        Return whether the webhook was set for fewer types of updates than are needed.

        A server that does not know all of them returns the same list again, and is not
        asked again.
        """
        listed = info.get("allowed_updates")
        if not isinstance(listed, list):
            # Then it has the default, which has all of them.
            return False
        known = frozenset(each for each in listed if isinstance(each, str))
        if known == self._known_updates:
            return False
        self._known_updates = known
        return not known >= set(ALLOWED_UPDATES)

    async def _on_post(self, request: web.Request) -> web.Response:
        path = _last_segment(urlsplit(self.endpoint.url).path)
        if not _equal(_last_segment(request.path), path):
            return web.Response(status=404)
        outcome, status = await self._handle(request)
        self.events.emit(WebhookRequest(outcome))
        if outcome is WebhookOutcome.ACCEPTED:
            self.completed_at = self.clock()
        return web.Response(status=status)

    async def _handle(self, request: web.Request) -> tuple[WebhookOutcome, int]:
        """Read a request and store its update; return what to count and to answer."""
        if not _equal(request.headers.get(HEADER, ""), self.endpoint.secret):
            return WebhookOutcome.FORGED, 403
        try:
            async with asyncio.timeout(BODY_SECONDS):
                update = await _read_json(request)
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
            async with asyncio.timeout(CAPACITY_SECONDS):
                await self.dispatcher.wait_for_capacity()
        except TimeoutError:
            return WebhookOutcome.UNAVAILABLE, 503
        try:
            await self.dispatcher.accept(usable_updates([update], self.events))
        except InboxError as error:
            self.events.emit(ErrorEvent(ErrorType.INBOX, Severity.CRITICAL))
            logger.error("an update could not be stored", error=str(error))
            return WebhookOutcome.UNAVAILABLE, 500
        return WebhookOutcome.ACCEPTED, 200


async def _read_json(request: web.Request) -> Any:
    """Return the value of a body.  Raise ValueError, also for a compressed body."""
    if request.headers.get("Content-Encoding", IDENTITY) != IDENTITY:
        raise ValueError("Telegram sends no compressed body")
    return json.loads(await request.read())


def _equal(given: str, expected: str) -> bool:
    """Return whether two texts are equal, in a time that does not depend on them."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())
