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
from crocbot.errors import InboxError, OperatorError
from crocbot.events import (
    InboxState,
    PollFailed,
    WebhookOutcome,
    WebhookRequest,
)
from crocbot.model import (
    Decision,
    Disposition,
    ErrorEvent,
    ErrorType,
    MessageType,
    Outcome,
    ReconnectReason,
    Severity,
    Verdict,
)
from crocbot.reply import delivery as courier
from crocbot.sandbox import Person, Server, faults, messages
from crocbot.sandbox.faults import Slow
from crocbot.service import Shutdown, maintenance, startup
from tests.crocbot.fakes import RecordedEvents
from tests.ports import free_port

ADA, BOB, EVE = Person(7, "Ada"), Person(8, "Bob"), Person(9, "Eve")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are tested where they are made."""
    for module in (startup, poller):
        monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(courier, "FIRST_WAIT", 0.01)


class World:
    """A sandbox, a state directory, and what the gateway did."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.events = RecordedEvents()
        self.sent: list[tuple[int, str]] = []
        self._changed = self.events.changed
        server.listen(self._on_sent)

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcomes among the events."""
        return self.events.of_type(Outcome)

    @property
    def troubles(self) -> list[ErrorEvent]:
        """What went wrong, among the events."""
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

    async def turns(self, count: int) -> None:
        """Wait for this many outcomes."""
        await self.until(lambda: len(self.outcomes) == count)

    async def sending(self) -> None:
        """Wait until a reply is on its way."""
        await self.until(lambda: bool(self.server.calls["sendmessage"]))

    def run(self, shutdown: Shutdown, **changes: str) -> Coroutine[Any, Any, None]:
        """Run a gateway until asked to stop."""
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
        """A running gateway, which is stopped and waited for at the end."""
        shutdown = Shutdown()
        running = asyncio.create_task(self.run(shutdown, **changes))
        try:
            yield shutdown
        finally:
            shutdown.request()
            await running

    async def ledger(self) -> InboxState:
        """The totals on disk, once no gateway runs."""
        async with inbox.Inbox(self.folder / "crocbot.sqlite3") as rows:
            return await rows.state()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Return a new world, whose sandbox ends with the test."""
    async with Server() as server:
        yield World(tmp_path, server)


async def test_a_conversation(world: World) -> None:
    """People are answered, each in order; every row is told once and closed."""
    words = [f"message {number}" for number in range(20)]

    async with world.gateway():
        for word in words:
            world.server.send(ADA, word)
            world.server.send(BOB, word)
        await world.turns(40)
    ledger = await world.ledger()
    assert (ledger.accepted, ledger.open) == (40, 0)
    assert ledger.closed[Disposition.ANSWERED] == 40

    for person in (ADA, BOB):
        assert [text for chat, text in world.sent if chat == person.user_id] == words
    assert world.troubles == []
    assert {outcome.message_type for outcome in world.outcomes} == {MessageType.TEXT}
    assert {command["command"] for command in world.server.commands} == set(MENU)


async def test_a_reply_quotes_when_others_came_between(world: World) -> None:
    """Of what was written in a row, all but the last are quoted in their replies."""
    sent: list[Any] = []

    world.server.listen(sent.append)
    said = [world.server.send(ADA, word)["message_id"] for word in ("a", "b", "c")]
    async with world.gateway():
        await world.turns(3)
    quoted = [one.get("reply_to_message", {}).get("message_id") for one in sent]
    assert quoted == [said[0], said[1], None]


async def test_a_stop_acknowledges_nothing_that_is_not_stored(world: World) -> None:
    """What Telegram forgot is in the inbox; what it did not comes once more only."""
    async with world.gateway():
        world.server.send(ADA, "one")
        await world.turns(1)
    async with world.gateway():
        world.server.send(ADA, "two")
        await world.turns(2)
    assert (await world.ledger()).accepted == 2

    assert world.sent == [(7, "one"), (7, "two")]


