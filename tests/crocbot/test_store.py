"""The file for what must be remembered besides rows."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from crocbot import store
from crocbot.errors import OperatorError, StoreError
from crocbot.store import Store

SCHEMA = "CREATE TABLE IF NOT EXISTS a (x); CREATE TABLE IF NOT EXISTS b (x)"


def insert(connection: sqlite3.Connection) -> None:
    """Add one row."""
    connection.execute("INSERT INTO a VALUES (1)")


def count(connection: sqlite3.Connection) -> int:
    """Count the rows."""
    return int(connection.execute("SELECT count(*) FROM a").fetchone()[0])


def test_what_is_stored_stays(tmp_path: Path) -> None:
    """Jobs are transactions; a second store, or a command, sees what they did."""
    file = tmp_path / "new" / "x.sqlite3"

    async def scene() -> None:
        async with Store(file, [SCHEMA]) as opened:
            await opened.run(insert)
            with store.opened(file, [SCHEMA]) as connection:
                insert(connection)
            assert await opened.run(count) == 2

    with store.opened(file, [SCHEMA]) as connection:
        assert count(connection) == 0
    asyncio.run(scene())
    with store.opened(file, [SCHEMA]) as connection:
        assert count(connection) == 2


def test_a_job_that_fails_changes_nothing(tmp_path: Path) -> None:
    """A fault rolls back; SQLite's own become StoreError."""

    def fail(connection: sqlite3.Connection) -> None:
        insert(connection)
        connection.execute("nonsense")

    async def scene() -> None:
        async with Store(tmp_path / "x.sqlite3", [SCHEMA]) as opened:
            with pytest.raises(StoreError):
                await opened.run(fail)
            assert await opened.run(count) == 0

    asyncio.run(scene())


def test_a_closed_store(tmp_path: Path) -> None:
    """A store that was never opened refuses."""
    with pytest.raises(StoreError):
        asyncio.run(Store(tmp_path / "x.sqlite3", [SCHEMA]).run(count))


def test_a_file_of_something_else(tmp_path: Path) -> None:
    """What is no database is the operator's to move, and is not touched."""
    file = tmp_path / "x.sqlite3"
    file.write_text("This is a letter to my aunt, not a database at all. " * 20)

    async def enter() -> None:
        async with Store(file, [SCHEMA]):
            pass

    with pytest.raises(OperatorError, match=r"x\.sqlite3 cannot be used"):
        asyncio.run(enter())
    with pytest.raises(OperatorError), store.opened(file, [SCHEMA]):
        pass
    with pytest.raises(OperatorError, match="move it away"):
        store.inspect(file)
    assert file.read_text().startswith("This is a letter")


def test_a_directory_that_cannot_be_made() -> None:
    """A command says where it could not write."""
    with (
        pytest.raises(OperatorError, match="CROCBOT_STATE_DIR: cannot write"),
        store.opened(Path("/dev/null/x/x.sqlite3"), [SCHEMA]),
    ):
        pass


def test_inspect(tmp_path: Path) -> None:
    """To look at a good file leaves nothing behind."""
    file = tmp_path / "x.sqlite3"
    with store.opened(file, [SCHEMA]) as connection:
        insert(connection)
    before = sorted(tmp_path.iterdir())
    store.inspect(file)

    assert sorted(tmp_path.iterdir()) == before
