"""The whole gateway in this process, with the sandbox as Telegram."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from crocbot import inbox, service, settings
from crocbot.botapi import poller
from crocbot.commands import MENU
from crocbot.errors import OperatorError
from crocbot.events import (
    InboxState,
    WebhookOutcome,
    WebhookRequest,
)
from crocbot.inbox import sql
from crocbot.model import (
    Disposition,
    ErrorEvent,
    ErrorType,
    MessageType,
    Outcome,
    Severity,
)
from crocbot.reply import delivery
from crocbot.sandbox import Person, Server, faults
from crocbot.sandbox.faults import Slow
from crocbot.service import Shutdown, startup
from crocbot.store import opened
from tests.crocbot.fakes import RecordedEvents
from tests.ports import free_port

ADA, BOB, EVE = Person(7, "Ada"), Person(8, "Bob"), Person(9, "Eve")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry at once; the pauses have tests of their own."""
    for module in (startup, poller):
        monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(delivery, "FIRST_PAUSE_SECONDS", 0.01)


class GatewayFixture:
    """A sandbox, a state directory, and what the gateway sent and emitted."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.events = RecordedEvents()
        self.sent: list[tuple[int, str]] = []
        self._changed = self.events.changed
        server.listen(self._on_sent)

    @property
    def outcomes(self) -> list[Outcome]:
        """Return the outcomes among the events."""
        return self.events.of_type(Outcome)

    @property
    def errors(self) -> list[ErrorEvent]:
        """Return the errors among the events."""
        return self.events.of_type(ErrorEvent)

    def _on_sent(self, message: Any) -> None:
        self.sent.append((message["chat"]["id"], message["text"]))
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until events, messages or the server's counters make this true."""
        async with asyncio.timeout(60):
            while not condition():
                self._changed.clear()
                # The server's counters set no event.
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.02)

    def say(self, person: Person, *texts: str) -> None:
        """Let a person write these messages."""
        for text in texts:
            self.server.send(person, text)

    async def turns(self, count: int) -> None:
        """Wait for this many outcomes."""
        await self.until(lambda: len(self.outcomes) == count)

    async def sending(self) -> None:
        """Wait until a reply is on its way."""
        await self.until(lambda: bool(self.server.calls["sendmessage"]))

    def run(self, shutdown: Shutdown, **changes: str) -> Coroutine[Any, Any, None]:
        """Run a gateway until a stop is requested."""
        environment = {
            "TELEGRAM_BOT_TOKEN": self.server.token,
            "CROCBOT_TELEGRAM_API_URL": self.server.url,
            "CROCBOT_STATE_DIR": str(self.folder),
            "CROCBOT_ALLOW_FROM": "7,8",
            "CROCBOT_HEALTH_ADDRESS": "off",
        }
        loaded, _ = settings.load(environment | changes, None)
        return service.serve(loaded, self.events, shutdown)

    @asynccontextmanager
    async def gateway(self, **changes: str) -> AsyncIterator[Shutdown]:
        """Run a gateway, and stop it at the end."""
        shutdown = Shutdown()
        running = asyncio.create_task(self.run(shutdown, **changes))
        try:
            yield shutdown
        finally:
            shutdown.request()
            await running

    async def ledger(self) -> InboxState:
        """Return the totals on disk, once no gateway runs."""
        with opened(self.folder / "crocbot.sqlite3", [inbox.SCHEMA]) as connection:
            return sql.state(connection)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[GatewayFixture]:
    """Return a new world, whose sandbox ends with the test."""
    async with Server() as server:
        yield GatewayFixture(tmp_path, server)


async def test_a_conversation(world: GatewayFixture) -> None:
    """Messages are answered in order per chat; every row is closed and emitted once."""
    words = [f"message {number}" for number in range(20)]

    async with world.gateway():
        world.say(ADA, "/status")
        await world.turns(1)
        ((_, status),) = world.sent
        for person in (ADA, BOB):
            world.say(person, *words)
        await world.turns(41)
    ledger = await world.ledger()
    assert (ledger.accepted, ledger.open) == (41, 0)
    assert ledger.closed[Disposition.ANSWERED] == 41

    assert status.startswith(f"crocbot {service.VERSION}, agent echo\n")
    assert status.endswith("messages running or waiting, this one included: 1")

    for person in (ADA, BOB):
        texts = [text for chat, text in world.sent[1:] if chat == person.user_id]
        assert texts == words
    assert world.errors == []
    types = [outcome.message_type for outcome in world.outcomes]
    assert types == [MessageType.COMMAND] + [MessageType.TEXT] * 40
    assert {command["command"] for command in world.server.commands} == set(MENU)


async def test_a_restart(world: GatewayFixture) -> None:
    """An update that was stored is not delivered again after a restart."""
    async with world.gateway():
        world.say(ADA, "one")
        await world.turns(1)
    async with world.gateway():
        world.say(ADA, "two")
        await world.turns(2)
    assert (await world.ledger()).accepted == 2

    assert world.sent == [(7, "one"), (7, "two")]


async def test_a_stop_finishes_turns(world: GatewayFixture) -> None:
    """On a stop the gateway first ends the turns of queued rows."""
    world.server.fault("sendMessage", Slow(0.5))
    async with world.gateway():
        world.say(ADA, "one", "two")
        await world.sending()
    assert (await world.ledger()).open == 0
    assert world.sent == [(7, "one"), (7, "two")]


