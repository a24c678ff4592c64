"""The gateway's own commands."""

from __future__ import annotations

import asyncio

import pytest

from crocbot.commands import FOR_OPERATORS, MENU, Commands, Status
from crocbot.errors import StoreError
from crocbot.model import ChatThread, Message, MessageType, Reply, Usage

STATUS = Status(version="1.2", agent="echo", uptime=93_784, queued=3, polled=4.2)


class Memory:
    """The memory of one topic, or none that works."""

    def __init__(
        self, usage: Usage | None = None, fault: Exception | None = None
    ) -> None:
        self.used = usage or Usage()
        self.fault = fault
        self.forgotten: list[ChatThread] = []

    async def forget(self, chat: ChatThread) -> None:
        """Forget, or fail."""
        if self.fault:
            raise self.fault
        self.forgotten.append(chat)

    async def usage(self, chat: ChatThread) -> tuple[int, Usage]:
        """Count, or fail."""
        if self.fault:
            raise self.fault
        return 3, self.used


def ask(
    command: str | None,
    status: Status = STATUS,
    *,
    busy: bool = True,
    operator: bool = True,
    memory: Memory | None = None,
) -> Reply | None:
    """What the gateway answers to a command."""
    message = Message(
        1, ChatThread(-5, 4), 1, 7, True, MessageType.COMMAND, "", command, 0.0
    )
    memory = memory or Memory()
    commands = Commands(lambda: status, lambda _: busy, memory.forget, memory.usage)
    return asyncio.run(commands.answer(message, operator=operator))


def test_every_command_of_the_menu_is_answered() -> None:
    """Telegram's menu shows nothing that the gateway does not know."""
    assert all(ask(command) for command in MENU)


@pytest.mark.parametrize("command", [None, "ask", "starts"])
def test_other_commands(command: str | None) -> None:
    """Whatever else comes is left to the agent."""
    assert ask(command) is None


def test_help() -> None:
    """/help lists the whole menu."""
    reply = ask("help")

    assert reply is not None
    assert all(f"/{command} - {MENU[command]}" in reply.text for command in MENU)


def test_whoami() -> None:
    """/whoami tells both ids."""
    assert ask("whoami") == Reply("user id: 7\nchat id: -5")


def test_status() -> None:
    """/status tells version, agent, uptime, last poll and queue."""
    assert ask("status") == Reply(
        "crocbot 1.2, agent echo\n"
        "up for 1 d 2 h\n"
        "last poll completed: 4 s ago\n"
        "messages in work or waiting, with this one: 3"
    )


def test_status_before_the_first_poll() -> None:
    """/status does not invent a poll."""
    reply = ask("status", Status("1.2", "echo", 0.5, 1, None))

    assert reply is not None
    assert "up for 0 s\nlast poll completed: not yet" in reply.text


@pytest.mark.parametrize(
    ("busy", "says"), [(True, "Stopped."), (False, "Nothing to stop.")]
)
def test_stop(busy: bool, says: str) -> None:
    """/stop tells whether there was anything to stop."""
    assert ask("stop", busy=busy) == Reply(says)


def test_status_is_for_operators() -> None:
    """Others are told so, and nothing else."""
    assert ask("status", operator=False) == Reply(FOR_OPERATORS)


def test_new() -> None:
    """/new forgets this topic of this chat."""
    memory = Memory()
    reply = ask("new", memory=memory, operator=False)

    assert reply is not None
    assert "forgotten" in reply.text
    assert memory.forgotten == [ChatThread(-5, 4)]


@pytest.mark.parametrize(
    ("usage", "says"),
    [
        (Usage(12, 30), "answers in this chat: 3\ntokens: 42 (in 12, out 30)"),
        (Usage(), "answers in this chat: 3\ntokens: not told by the agent"),
    ],
)
def test_usage(usage: Usage, says: str) -> None:
    """/usage tells the tokens of this chat, if anybody knows them."""
    assert ask("usage", memory=Memory(usage), operator=False) == Reply(says)


@pytest.mark.parametrize("command", ["new", "usage"])
def test_a_memory_that_cannot_be_reached(command: str) -> None:
    """Who asks about the memory hears when it cannot be reached."""
    reply = ask(command, memory=Memory(fault=StoreError("disk is full")))

    assert reply is not None
    assert reply.text == "Sorry, I cannot reach my memory. Please try again."