async def test_status(world: World) -> None:
    """/status shows the real numbers."""
    async with world.gateway():
        world.server.send(ADA, "/status")
        await world.turns(1)

    ((_, text),) = world.sent
    version, uptime, polled, queued = text.splitlines()
    assert version == f"crocbot {service.VERSION}, agent echo"
    assert uptime.startswith("up for ")
    assert polled.endswith(" s ago")
    assert queued == "messages in work or waiting, with this one: 1"


async def test_strangers(world: World) -> None:
    """Strangers and groups get nothing, and are counted as denied."""
    async with world.gateway():
        for word in ("hello", "/start", "again"):
            world.server.send(EVE, word)
        world.server.send(ADA, "I am known")
        await world.turns(4)

    denied = [one for one in world.outcomes if one.disposition is Disposition.DENIED]
    assert world.sent == [(7, "I am known")]
    assert [one.decision for one in denied] == [Decision(Verdict.NOT_LISTED)] * 3


async def test_a_poison_update(world: World) -> None:
    """An update that nobody can read is set aside, and the next one is answered."""
    async with world.gateway():
        world.server.push({"message": {"chat": {"id": 7}, "text": ["?"]}})
        world.server.push({"something_new": {}})
        world.server.send(ADA, "hello")
        await world.turns(3)
    closed = (await world.ledger()).closed
    assert closed[Disposition.SET_ASIDE] == 1
    assert closed[Disposition.IGNORED] == 1

    assert world.sent == [(7, "hello")]


async def test_a_stop_finishes_turns(world: World) -> None:
    """Asked to stop, the gateway first delivers what it is about to."""
    world.server.fault("sendMessage", Slow(0.5))
    async with world.gateway():
        world.server.send(ADA, "one")
        world.server.send(ADA, "two")
        await world.sending()
    assert (await world.ledger()).open == 0

    assert world.sent == [(7, "one"), (7, "two")]


@pytest.mark.parametrize(("seconds", "asks"), [("0", 1), ("3600", 2)])
async def test_what_is_left_is_taken_up(world: World, seconds: str, asks: int) -> None:
    """Out of time, or hurried, the rest stays open and is answered after the start."""
    world.server.fault("sendMessage", Slow(3600))
    shutdown = Shutdown()
    running = asyncio.create_task(world.run(shutdown, CROCBOT_DRAIN_SECONDS=seconds))
    world.server.send(ADA, "one")
    world.server.send(ADA, "two")
    await world.sending()
    for _ in range(asks):
        shutdown.request()
    await running
    assert (await world.ledger()).open == 2
    assert world.outcomes == []
    async with world.gateway():
        await world.turns(2)
    ledger = await world.ledger()
    assert (ledger.accepted, ledger.open) == (2, 0)

    assert world.sent == [(7, "one"), (7, "two")]


async def test_a_reply_waits_for_the_network(world: World) -> None:
    """A reply that fails on the way is sent again, and only then is the row closed."""
    world.server.fault("sendMessage", faults.bad_gateway())
    async with world.gateway():
        world.server.send(ADA, "hello")
        await world.turns(1)

    assert world.sent == [(7, "hello")]
    assert world.troubles[0] == ErrorEvent(ErrorType.NETWORK, Severity.WARNING)


async def test_telegram_is_away_at_start(world: World) -> None:
    """The gateway waits for Telegram, tells so, and starts when it is back."""
    world.server.fault("getMe", faults.bad_gateway())
    async with world.gateway():
        world.server.send(ADA, "hello")
        await world.turns(1)

    assert world.troubles[0] == ErrorEvent(ErrorType.NETWORK, Severity.WARNING)


async def test_a_stop_while_telegram_is_away(world: World) -> None:
    """A gateway that waits for Telegram can be stopped."""
    world.server.fault("getMe", faults.bad_gateway(), times=1000)
    async with world.gateway():
        await world.until(lambda: bool(world.troubles))

    assert world.outcomes == []


