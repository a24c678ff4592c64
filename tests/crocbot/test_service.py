"""The whole gateway in this process, with the sandbox as Telegram."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

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
    ChatThread,
    Decision,
    Disposition,
    ErrorEvent,
    ErrorType,
    Message,
    MessageType,
    Outcome,
    ReconnectReason,
    Severity,
    Verdict,
)
from crocbot.reply import delivery as courier
from crocbot.sandbox import Person, Server, faults, messages
from crocbot.sandbox.faults import Slow
from crocbot.sandbox.stage import free_port
from crocbot.service import Stop, greeting, maintenance, strangers
from crocbot.service.strangers import Strangers
from tests.crocbot.fakes import RecordedEvents

ADA, BOB, EVE = Person(7, "Ada"), Person(8, "Bob"), Person(9, "Eve")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses are tested where they are made."""
    for module in (greeting, poller):
        monkeypatch.setattr(module, "FIRST_PAUSE", 0.01)
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
        while not condition():
            self._changed.clear()
            # The counters wake nobody up.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), 0.02)

    def run(self, stop: Stop, **changes: str) -> Coroutine[Any, Any, None]:
        """Run a gateway until asked to stop."""
        environment = {
            "TELEGRAM_BOT_TOKEN": self.server.token,
            "CROCBOT_TELEGRAM_API_URL": self.server.url,
            "CROCBOT_STATE_DIR": str(self.folder),
            "CROCBOT_ALLOW_FROM": "7,8",
            "CROCBOT_HEALTH_ADDRESS": "off",
        }
        loaded, _ = settings.load(environment | changes, None)
        return service.serve(loaded, self.events, stop)

    @asynccontextmanager
    async def gateway(self, **changes: str) -> AsyncIterator[Stop]:
        """A running gateway, which is stopped and waited for at the end."""
        stop = Stop()
        running = asyncio.create_task(self.run(stop, **changes))
        try:
            yield stop
        finally:
            stop.ask()
            await running

    async def ledger(self) -> InboxState:
        """The totals on disk, once no gateway runs."""
        async with inbox.Inbox(self.folder / "crocbot.sqlite3") as rows:
            return await rows.state()


def play(folder: Path, scene: Callable[[World], Coroutine[Any, Any, None]]) -> World:
    """Play a scene in a new world; one that hangs fails."""

    async def run() -> World:
        async with Server() as server:
            world = World(folder, server)
            await scene(world)
            return world

    return asyncio.run(asyncio.wait_for(run(), 60))


def test_a_conversation(tmp_path: Path) -> None:
    """People are answered, each in order; every row is told once and closed."""
    words = [f"message {number}" for number in range(20)]

    async def scene(world: World) -> None:
        async with world.gateway():
            for word in words:
                world.server.say(ADA, word)
                world.server.say(BOB, word)
            await world.until(lambda: len(world.outcomes) == 40)
        ledger = await world.ledger()
        assert (ledger.accepted, ledger.open) == (40, 0)
        assert ledger.closed[Disposition.ANSWERED] == 40

    world = play(tmp_path, scene)
    for person in (ADA, BOB):
        assert [text for chat, text in world.sent if chat == person.user_id] == words
    assert world.troubles == []
    assert {outcome.message_type for outcome in world.outcomes} == {MessageType.TEXT}
    assert {command["command"] for command in world.server.commands} == set(MENU)


def test_a_reply_quotes_when_others_came_between(tmp_path: Path) -> None:
    """Of what was written in a row, all but the last are quoted in their replies."""
    sent: list[Any] = []

    async def scene(world: World) -> None:
        world.server.listen(sent.append)
        said = [world.server.say(ADA, word)["message_id"] for word in ("a", "b", "c")]
        async with world.gateway():
            await world.until(lambda: len(world.outcomes) == 3)
        quoted = [one.get("reply_to_message", {}).get("message_id") for one in sent]
        assert quoted == [said[0], said[1], None]

    play(tmp_path, scene)


