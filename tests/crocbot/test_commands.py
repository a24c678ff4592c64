"""The gateway's own commands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crocbot.commands import MENU, OPERATORS_ONLY, Commands, Status
from crocbot.errors import StoreError
from crocbot.model import (
    ChatThread,
    ErrorEvent,
    ErrorType,
    MessageType,
    Reply,
    Severity,
    Usage,
)
from crocbot.prices import PICODOLLARS
from crocbot.spending import Spent
from tests.crocbot.fakes import RecordedEvents, a_message

STATUS = Status(version="1.2", agent="echo", uptime=93_784, queued=3, contact_age=4.2)
STARTED = Status(version="1.2", agent="echo", uptime=0.5, queued=1, contact_age=None)
CHAT = ChatThread(-5, 4)


class CommandsFixture:
    """The gateway, and the memory of its chats."""

    def __init__(self, status: Status = STATUS, busy: bool = True) -> None:
        self._status = status
        self.busy = busy
        self.answers = 3
        self.used = Usage()
        self.error: Exception | None = None
        self.forgotten: list[ChatThread] = []
        self.events = RecordedEvents()
        self.spending: Any = None

    def status(self) -> Status:
        return self._status

    async def stop_turn(self, chat: ChatThread, draft: int | None) -> bool:
        assert (chat, draft) == (CHAT, None)
        return self.busy

    async def forget(self, chat: ChatThread) -> None:
        if self.error:
            raise self.error
        self.forgotten.append(chat)

    async def usage(self, chat: ChatThread) -> tuple[int, Usage]:
        if self.error:
            raise self.error
        return self.answers, self.used

    async def answer(self, command: str | None, *, operator: bool = True) -> str | None:
        """Return the text of the answer to a command, or None."""
        message = a_message("", chat=CHAT, type=MessageType.COMMAND, command=command)
        stubs: Any = self
        commands = Commands(
            gateway=stubs, sessions=stubs, events=self.events, spending=self.spending
        )
        reply = await commands.answer(message, operator=operator)
        assert reply is None or reply == Reply(reply.text)
        return reply and reply.text


@pytest.mark.parametrize("command", MENU)
async def test_menu(command: str) -> None:
    """Every command of Telegram's menu is answered, and listed by /help."""
    world = CommandsFixture()

    assert await world.answer(command)
    assert f"/{command} - {MENU[command]}" in (await world.answer("help") or "")


@pytest.mark.parametrize("command", [None, "ask", "starts"])
async def test_other_commands(command: str | None) -> None:
    """Every other message is left to the agent."""
    assert await CommandsFixture().answer(command) is None


@pytest.mark.parametrize(
    ("command", "world", "text"),
    [
        ("whoami", CommandsFixture(), "user id: 7\nchat id: -5"),
        ("stop", CommandsFixture(busy=True), "Stopped."),
        ("stop", CommandsFixture(busy=False), "Nothing to stop."),
        (
            "status",
            CommandsFixture(),
            "crocbot 1.2, agent echo\n"
            "up for 1 d 2 h\n"
            "last contact with Telegram: 4 s ago\n"
            "messages running or waiting, this one included: 3",
        ),
        (
            "status",
            CommandsFixture(STARTED),
            "crocbot 1.2, agent echo\n"
            "up for 0 s\n"
            "last contact with Telegram: not yet\n"
            "messages running or waiting, this one included: 1",
        ),
        (
            "status",
            CommandsFixture(replace(STATUS, fallback="http")),
            "crocbot 1.2, agent echo\n"
            "fallback http, not needed now\n"
            "up for 1 d 2 h\n"
            "last contact with Telegram: 4 s ago\n"
            "messages running or waiting, this one included: 3",
        ),
        (
            "status",
            CommandsFixture(replace(STATUS, fallback="http", failing_for=300.0)),
            "crocbot 1.2, agent echo\n"
            "echo has failed for 5 min: the fallback http answers\n"
            "up for 1 d 2 h\n"
            "last contact with Telegram: 4 s ago\n"
            "messages running or waiting, this one included: 3",
        ),
    ],
)
async def test_answers(command: str, world: CommandsFixture, text: str) -> None:
    """/whoami, /stop and /status show what is known."""
    assert await world.answer(command) == text


