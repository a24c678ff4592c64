"""The webhook: which requests are accepted and reported, and that none is lost."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from crocbot.botapi import Webhook, WebhookEndpoint, webhook
from crocbot.botapi.webhook import CHECK_SECONDS, HEADER, MAX_BODY_BYTES
from crocbot.errors import (
    DeliveryError,
    FloodWaitError,
    InboxError,
    OperatorError,
    TelegramError,
)
from crocbot.events import (
    PollFailed,
    UpdateReceived,
    UpdateType,
    WebhookOutcome,
    WebhookRequest,
)
from crocbot.model import (
    ErrorEvent,
    ErrorType,
    HostPort,
    ReconnectReason,
    Severity,
)
from crocbot.replicas.leader import Term
from tests.crocbot.fakes import AcceptingDispatcher, Elected, RecordedEvents
from tests.ports import free_port

SECRET = "a-secret-of-the-operator"
URL = "https://example.org/bot"
SEGMENT = WebhookEndpoint.create(URL, SECRET, HostPort("", 0)).url.rpartition("/")[2]
DOWN = TelegramError("down", ReconnectReason.NETWORK)


class WebhookFixture:
    """A webhook on a free port, between a scripted client and a dispatcher."""

    def __init__(self, *infos: Mapping[str, Any] | Exception) -> None:
        listen = HostPort("127.0.0.1", free_port())
        self.events = RecordedEvents()
        self.dispatcher = AcceptingDispatcher()
        self.infos = list(infos)
        self.set_errors: list[Exception] = []
        self.times_set = 0
        self.slept: list[float] = []
        self.checked = asyncio.Event()
        self.now = 100.0
        self.webhook = Webhook(
            endpoint=WebhookEndpoint.create(URL, SECRET, listen),
            client=self,  # type: ignore[arg-type]
            dispatcher=self.dispatcher,  # type: ignore[arg-type]
            events=self.events,
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        self.base = f"http://{listen}"

    async def set_webhook(self, url: str, secret: str) -> None:
        if self.set_errors:
            raise self.set_errors.pop(0)
        self.times_set += 1
        assert (url, secret) == (self.webhook.endpoint.url, SECRET)

    async def get_webhook_info(self) -> Mapping[str, Any]:
        info = self.infos.pop(0)
        if isinstance(info, Exception):
            raise info
        return {"url": self.webhook.endpoint.url, **info}

    async def sleep(self, seconds: float) -> None:
        """Take no time while there is something in the script."""
        self.slept.append(seconds)
        if self.times_set and not self.infos:
            self.checked.set()
            await asyncio.Event().wait()

    async def post(
        self,
        body: bytes | str = '{"update_id": 7, "message": {}}',
        secret: str = SECRET,
        path: str = f"/bot/{SEGMENT}",
        method: str = "POST",
        coding: str = "identity",
    ) -> int:
        """Make a request as Telegram does; return the status."""
        headers = {"Content-Encoding": coding, **({HEADER: secret} if secret else {})}
        async with (
            aiohttp.ClientSession() as web,
            web.request(
                method,
                self.base + path,
                data=io.BytesIO(body.encode() if isinstance(body, str) else body),
                headers=headers,
            ) as answer,
        ):
            return answer.status

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the webhook until the script of checks is at its end, and further."""
        running = asyncio.create_task(self.webhook.run())
        checked = asyncio.create_task(self.checked.wait())
        await asyncio.wait({running, checked}, return_when=asyncio.FIRST_COMPLETED)
        checked.cancel()
        try:
            if running.done():
                running.result()
            yield
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def world() -> AsyncIterator[WebhookFixture]:
    """Return a world whose webhook is set and serves."""
    world = WebhookFixture()
    async with world.running():
        yield world


async def after(*infos: Mapping[str, Any] | Exception) -> WebhookFixture:
    """Return what a webhook is like after these checks."""
    world = WebhookFixture(*infos)
    async with world.running():
        return world