def test_a_stop_acknowledges_nothing_that_is_not_stored(tmp_path: Path) -> None:
    """What Telegram forgot is in the inbox; what it did not comes once more only."""

    async def scene(world: World) -> None:
        async with world.gateway():
            world.server.say(ADA, "one")
            await world.until(lambda: len(world.outcomes) == 1)
        async with world.gateway():
            world.server.say(ADA, "two")
            await world.until(lambda: len(world.outcomes) == 2)
        assert (await world.ledger()).accepted == 2

    assert play(tmp_path, scene).sent == [(7, "one"), (7, "two")]


def test_status(tmp_path: Path) -> None:
    """/status shows the real numbers."""

    async def scene(world: World) -> None:
        async with world.gateway():
            world.server.say(ADA, "/status")
            await world.until(lambda: len(world.outcomes) == 1)

    ((_, text),) = play(tmp_path, scene).sent
    version, uptime, polled, queued = text.splitlines()
    assert version == f"crocbot {service.VERSION}, agent echo"
    assert uptime.startswith("up for ")
    assert polled.endswith(" s ago")
    assert queued == "messages in work or waiting, with this one: 1"


def test_strangers(tmp_path: Path) -> None:
    """Strangers and groups get nothing, and are counted as denied."""

    async def scene(world: World) -> None:
        async with world.gateway():
            for word in ("hello", "/start", "again"):
                world.server.say(EVE, word)
            world.server.say(ADA, "I am known")
            await world.until(lambda: len(world.outcomes) == 4)

    world = play(tmp_path, scene)
    denied = [one for one in world.outcomes if one.disposition is Disposition.DENIED]
    assert world.sent == [(7, "I am known")]
    assert [one.decision for one in denied] == [Decision(Verdict.NOT_LISTED)] * 3


def test_a_poison_update(tmp_path: Path) -> None:
    """An update that nobody can read is set aside, and the next one is answered."""

    async def scene(world: World) -> None:
        async with world.gateway():
            world.server.push({"message": {"chat": {"id": 7}, "text": ["?"]}})
            world.server.push({"something_new": {}})
            world.server.say(ADA, "hello")
            await world.until(lambda: len(world.outcomes) == 3)
        closed = (await world.ledger()).closed
        assert closed[Disposition.SET_ASIDE] == 1
        assert closed[Disposition.IGNORED] == 1

    assert play(tmp_path, scene).sent == [(7, "hello")]


def test_a_stop_finishes_turns(tmp_path: Path) -> None:
    """Asked to stop, the gateway first delivers what it is about to."""

    async def scene(world: World) -> None:
        world.server.fault("sendMessage", Slow(0.5))
        async with world.gateway():
            world.server.say(ADA, "one")
            world.server.say(ADA, "two")
            await world.until(lambda: bool(world.server.calls["sendmessage"]))
        assert (await world.ledger()).open == 0

    assert play(tmp_path, scene).sent == [(7, "one"), (7, "two")]


@pytest.mark.parametrize(("seconds", "asks"), [("0", 1), ("3600", 2)])
def test_what_is_left_is_taken_up(tmp_path: Path, seconds: str, asks: int) -> None:
    """Out of time, or hurried, the rest stays open and is answered after the start."""

    async def scene(world: World) -> None:
        world.server.fault("sendMessage", Slow(3600))
        stop = Stop()
        running = asyncio.create_task(world.run(stop, CROCBOT_DRAIN_SECONDS=seconds))
        world.server.say(ADA, "one")
        world.server.say(ADA, "two")
        await world.until(lambda: bool(world.server.calls["sendmessage"]))
        for _ in range(asks):
            stop.ask()
        await running
        assert (await world.ledger()).open == 2
        assert world.outcomes == []
        async with world.gateway():
            await world.until(lambda: len(world.outcomes) == 2)
        ledger = await world.ledger()
        assert (ledger.accepted, ledger.open) == (2, 0)

    assert play(tmp_path, scene).sent == [(7, "one"), (7, "two")]