@pytest.mark.parametrize("status", [400, 404, 429, 500])
async def test_a_menu_is_not_worth_stopping_for(world: World, status: int) -> None:
    """A gateway whose menu is refused works all the same."""
    world.server.fault("setMyCommands", faults.api_error(status, "no"))
    async with world.gateway():
        world.server.send(ADA, "hello")
        await world.turns(1)

    assert world.sent == [(7, "hello")]


@pytest.mark.parametrize("status", [400, 404, 500])
async def test_a_webhook_that_is_not_deleted(world: World, status: int) -> None:
    """A gateway that cannot delete the webhook polls all the same."""
    refusal = faults.api_error(status, "no")
    world.server.fault("deleteWebhook", refusal, times=1000)
    async with world.gateway():
        world.server.send(ADA, "hello")
        await world.turns(1)

    assert world.sent == [(7, "hello")]


async def test_a_failed_poll(world: World) -> None:
    """A failed poll is told with its reason, and nothing is lost."""
    async with world.gateway():
        world.server.fault("getUpdates", faults.other_poller())
        world.server.send(ADA, "hello")
        await world.turns(1)

    assert PollFailed(ReconnectReason.CONFLICT) in world.events


@pytest.mark.parametrize("method", ["getMe", "deleteWebhook", "setMyCommands"])
async def test_a_refused_token(world: World, method: str) -> None:
    """A token that is refused at the start ends the gateway at once."""
    world.server.fault(method, faults.unauthorized())
    with pytest.raises(OperatorError, match="Telegram refused the token"):
        await world.run(Shutdown())


async def test_a_revoked_token(world: World) -> None:
    """A token that is refused later ends the gateway; what it had stays open."""
    world.server.fault("sendMessage", faults.unauthorized(), times=9)
    running = asyncio.create_task(world.run(Shutdown()))
    world.server.send(ADA, "hello")
    await world.sending()
    world.server.fault("getUpdates", faults.unauthorized(), times=9)
    with pytest.raises(OperatorError, match="Telegram refused the token"):
        await running
    assert (await world.ledger()).open == 1

    assert world.outcomes == []