@pytest.mark.parametrize(
    ("changes", "status", "outcome"),
    [
        ({}, 200, WebhookOutcome.ACCEPTED),
        ({"secret": "wrong"}, 403, WebhookOutcome.FORGED),
        ({"secret": ""}, 403, WebhookOutcome.FORGED),
        ({"secret": "\xe4\xf6\xfc"}, 403, WebhookOutcome.FORGED),
        ({"body": "{"}, 400, WebhookOutcome.MALFORMED),
        ({"body": b"\xff"}, 400, WebhookOutcome.MALFORMED),
        ({"body": "[]"}, 400, WebhookOutcome.MALFORMED),
        ({"body": "[" * 100_000}, 400, WebhookOutcome.MALFORMED),
        ({"body": "{}", "coding": "gzip"}, 400, WebhookOutcome.MALFORMED),
        ({"body": "x" * (MAX_BODY_BYTES + 1)}, 413, WebhookOutcome.TOO_LARGE),
        # A proxy may remove what is before the last segment, or add to it.
        ({"path": f"/{SEGMENT}"}, 200, WebhookOutcome.ACCEPTED),
        ({"path": f"/some/where/{SEGMENT}/"}, 200, WebhookOutcome.ACCEPTED),
        ({"path": "/"}, 404, None),
        ({"path": "/bot"}, 404, None),
        ({"path": "/" + "0" * 32}, 404, None),
        ({"method": "GET"}, 405, None),
    ],
)
async def test_requests(
    world: WebhookFixture,
    changes: dict[str, Any],
    status: int,
    outcome: WebhookOutcome | None,
) -> None:
    """Only what Telegram sends, with the secret and to the path, is accepted."""
    assert await world.post(**changes) == status
    reported = world.events.of_type(WebhookRequest)
    assert reported == ([WebhookRequest(outcome)] if outcome else [])
    assert len(world.dispatcher.stored) == (status == 200)