@pytest.mark.parametrize(("seconds", "requests"), [("0", 1), ("3600", 2)])
async def test_open_rows_are_taken_up(
    world: GatewayFixture, seconds: str, requests: int
) -> None:
    """Rows that a drain leaves open are answered after the next start."""
    world.server.fault("sendMessage", Slow(3600))
    shutdown = Shutdown()
    running = asyncio.create_task(world.run(shutdown, CROCBOT_DRAIN_SECONDS=seconds))
    world.say(ADA, "one", "two")
    await world.sending()
    for _ in range(requests):
        shutdown.request()
    await running
    assert (await world.ledger()).open == 2
    assert world.outcomes == []
    async with world.gateway():
        await world.turns(2)
    ledger = await world.ledger()
    assert (ledger.accepted, ledger.open) == (2, 0)

    assert world.sent == [(7, "one"), (7, "two")]


async def test_a_stop_before_telegram_answers(world: GatewayFixture) -> None:
    """A gateway that waits for Telegram can be stopped."""
    world.server.fault("getMe", faults.bad_gateway(), times=1000)
    async with world.gateway():
        await world.until(lambda: bool(world.errors))

    assert world.outcomes == []


NETWORK = ErrorEvent(ErrorType.NETWORK, Severity.WARNING)


@pytest.mark.parametrize(
    ("method", "fault", "times", "errors"),
    [
        ("getMe", faults.bad_gateway(), 1, [NETWORK]),
        ("setMyCommands", faults.api_error(400, "no"), 1000, []),
        ("deleteWebhook", faults.api_error(400, "no"), 1000, []),
    ],
)
async def test_faults(
    world: GatewayFixture,
    method: str,
    fault: faults.Fault,
    times: int,
    errors: list[ErrorEvent],
) -> None:
    """A message is answered once, whatever fails at the start."""
    world.server.fault(method, fault, times=times)
    async with world.gateway():
        world.say(ADA, "hello")
        await world.turns(1)

    assert world.sent == [(7, "hello")]
    assert world.errors == errors


@pytest.mark.parametrize("method", ["getMe", "deleteWebhook", "setMyCommands"])
async def test_a_refused_token(world: GatewayFixture, method: str) -> None:
    """A token that is refused at the start ends the gateway at once."""
    world.server.fault(method, faults.unauthorized())
    with pytest.raises(OperatorError, match="Telegram refused the token"):
        await world.run(Shutdown())


async def test_a_revoked_token(world: GatewayFixture) -> None:
    """A token that is refused later ends the gateway; its rows stay open."""
    world.server.fault("sendMessage", faults.unauthorized(), times=9)
    running = asyncio.create_task(world.run(Shutdown()))
    world.say(ADA, "hello")
    await world.sending()
    world.server.fault("getUpdates", faults.unauthorized(), times=9)
    with pytest.raises(OperatorError, match="Telegram refused the token"):
        await running
    assert (await world.ledger()).open == 1

    assert world.outcomes == []


async def test_stop_command(world: GatewayFixture) -> None:
    """/stop ends the turn that its chat is in; the next message is answered."""
    world.server.fault("sendMessage", Slow(3600))
    async with world.gateway():
        world.say(ADA, "one")
        await world.sending()
        world.say(ADA, "two", "/stop")
        await world.turns(3)
    closed = (await world.ledger()).closed
    assert closed[Disposition.CANCELLED] == 1
    assert closed[Disposition.ANSWERED] == 2

    assert sorted(world.sent) == [(7, "Stopped."), (7, "two")]


async def test_a_paste_is_one_turn(world: GatewayFixture) -> None:
    """A text that was split in two gets one answer, also after a restart."""
    async with world.gateway(CROCBOT_GATHER_SECONDS="60") as shutdown:
        world.say(ADA, "x" * 4096)
        await world.until(lambda: world.server.pending == 0)
        shutdown.request()
        shutdown.request()
    async with world.gateway(CROCBOT_GATHER_SECONDS="60"):
        world.say(ADA, "y")
        await world.turns(1)
    assert (await world.ledger()).closed[Disposition.ANSWERED] == 2

    assert world.sent == [(7, "x" * 4096), (7, "y")]


async def test_webhook(world: GatewayFixture) -> None:
    """Updates come by webhook, and by polling after a restart without one."""
    port = free_port()
    settings = {
        "CROCBOT_WEBHOOK_URL": f"http://127.0.0.1:{port}/hook",
        "CROCBOT_WEBHOOK_LISTEN": f"127.0.0.1:{port}",
    }

    async with world.gateway(**settings):
        world.say(ADA, "one", "two")
        await world.turns(2)
        await world.until(lambda: world.server.pending == 0)
    world.say(ADA, "three")
    # Back to polling, the webhook is taken away.
    async with world.gateway():
        await world.turns(3)
    state = await world.ledger()
    assert (state.accepted, state.duplicates) == (3, 0)

    assert world.sent == [(7, "one"), (7, "two"), (7, "three")]
    assert WebhookRequest(WebhookOutcome.ACCEPTED) in world.events
