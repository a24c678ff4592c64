"""Telegram's calls to us: which are taken, what is told, and that none is lost."""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import pytest

from crocbot.botapi import Webhook, door, webhook
from crocbot.botapi.webhook import HEADER, MOST_BYTES
from crocbot.errors import InboxError, OperatorError, TelegramError
from crocbot.events import (
    PollFailed,
    UpdateReceived,
    UpdateType,
    WebhookOutcome,
    WebhookRequest,
)
from crocbot.model import ErrorEvent, ErrorType, RawUpdate, ReconnectReason, Severity
from tests.crocbot.fakes import RecordedEvents
from tests.ports import free_port

SECRET = "a-secret-of-the-operator"
DOOR = door("https://example.org/bot", SECRET, "127.0.0.1:0")


class World:
    """A webhook on a free port, an inbox, and what Telegram says about the webhook."""

    def __init__(self) -> None:
        port = free_port()
        self.events = RecordedEvents()
        self.stored: list[RawUpdate] = []
        self.inbox_fault: Exception | None = None
        self.has_room = asyncio.Event()
        self.has_room.set()
        self.infos: list[Mapping[str, Any] | Exception] = []
        self.hooked = 0
        self.looked = asyncio.Event()
        self.now = 100.0
        self.webhook = Webhook(
            door("https://example.org/bot", SECRET, f"127.0.0.1:{port}"),
            self.hook,
            self.look,
            self.accept,
            self.room,
            self.events,
            clock=lambda: self.now,
            sleep=self.sleep,
        )
        self.path = self.webhook.door.url.removeprefix("https://example.org")
        self.base = f"http://127.0.0.1:{port}"

    async def hook(self, _: object) -> None:
        """Tell Telegram where to call."""
        self.hooked += 1

    async def look(self) -> Mapping[str, Any]:
        """Answer as scripted."""
        info = self.infos.pop(0)
        if isinstance(info, Exception):
            raise info
        return {"url": self.webhook.door.url, **info}

    async def sleep(self, _: float) -> None:
        """Take no time while there is something in the script."""
        if not self.infos:
            self.looked.set()
            await asyncio.Event().wait()

    async def accept(self, raws: Sequence[RawUpdate]) -> int:
        """Store."""
        if self.inbox_fault is not None:
            raise self.inbox_fault
        self.stored += raws
        return len(raws)

    async def room(self) -> int:
        """Wait for room."""
        await self.has_room.wait()
        return 1

    async def call(
        self,
        body: bytes | str = '{"update_id": 7, "message": {}}',
        secret: str = SECRET,
        path: str | None = None,
        method: str = "POST",
        coding: str = "identity",
    ) -> int:
        """Call as Telegram does; returns the status."""
        headers = {"Content-Encoding": coding, **({HEADER: secret} if secret else {})}
        async with (
            aiohttp.ClientSession() as web,
            web.request(
                method,
                self.base + (path or self.path),
                data=io.BytesIO(body.encode() if isinstance(body, str) else body),
                headers=headers,
            ) as answer,
        ):
            return answer.status


def play(scene: Callable[[World], Awaitable[None]], *infos: Any) -> World:
    """Play a scene with a webhook that is set and was looked at."""

    async def run() -> World:
        world = World()
        world.infos += infos
        running = asyncio.create_task(world.webhook.run())
        looked = asyncio.create_task(world.looked.wait())
        await asyncio.wait({running, looked}, return_when=asyncio.FIRST_COMPLETED)
        looked.cancel()
        try:
            if running.done():
                running.result()
            await scene(world)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return world

    return asyncio.run(asyncio.wait_for(run(), 30))


async def nothing(_: World) -> None:
    """Do nothing."""


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
        ({"body": "x" * (MOST_BYTES + 1)}, 413, WebhookOutcome.TOO_LARGE),
        ({"path": "/"}, 404, None),
        ({"path": "/bot"}, 404, None),
        ({"path": "/" + "0" * 32}, 404, None),
        ({"method": "GET"}, 405, None),
    ],
)
def test_calls(
    changes: dict[str, Any], status: int, outcome: WebhookOutcome | None
) -> None:
    """Only what Telegram sends, with the secret and to the path, is taken."""

    async def scene(world: World) -> None:
        assert await world.call(**changes) == status

    world = play(scene)
    told = world.events.of_type(WebhookRequest)
    assert told == ([WebhookRequest(outcome)] if outcome else [])
    assert len(world.stored) == (status == 200)