async def test_an_incomplete_request(world: WebhookFixture) -> None:
    """Half a body is malformed, and nothing else comes of it."""
    host, port = world.webhook.endpoint.listen.host, world.webhook.endpoint.listen.port
    _, writer = await asyncio.open_connection(host, port)
    head = f"POST /{SEGMENT} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
    writer.write(f'{head}{HEADER}: {SECRET}\r\n\r\n{{"update_id"'.encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await world.events.wait_for(WebhookRequest)
    assert world.events == [WebhookRequest(WebhookOutcome.MALFORMED)]


async def test_an_accepted_request(world: WebhookFixture) -> None:
    """An update is stored before the answer, and shows that Telegram gets through."""
    world.now = 200.0
    assert await world.post() == 200
    assert world.dispatcher.stored == [{"update_id": 7, "message": {}}]
    assert world.webhook.completed_at == 200.0
    assert world.events == [
        UpdateReceived(UpdateType.MESSAGE),
        WebhookRequest(WebhookOutcome.ACCEPTED),
    ]


async def test_what_is_not_stored_is_not_acknowledged(world: WebhookFixture) -> None:
    """When the inbox fails Telegram gets an error, and so does the operator."""
    world.dispatcher.errors = [InboxError("disk full")]
    assert await world.post() == 500
    assert await world.post() == 200
    assert ErrorEvent(ErrorType.INBOX, Severity.CRITICAL) in world.events
    assert WebhookRequest(WebhookOutcome.UNAVAILABLE) in world.events


async def test_no_capacity(
    world: WebhookFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request waits for capacity; without it Telegram delivers again later."""
    monkeypatch.setattr(webhook, "CAPACITY_SECONDS", 0.05)
    world.dispatcher.has_capacity.clear()
    assert await world.post() == 503
    assert world.dispatcher.stored == []
    world.dispatcher.has_capacity.set()
    assert await world.post() == 200
    assert WebhookRequest(WebhookOutcome.UNAVAILABLE) in world.events


async def test_an_update_without_an_id(world: WebhookFixture) -> None:
    """An update that cannot be stored is counted, and is not delivered again."""
    assert await world.post('{"no": "id"}') == 200
    assert world.dispatcher.stored == []
    assert ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL) in world.events


ALL = [str(type_) for type_ in UpdateType]
FAILED = {"last_error_date": 5, "last_error_message": "Connection refused"}
NETWORK = PollFailed(ReconnectReason.NETWORK)
CONFLICT = PollFailed(ReconnectReason.CONFLICT)
UNREACHABLE = ErrorEvent(ErrorType.NETWORK, Severity.WARNING)


@pytest.mark.parametrize(
    ("infos", "error", "times_set", "events"),
    [
        ([{}, {"pending_update_count": 0}], None, 1, []),
        # An error that Telegram met is reported once.
        ([FAILED], "last error reported by Telegram: Connection refused", 1, [NETWORK]),
        ([FAILED, FAILED], None, 1, [NETWORK]),
        # Another program changed the webhook.
        ([{"url": ""}, {}], None, 2, [CONFLICT]),
        # It was set for other types of updates.
        ([{"allowed_updates": ["message"]}, {"allowed_updates": ALL}], None, 2, []),
        ([{"allowed_updates": ALL}, {"allowed_updates": [*ALL, "poll"]}], None, 1, []),
        # The server does not know all of them.
        ([{"allowed_updates": ["message", 7]}] * 3, None, 2, []),
        ([DOWN], "down", 1, [UNREACHABLE]),
        ([DOWN, {}], None, 1, [UNREACHABLE]),
    ],
)
async def test_checks(
    infos: list[Any], error: str | None, times_set: int, events: list[Any]
) -> None:
    """Telegram is asked whether it gets through to the webhook that was set."""
    world = await after(*infos)

    assert (world.webhook.completed_at, world.webhook.error) == (100.0, error)
    assert world.times_set == times_set
    assert world.events == events


async def test_the_webhook_is_set_however_long_it_takes() -> None:
    """While Telegram cannot be reached it is tried again; a flood wait is kept."""
    world = WebhookFixture()
    world.set_errors = [DOWN, FloodWaitError(35.0)]
    async with world.running():
        assert (world.webhook.error, world.times_set) == (None, 1)
    assert world.slept[1:] == [35.0, CHECK_SECONDS]


async def test_a_refused_token() -> None:
    """A token that is refused ends it; the ApiCall of the client counts it."""
    world = WebhookFixture(OperatorError("refused"))
    with pytest.raises(OperatorError, match="refused"):
        await world.webhook.run()
    assert world.events == []


async def test_a_refused_url() -> None:
    """A URL that Telegram does not take is the operator's to change."""
    world = WebhookFixture()
    world.set_errors = [DeliveryError("bad URL")]
    with pytest.raises(OperatorError, match="CROCBOT_WEBHOOK_URL: bad URL"):
        await world.webhook.run()


async def test_a_busy_address() -> None:
    """Without its address a webhook is of no use: the operator must change it."""
    world = WebhookFixture()
    listen = world.webhook.endpoint.listen
    with (
        socket.create_server((listen.host, listen.port)),
        pytest.raises(OperatorError, match="CROCBOT_WEBHOOK_LISTEN: cannot listen on"),
    ):
        await world.webhook.run()


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.org", False),
        ("https://example.org/", False),
        ("https://example.org/webhook", False),
        ("https://example.org/0123456789abcdefghij", True),
    ],
)
def test_the_path_cannot_be_guessed(url: str, kept: bool) -> None:
    """A path that is long enough is kept; a secret one is added to another."""
    endpoint = WebhookEndpoint.create(url, SECRET, HostPort("::1", 8443))

    assert (endpoint.url == url) is kept
    assert endpoint.url.startswith(url.rstrip("/"))
    assert len(endpoint.url.rpartition("/")[2]) >= 20
    assert SECRET not in endpoint.url
    assert endpoint == WebhookEndpoint.create(url, SECRET, HostPort("::1", 8443))


async def test_only_the_leader_sets_the_webhook() -> None:
    """A standby serves requests and calls nothing, until it is the leader."""
    world = WebhookFixture()
    leadership = world.webhook.leadership = Elected()
    running = asyncio.create_task(world.webhook.run())
    async with asyncio.timeout(30):
        while not (status := await posted(world)):
            await asyncio.sleep(0.01)
        assert (status, world.times_set) == (200, 0)
        leadership.begin(Term(5))
        await world.checked.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)

    assert world.times_set == 1


async def posted(world: WebhookFixture) -> int:
    """Return the status of a request, 0 while nothing listens."""
    try:
        return await world.post()
    except aiohttp.ClientConnectorError:
        return 0