@pytest.mark.parametrize(
    ("leader", "role", "contact"),
    [
        ("a", "the leader", "not yet"),
        ("b", "standby, the leader is b", "none as a standby"),
        (None, "standby, no leader is known", "none as a standby"),
    ],
)
async def test_status_of_a_replica(leader: str | None, role: str, contact: str) -> None:
    """/status names the replica that answers, and the leader; only that one polls."""
    status = replace(STATUS, replica="a", leader=leader, chats=4, contact_age=None)
    answer = await CommandsFixture(status).answer("status")

    assert answer is not None
    lines = answer.splitlines()
    assert lines[1] == f"replica a: {role}; chats at work here: 4"
    assert f"last contact with Telegram: {contact}" in lines


async def test_status_is_for_operators() -> None:
    """Others learn that, and nothing else."""
    assert await CommandsFixture().answer("status", operator=False) == OPERATORS_ONLY


async def test_new() -> None:
    """/new clears the memory of this topic of this chat."""
    world = CommandsFixture()

    assert "forgotten" in (await world.answer("new", operator=False) or "")
    assert world.forgotten == [CHAT]


@pytest.mark.parametrize(
    ("answers", "usage", "text"),
    [
        (3, Usage(12, 30), "answers in this chat: 3\ntokens: 42 (in 12, out 30)"),
        (3, Usage(), "answers in this chat: 3\ntokens: not counted by the agent"),
        # Only answers of agents that remember are counted.
        (0, Usage(), "tokens: none counted in this chat"),
    ],
)
async def test_usage(answers: int, usage: Usage, text: str) -> None:
    """/usage shows the tokens of this chat, if the agent counts them."""
    world = CommandsFixture()
    world.answers, world.used = answers, usage

    assert await world.answer("usage", operator=False) == text


@pytest.mark.parametrize("command", ["new", "usage"])
async def test_a_memory_that_fails(command: str) -> None:
    """The answer says that the memory cannot be reached, and the error is counted."""
    world = CommandsFixture()
    world.error = StoreError("disk is full")
    text = "Sorry, I cannot reach my memory. Please try again."

    assert await world.answer(command) == text
    assert world.events == [ErrorEvent(ErrorType.INBOX, Severity.CRITICAL)]


class Shares:
    """What one person and all together took."""

    def __init__(self, spent: Spent, *, priced: bool) -> None:
        self.priced = priced
        self.spent = spent

    async def share(self, person: int) -> tuple[Spent, Spent]:
        assert person == 7
        return self.spent, Spent(
            person=0, answers=9, usage=Usage(100, 20), cost=4 * PICODOLLARS
        )


@pytest.mark.parametrize(
    ("spent", "priced", "text"),
    [
        (
            Spent(person=7, answers=2, usage=Usage(10, 5), cost=PICODOLLARS),
            True,
            "your share: 2 answers, 15 tokens (in 10, out 5), $1.00, 25.0 % of all",
        ),
        (
            Spent(person=7, answers=1),
            True,
            "your share: 1 answer, tokens not counted by the agent, $0.00,"
            " 0.0 % of all",
        ),
        # Answers of the chat were to others, or before prices were set.
        (Spent(person=7), True, "your share: none counted"),
        (
            Spent(person=7, answers=2, usage=Usage(10, 5)),
            False,
            "your share: 2 answers, 15 tokens (in 10, out 5), 0.0 % of all",
        ),
    ],
)
async def test_the_share_of_a_person(spent: Spent, priced: bool, text: str) -> None:
    """/usage shows what the sender's answers took, wherever they were asked for."""
    world = CommandsFixture()
    world.spending = Shares(spent, priced=priced)
    found = await world.answer("usage", operator=False)

    assert found is not None
    assert found.splitlines()[-1] == text


@pytest.mark.parametrize("answers", [0, 2])
async def test_no_share_without_prices_and_tokens(answers: int) -> None:
    """Nothing is said about a share that cannot be known."""
    world = CommandsFixture()
    world.spending = Shares(Spent(person=7, answers=answers), priced=False)
    found = await world.answer("usage", operator=False)

    assert found is not None
    assert "your share" not in found
