"""Backups of the state file, and what is restored from them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from crocbot import backup, cli
from crocbot.inbox import SCHEMA, sql
from crocbot.state_dir import locked
from crocbot.store import opened
from crocbot.store.sqlite import FORMAT

FORMAT_1 = Path(__file__).parent / "data" / "0.1.0" / "crocbot.sqlite3"


def update(update_id: int) -> dict[str, object]:
    """Return an update of chat 7."""
    return {"update_id": update_id, "message": {"chat": {"id": 7}, "text": "secret"}}


def accept(file: Path, *update_ids: int) -> None:
    """Store updates in a file."""
    with opened(file, [SCHEMA]) as connection:
        sql.accept(connection, [update(each) for each in update_ids], 0.0)


def open_ids(file: Path) -> list[int]:
    """Return the ids of the open rows of a file."""
    with opened(file, [SCHEMA]) as connection:
        return [row.update_id for row in sql.open_rows(connection)]


def names(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return sorted(file.name for file in folder.iterdir())


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a state file with two open rows."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CROCBOT_STATE_DIR", str(tmp_path / "state"))
    file = tmp_path / "state" / "crocbot.sqlite3"
    accept(file, 1, 2)
    return file


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    """Run a command in this process; return its exit code and output."""
    code = cli.main([str(each) for each in arguments])
    captured = capsys.readouterr()
    return code, captured.out + captured.err


def test_a_backup_while_rows_are_written(database: Path, tmp_path: Path) -> None:
    """It has all commits before it and, of those meanwhile, whole ones in order."""
    stop = threading.Event()

    def write() -> None:
        number = 3
        while not stop.is_set():
            accept(database, number, number + 1)
            number += 2

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            backup.copy(database, tmp_path / f"{number}", replace=False)
    finally:
        stop.set()
        writer.join()
    for number in range(5):
        ids = open_ids(tmp_path / f"{number}")
        assert ids == list(range(1, len(ids) + 1))
        assert len(ids) % 2 == 0


def test_a_backup(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One file of mode 600, with what is only in the log; none is overwritten."""
    before = os.umask(0o022)
    try:
        with closing(sqlite3.connect(database)) as other:
            # Keeps the log from being written into the file.
            other.execute("BEGIN")
            other.execute("SELECT * FROM rows").fetchall()
            accept(database, 3)
            code, text = run(capsys, "backup", "copy")
    finally:
        os.umask(before)
    copy = tmp_path / "copy"

    assert code == 0
    assert text.startswith(f"backed up: {database} to copy, ")
    assert names(tmp_path) == ["copy", "state"]
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    content = copy.read_bytes()
    assert open_ids(copy) == [1, 2, 3]
    assert run(capsys, "backup", "copy")[0] == 2
    accept(database, 4)
    assert run(capsys, "backup", "copy", "--force")[0] == 0
    assert copy.read_bytes() != content
    assert open_ids(copy) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("state/crocbot.sqlite3", "is not a file that a backup can replace"),
        ("state", "is not a file that a backup can replace"),
        ("state/crocbot.sqlite3-wal", "is a file of the gateway itself"),
        ("state/lock", "is a file of the gateway itself"),
        ("nowhere/copy", "No such file or directory"),
    ],
)
def test_a_wrong_target(
    target: str,
    error: str,
    database: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is refused in one line, and nothing is left behind."""
    code, text = run(capsys, "backup", target, "--force")

    assert code == 2
    assert error in text
    assert text.count("\n") == 1
    assert names(tmp_path) == ["state"]
    assert open_ids(database) == [1, 2]


def test_a_damaged_database(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No backup is made of it, rather than one that cannot be restored."""
    content = bytearray(database.read_bytes())
    content[4096 : 4096 + 2000] = b"x" * 2000
    database.write_bytes(content)
    code, text = run(capsys, "backup", "copy")

    assert code == 2
    assert text.startswith(f"crocbot: {database}: ")
    assert text.count("\n") == 1
    assert names(tmp_path) == ["state"]


def test_a_restore(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It shows the open rows, keeps the replaced files, and needs a yes."""
    (database.parent / "restore-0").mkdir()
    run(capsys, "backup", "copy")
    with closing(sqlite3.connect(database)) as other:
        # What a process that was killed leaves: commits that are only in the log.
        other.execute("SELECT * FROM rows").fetchall()
        accept(database, 3)
        log = database.with_name("crocbot.sqlite3-wal")
        content = log.read_bytes(), database.read_bytes()
    log.write_bytes(content[0])
    database.write_bytes(content[1])
    code, text = run(capsys, "restore", "copy")
    assert code == 2
    assert "open: 2, the oldest for " in text
    assert "update 1 of chat 7, " in text
    assert "secret" not in text
    assert "messages of crocbot send: open 0, " in text
    assert "give --yes" in text

    code, text = run(capsys, "restore", "copy", "--yes")
    assert code == 0
    assert names(database.parent) == [
        "crocbot.sqlite3",
        "crocbot.sqlite3.replaced",
        "crocbot.sqlite3.replaced-wal",
        "lock",
    ]
    assert open_ids(database) == [1, 2]
    assert open_ids(database.with_name("crocbot.sqlite3.replaced")) == [1, 2, 3]
    run(capsys, "restore", "copy", "--yes")
    assert "crocbot.sqlite3.replaced.1" in names(database.parent)
    for file in database.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_restore_on_another_machine(
    database: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The state directory is made; a copy of the file with its log is a backup, too."""
    with closing(sqlite3.connect(database)) as other:
        other.execute("SELECT * FROM rows").fetchall()
        accept(database, 3)
        shutil.copytree(database.parent, tmp_path / "copied")
    monkeypatch.setenv("CROCBOT_STATE_DIR", str(tmp_path / "new" / "state"))

    assert run(capsys, "restore", "copied/crocbot.sqlite3", "--yes")[0] == 0
    assert open_ids(tmp_path / "new" / "state" / "crocbot.sqlite3") == [1, 2, 3]


def test_the_log_of_a_damaged_database(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It moves away with its file, and is not read into the restored one."""
    run(capsys, "backup", "copy")
    log = database.with_name("crocbot.sqlite3-wal")
    database.write_bytes(b"damaged" * 1000)
    log.write_bytes(b"a log" * 1000)

    assert run(capsys, "restore", "copy", "--yes")[0] == 0
    assert names(database.parent) == [
        "crocbot.sqlite3",
        "crocbot.sqlite3.replaced",
        "crocbot.sqlite3.replaced-wal",
        "lock",
    ]
    assert open_ids(database) == [1, 2]


def test_while_a_gateway_runs(
    database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A backup can be made; a restore is refused, and changes nothing."""
    with locked(database.parent):
        assert run(capsys, "backup", "copy")[0] == 0
        code, text = run(capsys, "restore", "copy", "--yes")

    assert code == 2
    assert "another crocbot gateway works in" in text
    assert text.count("\n") == 1
    assert names(database.parent) == ["crocbot.sqlite3", "lock"]


def test_an_earlier_format(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is restored in the present format, and the backup is not changed."""
    shutil.copy(FORMAT_1, tmp_path / "old")
    before = (tmp_path / "old").read_bytes()

    assert run(capsys, "restore", "old", "--yes")[0] == 0
    assert (tmp_path / "old").read_bytes() == before
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
    assert open_ids(database) == [17, 8, 9, 3]


TRIGGER = """
CREATE TABLE rows (x); CREATE TABLE ledger (x);
CREATE TRIGGER t AFTER INSERT ON rows BEGIN DELETE FROM ledger; END
"""
NEWER = f"PRAGMA user_version={FORMAT + 1}"


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("text", "is not a backup of crocbot"),
        ("CREATE TABLE rows (x)", "is not a backup of crocbot"),
        (TRIGGER, "is not a backup of crocbot"),
        ("newer", "was written by a newer crocbot"),
        ("half", "damaged"),
        ("missing", "No such file"),
        ("folder", "Is a directory"),
        ("pipe", "is not a regular file"),
        ("itself", "is the database itself"),
    ],
)
def test_what_is_no_backup(
    content: str,
    error: str,
    database: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is refused in one line with exit code 2, and nothing is changed."""
    file = tmp_path / "file"
    backup.copy(database, file, replace=False)
    match content:
        case "text":
            file.write_text("hello")
        case "newer":
            with closing(sqlite3.connect(file)) as connection:
                connection.execute(NEWER)
        case "half":
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        case "missing":
            file.unlink()
        case "folder":
            file.unlink()
            file.mkdir()
        case "pipe":
            file.unlink()
            os.mkfifo(file)
        case "itself":
            file = database
        case sql:
            file.unlink()
            with closing(sqlite3.connect(file)) as connection:
                connection.executescript(sql)
    code, text = run(capsys, "restore", file, "--yes")

    assert code == 2
    assert error in text or (content == "half" and "malformed" in text)
    assert text.count("\n") == 1
    assert set(names(database.parent)) <= {"crocbot.sqlite3", "lock"}
    assert open_ids(database) == [1, 2]


def test_an_empty_file_is_no_database(
    database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to copy, so no copy is made."""
    database.write_bytes(b"")
    code, text = run(capsys, "backup", "copy")

    assert (code, text) == (
        2,
        f"crocbot: {database} is empty: no gateway has stored anything in it yet\n",
    )
    assert names(tmp_path) == ["state"]


@pytest.mark.parametrize("content", [None, b"", b"no database"])
def test_a_restore_of_no_backup(
    content: bytes | None,
    database: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is refused before anything is made, also the state directory."""
    monkeypatch.setenv("CROCBOT_STATE_DIR", str(tmp_path / "new"))
    if content is not None:
        (tmp_path / "copy").write_bytes(content)
    code, text = run(capsys, "restore", "copy", "--yes")

    assert code == 2
    assert text.startswith("crocbot: copy")
    assert not (tmp_path / "new").exists()
