"""The gateway's own commands."""

from __future__ import annotations

import pytest

from crocbot.commands import MENU, Commands, Status
from crocbot.model import Address, Kind, Message, Reply

STATUS = Status(version="1.2", agent="echo", uptime=93_784, queued=3, polled=4.2)


def ask(
    command: str | None, status: Status = STATUS, *, busy: bool = True
) -> Reply | None:
    """What the gateway answers to a command."""
    message = Message(1, Address(-5), 1, 7, True, Kind.COMMAND, "", command, 0.0)
    return Commands(lambda: status, lambda _: busy).answer(message)


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
