"""Backups, restores and dropped rows beside a real gateway, in a real terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import aiohttp
import pytest

from crocbot.inbox import SCHEMA, sql
from crocbot.sandbox import Person, faults
from crocbot.store import opened
from tests.end_to_end.terminal import TerminalProgram
from tests.end_to_end.world import World

ADA = Person(7, "Ada")

Terminal = Callable[..., TerminalProgram]


@pytest.fixture
def terminal(tmp_path: Path, world: World) -> Iterator[Terminal]:
    """Start commands in a terminal, with the settings of the gateway."""
    started = []

    def start(*arguments: str, **settings: str) -> TerminalProgram:
        program = TerminalProgram(
            "crocbot",
            *arguments,
            home=tmp_path,
            settings={**world.settings(), **settings},
        )
        started.append(program)
        return program

    yield start
    for program in started:
        program.close()


def counts(file: Path) -> dict[str, int]:
    """Return the ledger of an inbox that closes, without what is 0."""
    with opened(file, [SCHEMA]) as connection:
        state = sql.state(connection)
    closed = {str(each): count for each, count in state.closed.items() if count}
    assert sum(closed.values()) + state.open == state.accepted
    return closed


async def test_a_backup_and_a_restore(world: World, terminal: Terminal) -> None:
    """A backup under load is whole; after a restore its open rows are answered."""
    stop = asyncio.Event()
    gateway = await world.start_gateway(
        CROCBOT_AGENT="command", CROCBOT_AGENT_COMMAND="cat"
    )
    talk = asyncio.create_task(world.talk(stop))
    for number in range(3):
        backup = terminal("backup", f"copy-{number}")
        assert await backup.end() == 0, backup.seen
    refused = terminal("restore", "copy-0", "--yes")
    assert await refused.end() == 2
    assert "another crocbot gateway works in" in refused.seen
    stop.set()
    await talk
    assert await gateway.stop() == 0
    for number in range(3):
        counts(world.home / f"copy-{number}")

    with opened(world.home / "copy-0", [SCHEMA]) as connection:
        message = world.server.send(ADA, "again")
        update = {"update_id": 2**40, "message": message}
        sql.accept(connection, [update], 0.0)
    restore = terminal("restore", "copy-0")
    await restore.expect(f"update {2**40} of chat 7")
    await restore.answer("Restore copy-0 to ", "n")
    assert await restore.end() == 1
    assert "nothing was changed" in restore.seen

    restore = terminal("restore", "copy-0")
    await restore.answer("Restore copy-0 to ", "y")
    assert await restore.end() == 0
    assert "the replaced database is" in restore.seen
    await world.start_gateway()
    await world.eventually(lambda: world.replies.to(ADA).count("again") == 2)


async def test_the_status(world: World, terminal: Terminal) -> None:
    """State, five metrics and ledger of the gateway that runs; else exit code 1."""
    gateway = await world.start_gateway()
    world.server.send(ADA, "hello")
    await world.eventually(lambda: counts(world.database) == {"answered": 1})
    await world.eventually(lambda: counted(world))
    await world.eventually(world.is_ready)
    status = terminal("status")
    assert await status.end() == 0, status.seen
    for line in (
        f"crocbot {version('crocbot')}, agent echo",
        "last contact with Telegram: ",
        "messages running or waiting: 0",
        "crocbot_uptime_seconds ",
        'crocbot_messages_total{type="text"} 1',
        "crocbot_errors_total 0",
        'crocbot_telegram_latency_seconds_count{type="text"} 1',
        'crocbot_telegram_reconnects_total{reason="conflict"} 0',
        "accepted 1 = answered 1 ",
        "messages of crocbot send: open 0",
    ):
        assert line in status.seen
    assert world.server.token not in status.seen

    other = terminal("status", CROCBOT_STATE_DIR=str(world.home / "other"))
    assert await other.end() == 1
    assert "no gateway runs in" in other.seen
    off = terminal("status", CROCBOT_HEALTH_ADDRESS="off")
    assert await off.end() == 0
    assert "CROCBOT_HEALTH_ADDRESS is off" in off.seen

    second = await world.start_gateway(CROCBOT_STATE_DIR=str(world.home / "other"))
    # The first one polls, too: what the second one logs says that it runs.
    await world.eventually(lambda: "no health page" in second.output.read_text())
    wrong = terminal("status", CROCBOT_STATE_DIR=str(world.home / "other"))
    assert await wrong.end() == 1
    assert "but another one answers at" in wrong.seen
    assert await second.stop() == 0
    assert await gateway.stop() == 0
    stopped = terminal("status")
    assert await stopped.end() == 1
    assert "no gateway runs in" in stopped.seen
    assert "accepted 1 = answered 1 " in stopped.seen


async def counted(world: World) -> bool:
    """Return whether the gateway has counted a message."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{world.health_url}/status") as answer,
    ):
        metrics = (await answer.json())["metrics"]
    return bool(metrics.get('crocbot_messages_total{type="text"}') == 1)


async def test_dropped_rows(world: World, terminal: Terminal) -> None:
    """They are shown, asked for and dropped while the gateway runs."""
    gateway = await world.start_gateway()

    def has_failed(count: int) -> bool:
        return counts(world.database).get("failed") == count

    for number, text in enumerate(("one", "two"), 1):
        world.server.fault("sendMessage", faults.api_error(400, "Bad Request: no"))
        world.server.send(ADA, text)
        await world.eventually(partial(has_failed, number))

    drop = terminal("inbox", "drop", "--chat", "7")
    await drop.expect("failed, kept for a retry: 2")
    await drop.answer("Drop 2 rows?", "n")
    assert await drop.end() == 1
    drop = terminal("inbox", "drop", "--reason", "refused")
    await drop.answer("Drop 2 rows?", "y")
    assert await drop.end() == 0
    assert counts(world.database) == {"cancelled": 2}

    world.server.send(ADA, "three")
    await world.eventually(lambda: "three" in world.replies.to(ADA))
    assert "one" not in world.replies.to(ADA)
    assert await gateway.stop() == 0