def test_a_call_that_breaks_off() -> None:
    """Half a body is told as no JSON, and nothing else comes of it."""

    async def scene(world: World) -> None:
        host, _, port = world.base.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {world.path} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n"
        writer.write(f'{head}{HEADER}: {SECRET}\r\n\r\n{{"update_id"'.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        while not world.events:
            await asyncio.sleep(0.01)

    world = play(scene)
    assert world.events == [WebhookRequest(WebhookOutcome.MALFORMED)]


def test_an_accepted_call() -> None:
    """An update is stored before the answer, and is a sign of life from Telegram."""

    async def scene(world: World) -> None:
        world.now = 200.0
        assert await world.call() == 200
        assert world.stored == [{"update_id": 7, "message": {}}]
        assert world.webhook.completed == 200.0

    world = play(scene)
    assert world.events == [
        UpdateReceived(UpdateType.MESSAGE),
        WebhookRequest(WebhookOutcome.ACCEPTED),
    ]


def test_a_proxy_may_take_away_a_prefix() -> None:
    """Only the part of the path that nobody can guess matters."""

    async def scene(world: World) -> None:
        last = world.path.rpartition("/")[2]
        assert await world.call(path=f"/{last}") == 200
        assert await world.call(path=f"/some/where/{last}/") == 200

    play(scene)


def test_what_is_not_stored_is_not_acknowledged() -> None:
    """When the inbox fails Telegram hears of it, and so does the operator."""

    async def scene(world: World) -> None:
        world.inbox_fault = InboxError("disk full")
        assert await world.call() == 500
        world.inbox_fault = None
        assert await world.call() == 200

    world = play(scene)
    assert ErrorEvent(ErrorType.INBOX, Severity.CRITICAL) in world.events
    assert WebhookRequest(WebhookOutcome.UNAVAILABLE) in world.events


def test_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too much waits a call waits, too, and then comes again later."""
    monkeypatch.setattr(webhook, "ROOM_SECONDS", 0.05)

    async def scene(world: World) -> None:
        world.has_room.clear()
        assert await world.call() == 503
        assert world.stored == []
        world.has_room.set()
        assert await world.call() == 200

    assert WebhookRequest(WebhookOutcome.UNAVAILABLE) in play(scene).events


def test_an_update_without_an_id() -> None:
    """What can neither be stored nor told apart is counted, and does not come again."""

    async def scene(world: World) -> None:
        assert await world.call('{"no": "id"}') == 200

    world = play(scene)
    assert world.stored == []
    assert ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL) in world.events


def test_all_is_well() -> None:
    """While Telegram gets through, each look at it is a sign of life."""
    world = play(nothing, {}, {"pending_update_count": 0})

    assert (world.webhook.completed, world.webhook.trouble) == (100.0, None)
    assert world.hooked == 1


def test_telegram_does_not_get_through() -> None:
    """An error that Telegram met is told once, and is no sign of life."""
    failed = {"last_error_date": 5, "last_error_message": "Connection refused"}

    async def scene(world: World) -> None:
        assert world.webhook.trouble == "Telegram says: Connection refused"

    world = play(scene, failed)
    assert world.events == [PollFailed(ReconnectReason.NETWORK)]
    world = play(nothing, failed, failed)
    assert world.events == [PollFailed(ReconnectReason.NETWORK)]
    assert world.webhook.trouble is None


def test_somebody_else_changed_it() -> None:
    """A webhook that is not ours any more is set again, and that is told."""
    world = play(nothing, {"url": ""}, {})

    assert world.hooked == 2
    assert world.events == [PollFailed(ReconnectReason.CONFLICT)]


def test_telegram_cannot_be_asked() -> None:
    """A look that fails is told in the health page, and is tried again."""
    down = TelegramError("down", ReconnectReason.NETWORK)

    async def scene(world: World) -> None:
        assert world.webhook.trouble == "down"

    play(scene, down)
    assert play(nothing, down, {}).webhook.trouble is None


def test_a_refused_token() -> None:
    """A token that is refused ends it."""
    with pytest.raises(OperatorError, match="refused"):
        play(nothing, OperatorError("refused"))


def test_a_busy_address() -> None:
    """Without its address a webhook is of no use: the operator must change it."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            world = World()
            busy = f"127.0.0.1:{other.getsockname()[1]}"
            world.webhook.door = door("https://example.org", SECRET, busy)
            await world.webhook.run()

    with pytest.raises(OperatorError, match="CROCBOT_WEBHOOK_LISTEN: cannot listen on"):
        asyncio.run(run())


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
    """A path of the operator's that is long enough is kept; else one is added."""
    made = door(url, SECRET, "[::1]:8443")

    assert (made.url == url) is kept
    assert made.url.startswith(url.rstrip("/"))
    assert len(made.url.rpartition("/")[2]) >= 20
    assert SECRET not in made.url
    assert (made.host, made.port) == ("::1", 8443)
    assert made == door(url, SECRET, "[::1]:8443")
