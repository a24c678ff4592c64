"""A gateway on the state of an earlier version, and of a later one."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest

from crocbot.inbox import SCHEMA, sql
from crocbot.sandbox import Person
from crocbot.store import opened
from crocbot.store.sqlite import FORMAT
from tests.end_to_end.programs import Run
from tests.end_to_end.world import World

OLD = Path(__file__).parents[1] / "crocbot" / "data" / "0.1.0"
ADA = Person(7, "Ada")
OPEN = ["message 8", "message 9", "message 3"]


@pytest.mark.parametrize("name", ["crocbot.sqlite3", "inbox.sqlite3"])
async def test_an_earlier_version(world: World, run: Run, name: str) -> None:
    """Its open rows are answered in their old order, before new ones."""
    is_last = name == "crocbot.sqlite3"
    replies = ["a reopened answer"] * is_last + OPEN + ["new"]
    world.database.parent.mkdir(mode=0o700)
    shutil.copy(OLD / name, world.database.with_name(name))
    # The sandbox knows a chat once it has a message.
    world.server.send(ADA, "new")
    gateway = await world.start_gateway()
    await world.eventually(lambda: world.replies.to(ADA) == replies)

    retry = run("crocbot", "inbox", "retry", "11", **world.settings())
    assert (await asyncio.to_thread(retry.end))[:2] == (0, "reopened: 1\n")
    # The first commits kept neither the answer nor the message.
    replies += ["the kept answer"] * is_last + ["later"]
    await world.eventually(lambda: "reopened by the" in gateway.output.read_text())
    world.server.send(ADA, "later")
    await world.eventually(lambda: world.replies.to(ADA) == replies)

    # A row is closed after its answer was sent.
    await world.eventually(lambda: not open_rows(world.database))
    report = run("crocbot", "inbox", **world.settings())
    code, output, _ = await asyncio.to_thread(report.end)
    assert (code, output.splitlines()[0]) == (0, "open: 0")


def open_rows(file: Path) -> int:
    """Return the number of open rows of an inbox."""
    with opened(file, [SCHEMA]) as connection:
        return sql.state(connection).open


@pytest.mark.parametrize("command", ["gateway", "inbox", "check", "pairing list"])
async def test_a_later_version(world: World, run: Run, command: str) -> None:
    """Its file is refused in one line, exit code 2, and is not changed."""
    world.database.parent.mkdir(mode=0o700)
    connection = sqlite3.connect(world.database)
    connection.execute(f"PRAGMA user_version={FORMAT + 1}")
    connection.close()
    before = world.database.read_bytes()
    program = run("crocbot", *command.split(), **world.settings())
    code, _, errors = await asyncio.to_thread(program.end)

    assert code == 2
    (line,) = errors.splitlines()
    assert f"written by a newer crocbot (format {FORMAT + 1}" in line
    assert world.database.read_bytes() == before
