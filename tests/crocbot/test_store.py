"""The file of the state directory: durable, one transaction a job, never lost."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from crocbot import state_dir
from crocbot.errors import OperatorError, StoreError
from crocbot.state_dir import is_locked, locked, open_directory
from crocbot.store import SqliteStore, inspect, opened, sqlite

SCHEMA = "CREATE TABLE IF NOT EXISTS a (x); CREATE TABLE IF NOT EXISTS b (x)"
LETTER = "This is a letter to my aunt, not a database at all. " * 20


def insert(connection: sqlite3.Connection) -> None:
    """Add a row."""
    connection.execute("INSERT INTO a VALUES (1)")


def count(connection: sqlite3.Connection) -> int:
    """Return the number of rows."""
    return int(connection.execute("SELECT count(*) FROM a").fetchone()[0])


async def open_and_close(file: Path) -> None:
    """Open a file as the gateway does."""
    async with SqliteStore(file, [SCHEMA]):
        pass


async def test_what_is_stored_stays(tmp_path: Path) -> None:
    """Jobs are transactions; a later store, and a command, see what they did."""
    file = tmp_path / "new" / "x.sqlite3"
    with opened(file, [SCHEMA]) as connection:
        assert count(connection) == 0
    async with SqliteStore(file, [SCHEMA]) as opened_store:
        await opened_store.run(insert)
        with opened(file, [SCHEMA]) as connection:
            insert(connection)
        assert await opened_store.run(count, write=False) == 2
    with opened(file, [SCHEMA]) as connection:
        assert count(connection) == 2


def modes_of(directory: Path) -> dict[str, int]:
    """Return the permissions of each file in a directory."""
    return {each.name: each.stat().st_mode & 0o777 for each in directory.iterdir()}


@pytest.fixture
def open_dir(tmp_path: Path) -> Path:
    """Return a directory that every user may enter."""
    tmp_path.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("existing", [False, True])
async def test_only_the_owner_reads_the_files(open_dir: Path, existing: bool) -> None:
    """Files have mode 600 in a directory of any mode, made by any version."""
    file = open_dir / "x.sqlite3"
    names = ["x.sqlite3", "x.sqlite3-wal", "x.sqlite3-shm"]
    earlier = file if existing else ":memory:"
    with umask(0o022), closing(sqlite3.connect(earlier)) as connection:
        if existing:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(SCHEMA.partition(";")[0])
            assert modes_of(open_dir) == dict.fromkeys(names, 0o644)
        with locked(open_dir):
            async with SqliteStore(file, [SCHEMA]) as opened_store:
                await opened_store.run(insert)
                assert modes_of(open_dir) == dict.fromkeys([*names, "lock"], 0o600)
        with opened(file, [SCHEMA]):
            assert set(modes_of(open_dir).values()) == {0o600}


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Set the process's file mode mask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("mode", "warnings"), [(0o700, 0), (0o755, 1), (0o750, 1), (0o701, 1), (0o1777, 1)]
)
def test_a_directory_that_others_may_read(
    tmp_path: Path, mode: int, warnings: int
) -> None:
    """A warning names a directory that is open to other users, and the repair."""
    tmp_path.chmod(mode)
    with locked(tmp_path):
        pass
    event = f"other users may enter {tmp_path}, its mode is {mode:o}: chmod 700"
    expected = f"CROCBOT_STATE_DIR: {event}" if warnings else None
    assert open_directory(tmp_path) == expected
    assert tmp_path.stat().st_mode & 0o7777 == mode


async def test_a_commit_survives_a_power_cut(tmp_path: Path) -> None:
    """WAL and synchronous=FULL; one thread runs all the jobs."""
    threads = set()

    def modes(connection: sqlite3.Connection) -> list[object]:
        threads.add(threading.get_ident())
        names = ("journal_mode", "synchronous", "auto_vacuum")
        return [connection.execute(f"PRAGMA {each}").fetchone()[0] for each in names]

    async with SqliteStore(tmp_path / "x.sqlite3", [SCHEMA]) as opened_store:
        results = await asyncio.gather(*(opened_store.run(modes) for _ in range(9)))
        weaker = await opened_store.run(modes, durable=False)
        results.append(await opened_store.run(modes))
    assert results == [["wal", 2, 2]] * 10
    assert weaker == ["wal", 1, 2]
    assert len(threads - {threading.get_ident()}) == len(threads) == 1


async def test_a_job_that_fails_changes_nothing(tmp_path: Path) -> None:
    """An error rolls back; SQLite's own become StoreError."""

    def fail(connection: sqlite3.Connection) -> None:
        insert(connection)
        connection.execute("nonsense")

    async with SqliteStore(tmp_path / "x.sqlite3", [SCHEMA]) as opened_store:
        with pytest.raises(StoreError):
            await opened_store.run(fail)
        assert await opened_store.run(count) == 0


async def test_a_store_that_is_not_open(tmp_path: Path) -> None:
    """A store that was never opened raises StoreError."""
    with pytest.raises(StoreError, match="the file is closed"):
        await SqliteStore(tmp_path / "x.sqlite3", [SCHEMA]).run(count)


