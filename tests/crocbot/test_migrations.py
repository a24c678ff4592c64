"""Files that an earlier version wrote are taken over; those of a later one refused."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from crocbot import pairing, sessions
from crocbot.errors import OperatorError
from crocbot.inbox import SCHEMA, Inbox, reopen
from crocbot.inbox.sql import RETENTION_SECONDS, failures
from crocbot.model import ChatThread, Exchange, Reply, Row
from crocbot.sessions import Sessions
from crocbot.state_dir import locked
from crocbot.store import SqliteStore, inspect, opened
from crocbot.store.sqlite import FORMAT
from tests.crocbot.fakes import FakeClocks
from tests.crocbot.inboxes import FILE, brief, open_inbox

OLD = Path(__file__).parent / "data" / "0.1.0"
WRITTEN_AT = 1_790_000_080.0
SCHEMAS = [SCHEMA, pairing.SCHEMA, sessions.SCHEMA]
ALL = ["crocbot.sqlite3", "crocbot-before-markdown.sqlite3", "inbox.sqlite3"]
FIRST = {"crocbot.sqlite3": [17], "crocbot-before-markdown.sqlite3": [12]}


def copy(name: str, folder: Path) -> None:
    """Put an old file where its version had it."""
    shutil.copy(OLD / name, folder / (name if name == "inbox.sqlite3" else FILE))


def names(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("off", [5.0, -86_400.0, 100 * 86_400.0])
async def test_open_rows(tmp_path: Path, name: str, off: float) -> None:
    """They keep their order and are before new ones, whatever time it is now."""
    copy(name, tmp_path)
    for _ in range(2):
        clocks = FakeClocks(WRITTEN_AT + off)
        async with open_inbox(tmp_path, clocks) as inbox:
            assert await inbox.open_ids() == [*FIRST.get(name, []), 8, 9, 3]
            rows = await inbox.open_rows()
            assert all(row.accepted_at <= clocks.monotonic for row in rows)
    async with open_inbox(tmp_path, clocks) as inbox:
        assert await inbox.accept_ids(1, 10, 11) == [1]
        assert (await inbox.open_ids())[-2:] == [3, 1]


async def test_what_else_is_in_the_file(tmp_path: Path) -> None:
    """The ledger closes; replies, codes and conversations are there."""
    copy("crocbot.sqlite3", tmp_path)
    clocks = FakeClocks(WRITTEN_AT + 5)
    async with (
        SqliteStore(tmp_path / FILE, SCHEMAS, clocks.system()) as store,
        Inbox(store) as inbox,
    ):
        rows = await inbox.open_rows()
        state = await inbox.state()
        history = await Sessions(store, turns=9, chars=999).history(ChatThread(7))

    reply = Reply("a reopened answer")
    assert rows[0] == Row(17, rows[0].raw, WRITTEN_AT - 80, reply=reply, retried=True)
    assert [row.retried for row in rows] == [True, False, False, False]
    assert brief(state) == (
        11,
        4,
        dict.fromkeys(["answered", "denied", "cancelled", "ignored", "set_aside"], 1)
        | {"failed": 2},
    )
    assert history == (Exchange("message 10", "an answer"),)
    with opened(tmp_path / FILE, SCHEMAS) as connection:
        (pending, approved) = pairing.listed(connection, WRITTEN_AT + 5)
        assert (pending.user_id, approved.user_id) == (70, 71)
        assert approved.approved_at == WRITTEN_AT
        assert [each.update_id for each in failures(connection)] == [11, 12, 13]
        assert reopen(connection, [11]) == 1
    async with open_inbox(tmp_path, clocks) as inbox:
        (row,) = [row for row in await inbox.open_rows() if row.update_id == 11]
        assert row.reply == Reply("the *kept* answer", markdown=True)


@pytest.mark.parametrize(
    ("off", "left"),
    [(3600.0, RETENTION_SECONDS - 3670), (10 * 86_400.0, 3600.0), (-1e9, 172_800.0)],
)
async def test_closed_rows_expire(tmp_path: Path, off: float, left: float) -> None:
    """48 hours after they were closed, but not within an hour of the take-over."""
    copy("crocbot.sqlite3", tmp_path)
    async with open_inbox(tmp_path, FakeClocks(WRITTEN_AT + off)) as inbox:
        inbox.run_for(left - 1)
        assert await inbox.accept_ids(11) == []
        inbox.run_for(2)
        assert await inbox.accept_ids(11) == [11]


async def test_a_command_is_first(tmp_path: Path) -> None:
    """A command that only needs the pairings changes the whole file."""
    copy("crocbot.sqlite3", tmp_path)
    with opened(tmp_path / FILE, [pairing.SCHEMA]) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    async with open_inbox(tmp_path) as inbox:
        assert await inbox.open_ids() == [17, 8, 9, 3]


async def test_a_command_beside_an_older_gateway(tmp_path: Path) -> None:
    """A command does not change a file that an older gateway uses."""
    copy("crocbot.sqlite3", tmp_path)
    before = (tmp_path / FILE).read_bytes()
    message = "the gateway that uses it is older than this command"
    with (
        locked(tmp_path),
        pytest.raises(OperatorError, match=message),
        opened(tmp_path / FILE, SCHEMAS),
    ):
        pass
    assert (tmp_path / FILE).read_bytes() == before


async def test_a_file_with_pairings_only(tmp_path: Path) -> None:
    """A file of 0.1.0 that only a command had used gets an inbox."""
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.executescript(f"{pairing.SCHEMA}; PRAGMA user_version=1")
    connection.close()
    async with open_inbox(tmp_path) as inbox:
        assert await inbox.accept_ids(1) == [1]


async def test_the_inbox_of_the_first_commits_is_renamed_once(tmp_path: Path) -> None:
    """It gets the present name, unless there is a file with that name."""
    copy("inbox.sqlite3", tmp_path)
    async with open_inbox(tmp_path):
        pass
    assert names(tmp_path) == [FILE]
    copy("inbox.sqlite3", tmp_path)
    async with open_inbox(tmp_path) as inbox:
        assert await inbox.open_ids() == [8, 9, 3]
    assert (tmp_path / "inbox.sqlite3").exists()


@pytest.mark.parametrize("name", ["crocbot.sqlite3", "inbox.sqlite3"])
async def test_a_file_of_a_gateway_that_was_killed(tmp_path: Path, name: str) -> None:
    """Commits that are only in the log of the file are taken over as well."""
    running, killed = tmp_path / "running", tmp_path / "killed"
    running.mkdir()
    copy(name, running)
    connection = sqlite3.connect(running / name)
    connection.execute(
        "INSERT INTO rows (update_id, raw, accepted) VALUES (99, ?, ?)",
        ('{"update_id":99}', WRITTEN_AT),
    )
    connection.commit()
    shutil.copytree(running, killed)
    connection.close()
    async with open_inbox(killed) as inbox:
        assert (await inbox.open_ids())[-1] == 99


async def test_a_newer_format(tmp_path: Path) -> None:
    """A file of a later crocbot is refused in one line, and not changed."""
    file = tmp_path / FILE
    connection = sqlite3.connect(file)
    connection.execute(f"PRAGMA user_version={FORMAT + 1}")
    connection.close()
    before = file.read_bytes()
    message = rf"newer crocbot \(format {FORMAT + 1}, this one knows {FORMAT}\)"
    with pytest.raises(OperatorError, match=message):
        async with open_inbox(tmp_path):
            pass
    with pytest.raises(OperatorError, match=message), opened(file, SCHEMAS):
        pass
    with pytest.raises(OperatorError, match=message):
        inspect(file)
    assert file.read_bytes() == before


async def test_before_replies_were_kept(tmp_path: Path) -> None:
    """A file of format 2 gets the tables for replies with files."""
    async with SqliteStore(tmp_path / FILE, SCHEMAS):
        pass
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("DROP TABLE kept_replies")
        connection.execute("DROP TABLE reply_files")
        connection.execute("PRAGMA user_version=2")
    connection.close()

    async with open_inbox(tmp_path) as inbox:
        assert await inbox.accept_ids(1) == [1]
        assert await inbox.open_ids() == [1]
        assert await inbox.query("PRAGMA user_version") == [(FORMAT,)]
        assert await inbox.query("SELECT * FROM kept_replies") == []