def test_a_reply_waits_for_the_network(tmp_path: Path) -> None:
    """A reply that fails on the way is sent again, and only then is the row closed."""

    async def scene(world: World) -> None:
        world.server.fault("sendMessage", faults.bad_gateway())
        async with world.gateway():
            world.server.say(ADA, "hello")
            await world.until(lambda: len(world.outcomes) == 1)

    world = play(tmp_path, scene)
    assert world.sent == [(7, "hello")]
    assert world.troubles[0] == ErrorEvent(ErrorType.NETWORK, Severity.WARNING)


def test_telegram_is_away_at_start(tmp_path: Path) -> None:
    """The gateway waits for Telegram, tells so, and starts when it is back."""

    async def scene(world: World) -> None:
        world.server.fault("getMe", faults.bad_gateway())
        async with world.gateway():
            world.server.say(ADA, "hello")
            await world.until(lambda: len(world.outcomes) == 1)

    world = play(tmp_path, scene)
    assert world.troubles[0] == ErrorEvent(ErrorType.NETWORK, Severity.WARNING)


def test_a_stop_while_telegram_is_away(tmp_path: Path) -> None:
    """A gateway that waits for Telegram can be stopped."""

    async def scene(world: World) -> None:
        world.server.fault("getMe", faults.bad_gateway(), times=1000)
        async with world.gateway():
            await world.until(lambda: bool(world.troubles))

    assert play(tmp_path, scene).outcomes == []


@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_a_menu_is_not_worth_stopping_for(tmp_path: Path, status: int) -> None:
    """A gateway whose menu is refused works all the same."""

    async def scene(world: World) -> None:
        world.server.fault("setMyCommands", faults.refusal(status, "no"))
        async with world.gateway():
            world.server.say(ADA, "hello")
            await world.until(lambda: len(world.outcomes) == 1)

    assert play(tmp_path, scene).sent == [(7, "hello")]


@pytest.mark.parametrize("status", [400, 404, 500])
def test_a_webhook_that_is_not_deleted(tmp_path: Path, status: int) -> None:
    """A gateway that cannot delete the webhook polls all the same."""

    async def scene(world: World) -> None:
        refusal = faults.refusal(status, "no")
        world.server.fault("deleteWebhook", refusal, times=1000)
        async with world.gateway():
            world.server.say(ADA, "hello")
            await world.until(lambda: len(world.outcomes) == 1)

    assert play(tmp_path, scene).sent == [(7, "hello")]


def test_a_failed_poll(tmp_path: Path) -> None:
    """A failed poll is told with its reason, and nothing is lost."""

    async def scene(world: World) -> None:
        async with world.gateway():
            world.server.fault("getUpdates", faults.other_poller())
            world.server.say(ADA, "hello")
            await world.until(lambda: len(world.outcomes) == 1)

    assert PollFailed(ReconnectReason.CONFLICT) in play(tmp_path, scene).events


@pytest.mark.parametrize("method", ["getMe", "deleteWebhook", "setMyCommands"])
def test_a_refused_token(tmp_path: Path, method: str) -> None:
    """A token that is refused at the start ends the gateway at once."""

    async def scene(world: World) -> None:
        world.server.fault(method, faults.unauthorized())
        with pytest.raises(OperatorError, match="Telegram refused the token"):
            await world.run(Stop())

    play(tmp_path, scene)


def test_a_revoked_token(tmp_path: Path) -> None:
    """A token that is refused later ends the gateway; what it had stays open."""

    async def scene(world: World) -> None:
        world.server.fault("sendMessage", faults.unauthorized(), times=9)
        stop = Stop()
        running = asyncio.create_task(world.run(stop))
        world.server.say(ADA, "hello")
        await world.until(lambda: bool(world.server.calls["sendmessage"]))
        world.server.fault("getUpdates", faults.unauthorized(), times=9)
        with pytest.raises(OperatorError, match="Telegram refused the token"):
            await running
        assert (await world.ledger()).open == 1

    assert play(tmp_path, scene).outcomes == []