async def test_a_full_disk_loses_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the inbox cannot write nothing is acknowledged; later it all comes."""
    accept = inbox.Inbox.accept
    broken = [True]

    async def refuse(rows: inbox.Inbox, raws: Any) -> Any:
        if raws and broken.pop():
            broken.append(False)
            raise InboxError("disk full")
        return await accept(rows, raws)

    monkeypatch.setattr(inbox.Inbox, "accept", refuse)
    async with world.gateway():
        world.server.send(ADA, "hello")
        await world.turns(1)

    assert world.sent == [(7, "hello")]
    assert world.troubles[0] == ErrorEvent(ErrorType.INBOX, Severity.CRITICAL)


async def test_stop_at_once(world: World) -> None:
    """/stop ends the turn that its chat is in; the next message is answered."""
    world.server.fault("sendMessage", Slow(3600))
    async with world.gateway():
        world.server.send(ADA, "one")
        await world.sending()
        world.server.send(ADA, "two")
        world.server.send(ADA, "/stop")
        await world.turns(3)
    closed = (await world.ledger()).closed
    assert closed[Disposition.CANCELLED] == 1
    assert closed[Disposition.ANSWERED] == 2

    assert sorted(world.sent) == [(7, "Stopped."), (7, "two")]


async def test_an_album_is_one_turn(world: World) -> None:
    """The pictures of an album get one answer, and all of their rows are closed."""
    async with world.gateway(CROCBOT_GATHER_SECONDS="0.3"):
        for words in ("Look", "", ""):
            content = {**messages.photo(words), "media_group_id": "5"}
            world.server.send(ADA, content)
        await world.turns(1)
    assert (await world.ledger()).closed[Disposition.ANSWERED] == 3

    assert world.sent == [(7, "Look")]
    assert len(world.outcomes[0].update_ids) == 3


async def test_a_paste_is_one_turn(world: World) -> None:
    """A text that was cut in two gets one answer, after a crash as well."""
    async with world.gateway(CROCBOT_GATHER_SECONDS="60") as shutdown:
        world.server.send(ADA, "x" * 4096)
        await world.until(lambda: world.server.pending == 0)
        shutdown.request()
        shutdown.request()
    async with world.gateway(CROCBOT_GATHER_SECONDS="60"):
        world.server.send(ADA, "y")
        await world.turns(1)
    assert (await world.ledger()).closed[Disposition.ANSWERED] == 2

    assert world.sent == [(7, "x" * 4096), (7, "y")]


async def test_a_chat_that_blocked_the_bot(world: World) -> None:
    """Rows of a chat that takes nothing are closed, and only one answer was tried."""
    world.server.fault("sendMessage", Slow(0.3))
    blocked = faults.api_error(403, "Forbidden: bot was blocked by the user")
    async with world.gateway():
        world.server.send(ADA, "one")
        await world.sending()
        world.server.fault("sendMessage", blocked)
        for word in ("two", "three", "four"):
            world.server.send(ADA, word)
        await world.turns(3)
        world.server.send(BOB, "hello")
        await world.turns(4)
    state = await world.ledger()
    assert (state.closed[Disposition.FAILED], state.open) == (3, 0)

    assert world.sent == [(7, "one"), (8, "hello")]
    assert [len(one.update_ids) for one in world.outcomes] == [1, 1, 2, 1]


async def test_a_retry_while_the_gateway_runs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed answer that the operator opens again is sent as it was."""
    monkeypatch.setattr(maintenance, "INTERVAL_SECONDS", 0.01)

    world.server.fault("sendMessage", faults.api_error(400, "Bad Request: no"))
    async with world.gateway():
        world.server.send(ADA, "hello")
        await world.turns(1)
        rows = inbox.Database(world.folder / "crocbot.sqlite3", lambda: 0.0)
        rows.open()
        (failure,) = rows.failures()
        assert failure.reason == "Telegram said no: No"
        assert rows.reopen(None) == 1
        rows.close()
        await world.turns(2)
    state = await world.ledger()
    assert state.closed[Disposition.ANSWERED] == state.accepted == 1

    assert world.sent == [(7, "hello")]
    assert world.outcomes[0].undelivered == "hello"
    states = world.events.of_type(InboxState)
    assert states[-1].closed[Disposition.ANSWERED] == 1


async def test_by_webhook(world: World) -> None:
    """Telegram calls, is told 200 when it is stored, and people are answered."""
    port = free_port()
    settings = {
        "CROCBOT_WEBHOOK_URL": f"http://127.0.0.1:{port}/hook",
        "CROCBOT_WEBHOOK_LISTEN": f"127.0.0.1:{port}",
    }

    async with world.gateway(**settings):
        for word in ("one", "two"):
            world.server.send(ADA, word)
        await world.turns(2)
        await world.until(lambda: world.server.pending == 0)
    world.server.send(ADA, "three")
    # Back to polling, the webhook is taken away.
    async with world.gateway():
        await world.turns(3)
    state = await world.ledger()
    assert (state.accepted, state.duplicates) == (3, 0)

    assert world.sent == [(7, "one"), (7, "two"), (7, "three")]
    assert WebhookRequest(WebhookOutcome.ACCEPTED) in world.events


async def test_a_webhook_that_telegram_refuses(world: World) -> None:
    """A URL that Telegram does not take is the operator's to change."""
    refusal = faults.api_error(400, "Bad Request: bad webhook: HTTPS is needed")
    world.server.fault("setWebhook", refusal)
    settings = {
        "CROCBOT_WEBHOOK_URL": "http://example.org",
        "CROCBOT_WEBHOOK_LISTEN": f"127.0.0.1:{free_port()}",
    }
    with pytest.raises(OperatorError, match="CROCBOT_WEBHOOK_URL: Telegram said"):
        await world.run(Shutdown(), **settings)