async def test_a_disk_that_hangs_does_not_keep_the_store_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the gateway does not wait for a job that never ends."""
    monkeypatch.setattr(sqlite, "CLOSE_SECONDS", 0.01)
    hung = threading.Event()
    async with SqliteStore(tmp_path / "x.sqlite3", [SCHEMA]) as opened_store:
        job = asyncio.create_task(opened_store.run(lambda _: hung.wait()))
        await asyncio.sleep(0)
    assert not job.done()
    hung.set()
    await job


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """It is the operator's to move, and is not touched."""
    file = tmp_path / "x.sqlite3"
    file.write_text(LETTER)
    message = rf"{file} cannot be used: file is not a database; move it away"
    with pytest.raises(OperatorError, match=message):
        await open_and_close(file)
    with pytest.raises(OperatorError, match=message), opened(file, [SCHEMA]):
        pass
    with pytest.raises(OperatorError, match=message):
        inspect(file)
    assert file.read_text() == LETTER


async def test_a_damaged_file(tmp_path: Path) -> None:
    """A file with broken pages is refused at the start, and left as it is."""
    file = tmp_path / "x.sqlite3"
    with opened(file, [SCHEMA]) as connection:
        connection.executemany("INSERT INTO a VALUES (?)", [("x" * 999,)] * 100)
    damaged = bytearray(file.read_bytes())
    damaged[16384:40960] = b"\xff" * (40960 - 16384)
    file.write_bytes(damaged)
    with pytest.raises(OperatorError, match="move it away to start with an empty one"):
        await open_and_close(file)
    with pytest.raises(OperatorError, match="move it away to start with an empty one"):
        inspect(file)
    assert file.read_bytes() == damaged


async def test_a_file_that_could_not_shrink(tmp_path: Path) -> None:
    """A file that was made without incremental vacuum is rewritten at the start."""
    file = tmp_path / "x.sqlite3"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    async with SqliteStore(file, [SCHEMA]) as opened_store:
        found = await opened_store.run(
            lambda connection: connection.execute("PRAGMA auto_vacuum").fetchone()
        )
        assert found == (2,)
        assert await opened_store.run(
            lambda connection: (
                connection.execute("SELECT * FROM other").fetchall() == []
            )
        )


def test_a_directory_that_cannot_be_made() -> None:
    """A command says where it could not write."""
    with (
        pytest.raises(OperatorError, match="CROCBOT_STATE_DIR: cannot write"),
        opened(Path("/dev/null/x/x.sqlite3"), [SCHEMA]),
    ):
        pass


def test_inspect(tmp_path: Path) -> None:
    """It changes nothing and leaves nothing behind."""
    file = tmp_path / "x.sqlite3"
    with opened(file, [SCHEMA]) as connection:
        insert(connection)
    before = sorted(tmp_path.iterdir())
    inspect(file)
    assert sorted(tmp_path.iterdir()) == before


def test_one_gateway_a_directory(tmp_path: Path) -> None:
    """A second lock is refused while the first one is held, and only then."""
    folder = tmp_path / "new" / "state"
    with locked(folder):
        with (
            pytest.raises(OperatorError, match="another crocbot gateway works in"),
            locked(folder),
        ):
            pass
        assert folder.stat().st_mode & 0o777 == 0o700
    with locked(folder):
        pass


def test_a_command_that_looks_at_the_lock_prevents_no_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether a gateway runs is found out by locking the file for an instant."""
    with locked(tmp_path):
        pass
    command = os.open(tmp_path / "lock", os.O_RDONLY)
    fcntl.flock(command, fcntl.LOCK_SH)
    monkeypatch.setattr(state_dir.time, "sleep", lambda _: os.close(command))
    with locked(tmp_path):
        assert is_locked(tmp_path)


def test_how_the_last_process_ended(tmp_path: Path) -> None:
    """An end is orderly if it was marked, after turns could run or before."""
    with locked(tmp_path) as first:
        assert first.last_orderly
        first.mark_running()
    with locked(tmp_path) as killed:
        assert not killed.last_orderly
        # It did not get as far as to count the tries.
        killed.mark_stopped()
    with locked(tmp_path) as second:
        assert not second.last_orderly
        second.mark_running()
        second.mark_stopped()
    with locked(tmp_path) as third:
        assert third.last_orderly


def test_no_place_to_write(tmp_path: Path) -> None:
    """A state directory that cannot be made is refused with its name."""
    file = tmp_path / "file"
    file.touch()
    message = f"CROCBOT_STATE_DIR: cannot write in {file}: File exists"
    with pytest.raises(OperatorError, match=message), locked(file):
        pass


async def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    """A file that has everything can be opened all the same, as on a full disk."""
    file = tmp_path / "x.sqlite3"
    await open_and_close(file)
    connection = sqlite3.connect(file)
    connection.execute(
        "CREATE TRIGGER full BEFORE INSERT ON clock"
        " BEGIN INSERT INTO nowhere VALUES (1); END"
    )
    connection.close()
    log = tmp_path / "x.sqlite3-wal"
    async with SqliteStore(file, [SCHEMA]):
        before = log.stat().st_size
        with opened(file, [SCHEMA]) as connection:
            assert count(connection) == 0
        assert log.stat().st_size == before