def test_a_full_disk_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the inbox cannot write nothing is acknowledged; later it all comes."""

    async def scene(world: World) -> None:
        accept = inbox.Inbox.accept
        broken = [True]

        async def refuse(rows: inbox.Inbox, raws: Any) -> Any:
            if raws and broken.pop():
                broken.append(False)
                raise InboxError("disk full")
            return await accept(rows, raws)

        monkeypatch.setattr(inbox.Inbox, "accept", refuse)
        async with world.gateway():
            world.server.say(ADA, "hello")
            await world.until(lambda: len(world.outcomes) == 1)

    world = play(tmp_path, scene)
    assert world.sent == [(7, "hello")]
    assert world.troubles[0] == ErrorEvent(ErrorType.INBOX, Severity.CRITICAL)


def test_stop_at_once(tmp_path: Path) -> None:
    """/stop ends the turn that its chat is in; the next message is answered."""

    async def scene(world: World) -> None:
        world.server.fault("sendMessage", Slow(3600))
        async with world.gateway():
            world.server.say(ADA, "one")
            await world.until(lambda: bool(world.server.calls["sendmessage"]))
            world.server.say(ADA, "two")
            world.server.say(ADA, "/stop")
            await world.until(lambda: len(world.outcomes) == 3)
        closed = (await world.ledger()).closed
        assert closed[Disposition.CANCELLED] == 1
        assert closed[Disposition.ANSWERED] == 2

    assert sorted(play(tmp_path, scene).sent) == [(7, "Stopped."), (7, "two")]


def test_an_album_is_one_turn(tmp_path: Path) -> None:
    """The pictures of an album get one answer, and all of their rows are closed."""

    async def scene(world: World) -> None:
        async with world.gateway(CROCBOT_GATHER_SECONDS="0.3"):
            for words in ("Look", "", ""):
                content = {**messages.photo(words), "media_group_id": "5"}
                world.server.say(ADA, content)
            await world.until(lambda: len(world.outcomes) == 1)
        assert (await world.ledger()).closed[Disposition.ANSWERED] == 3

    world = play(tmp_path, scene)
    assert world.sent == [(7, "Look")]
    assert len(world.outcomes[0].update_ids) == 3


def test_a_paste_is_one_turn(tmp_path: Path) -> None:
    """A text that was cut in two gets one answer, after a crash as well."""

    async def scene(world: World) -> None:
        async with world.gateway(CROCBOT_GATHER_SECONDS="60") as stop:
            world.server.say(ADA, "x" * 4096)
            await world.until(lambda: world.server.pending == 0)
            stop.ask()
            stop.ask()
        async with world.gateway(CROCBOT_GATHER_SECONDS="60"):
            world.server.say(ADA, "y")
            await world.until(lambda: len(world.outcomes) == 1)
        assert (await world.ledger()).closed[Disposition.ANSWERED] == 2

    assert play(tmp_path, scene).sent == [(7, "x" * 4096), (7, "y")]


def test_a_chat_that_blocked_the_bot(tmp_path: Path) -> None:
    """Rows of a chat that takes nothing are closed, and only one answer was tried."""

    async def scene(world: World) -> None:
        world.server.fault("sendMessage", Slow(0.3))
        blocked = faults.refusal(403, "Forbidden: bot was blocked by the user")
        async with world.gateway():
            world.server.say(ADA, "one")
            await world.until(lambda: bool(world.server.calls["sendmessage"]))
            world.server.fault("sendMessage", blocked)
            for word in ("two", "three", "four"):
                world.server.say(ADA, word)
            await world.until(lambda: len(world.outcomes) == 3)
            world.server.say(BOB, "hello")
            await world.until(lambda: len(world.outcomes) == 4)
        state = await world.ledger()
        assert (state.closed[Disposition.FAILED], state.open) == (3, 0)

    world = play(tmp_path, scene)
    assert world.sent == [(7, "one"), (8, "hello")]
    assert [len(one.update_ids) for one in world.outcomes] == [1, 1, 2, 1]


def test_a_retry_while_the_gateway_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed answer that the operator opens again is sent as it was."""
    monkeypatch.setattr(maintenance, "LOOK_SECONDS", 0.01)

    async def scene(world: World) -> None:
        world.server.fault("sendMessage", faults.refusal(400, "Bad Request: no"))
        async with world.gateway():
            world.server.say(ADA, "hello")
            await world.until(lambda: len(world.outcomes) == 1)
            rows = inbox.Database(world.folder / "crocbot.sqlite3", lambda: 0.0)
            rows.open()
            (failure,) = rows.failures()
            assert failure.reason == "Telegram said no: No"
            assert rows.reopen(None) == 1
            rows.close()
            await world.until(lambda: len(world.outcomes) == 2)
        state = await world.ledger()
        assert state.closed[Disposition.ANSWERED] == state.accepted == 1

    world = play(tmp_path, scene)
    assert world.sent == [(7, "hello")]
    assert world.outcomes[0].undelivered == "hello"
    states = world.events.of_type(InboxState)
    assert states[-1].closed[Disposition.ANSWERED] == 1


def test_by_webhook(tmp_path: Path) -> None:
    """Telegram calls, is told 200 when it is stored, and people are answered."""
    port = free_port(0, socket.SOCK_STREAM)
    settings = {
        "CROCBOT_WEBHOOK_URL": f"http://127.0.0.1:{port}/hook",
        "CROCBOT_WEBHOOK_LISTEN": f"127.0.0.1:{port}",
    }

    async def scene(world: World) -> None:
        async with world.gateway(**settings):
            for word in ("one", "two"):
                world.server.say(ADA, word)
            await world.until(lambda: len(world.outcomes) == 2)
            await world.until(lambda: world.server.pending == 0)
        world.server.say(ADA, "three")
        # Back to polling, the webhook is taken away.
        async with world.gateway():
            await world.until(lambda: len(world.outcomes) == 3)
        state = await world.ledger()
        assert (state.accepted, state.duplicates) == (3, 0)

    world = play(tmp_path, scene)
    assert world.sent == [(7, "one"), (7, "two"), (7, "three")]
    assert WebhookRequest(WebhookOutcome.ACCEPTED) in world.events


def test_a_webhook_that_telegram_refuses(tmp_path: Path) -> None:
    """A URL that Telegram does not take is the operator's to change."""

    async def scene(world: World) -> None:
        refusal = faults.refusal(400, "Bad Request: bad webhook: HTTPS is needed")
        world.server.fault("setWebhook", refusal)
        settings = {
            "CROCBOT_WEBHOOK_URL": "http://example.org",
            "CROCBOT_WEBHOOK_LISTEN": f"127.0.0.1:{free_port(0, socket.SOCK_STREAM)}",
        }
        with pytest.raises(OperatorError, match="CROCBOT_WEBHOOK_URL: Telegram said"):
            await world.run(Stop(), **settings)

    play(tmp_path, scene)


def stranger(user: int | None, chat: int) -> Message:
    """A message from somebody who is not let in."""
    private = user is not None
    return Message(
        1, ChatThread(chat), 1, user, private, MessageType.TEXT, "", None, 0.0
    )


def test_strangers_are_logged_once() -> None:
    """Each stranger's id is logged once, with how to let him in."""
    known = Strangers()
    with capture_logs() as lines:
        for user in (9, 9, 10, 9):
            known.note(stranger(user, user), Decision(Verdict.NOT_LISTED))
        for _ in range(2):
            known.note(stranger(None, -5), Decision(Verdict.GROUP))

    level = {"log_level": "warning"}
    assert lines == [
        {"event": "not let in", "user": 9, "to_let_in": "add 9 to CROCBOT_ALLOW_FROM"}
        | level,
        {"event": "not let in", "user": 10, "to_let_in": "add 10 to CROCBOT_ALLOW_FROM"}
        | level,
        {
            "event": "group not let in",
            "chat": -5,
            "to_let_in": "add -5 to CROCBOT_GROUPS",
        }
        | level,
    ]


def test_strangers_take_bounded_memory() -> None:
    """However many strangers come, only the last of them are remembered."""
    known = Strangers()
    with capture_logs() as lines:
        for user in range(1, 2 * strangers.MOST_STRANGERS + 1):
            known.note(stranger(user, user), Decision(Verdict.NOT_LISTED))

    assert len(lines) == 2 * strangers.MOST_STRANGERS
    assert len(known._known) <= strangers.MOST_STRANGERS
