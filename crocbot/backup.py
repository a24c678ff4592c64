"""
Copies of the state file: consistent while the gateway runs, and checked.

    copy       pages of one snapshot --> a new file --> checked --> the target
    unpacked   a backup --> a copy in the state directory, in the present format
    install    this copy --> the state file; the old one is kept beside it

A copy holds the snapshot of a read transaction, so that commits meanwhile neither
change nor restart it; the gateway goes on writing.  Files are of their owner only, and
take their names only when they are whole, checked and on the disk.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path

from crocbot import store
from crocbot.errors import OperatorError
from crocbot.inbox import sql as inbox_sql
from crocbot.state_dir import LOCK, PRIVATE_DIRECTORY, PRIVATE_FILE, SQLITE_FILES

PAGES_PER_STEP = 512
BUSY_SECONDS = 10.0
TABLES = frozenset({"rows", "ledger"})
KINDS = frozenset({"table", "index"})
FOLDER = "restore-"
MAGIC = b"SQLite format 3\0"


def copy(file: Path, target: Path, *, replace: bool) -> None:
    """
    Copy a state file; raise OperatorError, with no new file, if that fails.

    With `replace` the copy may take the place of another file, but never of `file`.
    """
    with _operator_errors(target):
        target = target.absolute()
        _check_target(file, target, replace=replace)
        draft = target.with_name(f".{target.name}.{secrets.token_hex(8)}.new")
        try:
            # The file of a gateway that may start at any time.
            _copy(file, draft, options="mode=rw")
            _require_inbox(file, draft)
            _sync(draft)
            _check_target(file, target, replace=replace)
            draft.rename(target)
            _sync(target.parent)
        finally:
            _remove(draft)


@contextmanager
def unpacked(
    backup: Path, state_dir: Path, schemas: Sequence[str], *, orderly: bool = True
) -> Iterator[Path]:
    """
    Copy a backup into a folder of the state directory, in the present format.

    The directory must be locked.  The folder is removed at the end, with what is still
    in it.  Unless `orderly` the turns that ran when it was made count as crashed.
    Raise OperatorError if the backup is missing, damaged, of a newer version or of
    another program.
    """
    with _operator_errors(backup):
        _check_backup(backup)
        # The state directory is locked: such a folder is of a restore that was killed.
        for old in state_dir.glob(f"{FOLDER}*"):
            shutil.rmtree(old, ignore_errors=True)
        folder = state_dir / f"{FOLDER}{secrets.token_hex(8)}"
        folder.mkdir(mode=PRIVATE_DIRECTORY)
        try:
            draft = folder / backup.name
            _copy(backup, draft, options=_options(backup))
            with store.opened(draft, schemas) as connection:
                inbox_sql.recover(connection, orderly=orderly)
            yield draft
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def install(draft: Path, database: Path) -> Path | None:
    """
    Give a file the name of the state file; return where the old one is, if any.

    The state directory must be locked.
    """
    with _operator_errors(database):
        kept = None
        _leave_no_log(draft)
        _sync(draft)
        if database.exists():
            kept = _free_name(database)
            # The log first: without it the file is still a database.
            for end in (*SQLITE_FILES, ""):
                with suppress(FileNotFoundError):
                    old = database.with_name(database.name + end)
                    old.rename(kept.with_name(kept.name + end))
        for end in SQLITE_FILES:
            database.with_name(database.name + end).unlink(missing_ok=True)
        draft.rename(database)
        _sync(database.parent)
    return kept


def _copy(file: Path, draft: Path, *, options: str) -> None:
    """Copy a consistent state of a file, and check the copy."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    os.close(os.open(draft, flags, PRIVATE_FILE))
    draft.chmod(PRIVATE_FILE)
    with (
        _damage(file),
        closing(_open(file, options)) as source,
        closing(sqlite3.connect(draft, isolation_level=None)) as target,
    ):
        source.execute("BEGIN")
        # The snapshot begins with the first read.
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        # With a callback in Python, so that Ctrl-C is seen.
        source.backup(target, pages=PAGES_PER_STEP, progress=lambda *_: None)
        target.execute("PRAGMA journal_mode=DELETE")
        (problem,) = target.execute("PRAGMA integrity_check(1)").fetchone()
        if problem != "ok":
            raise sqlite3.DatabaseError("it is damaged")


def _options(backup: Path) -> str:
    """
    Return how a backup is opened: only read, and its log is not written into it.

    Nothing is made beside it, if it has no log.
    """
    has_log = backup.with_name(f"{backup.name}-wal").exists()
    return "mode=ro" if has_log else "mode=ro&immutable=1"


def _open(file: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{file.absolute().as_uri()}?{options}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
    )


def _check_target(file: Path, target: Path, *, replace: bool) -> None:
    own = {LOCK, *(file.name + end for end in SQLITE_FILES)}
    if target.name in own and target.parent.samefile(file.parent):
        raise OperatorError(f"{target} is a file of the gateway itself")
    if target.exists() or target.is_symlink():
        if not target.is_file() or target.is_symlink() or target.samefile(file):
            raise OperatorError(f"{target} is not a file that a backup can replace")
        if not replace:
            raise OperatorError(f"{target} exists: give another name, or --force")


def require_backup(backup: Path) -> None:
    """Raise OperatorError unless a file is a backup that can be restored."""
    with _operator_errors(backup), _damage(backup):
        _check_backup(backup)


def _require_inbox(file: Path, copy: Path) -> None:
    """Raise OperatorError if a file, of which there is a copy, has no inbox."""
    with closing(sqlite3.connect(copy)) as connection:
        found = connection.execute("SELECT name FROM sqlite_schema")
        if not {name for (name,) in found} >= TABLES:
            raise OperatorError(
                f"{file} is empty: no gateway has stored anything in it yet"
            )


def _check_backup(backup: Path) -> None:
    """Raise OperatorError unless a file is a copy of a state file that can be used."""
    if backup.exists() and not backup.is_file() and not backup.is_dir():
        # To open a pipe may wait for ever.
        raise OperatorError(f"{backup} is not a regular file")
    with backup.open("rb") as opened:
        if opened.read(len(MAGIC)) != MAGIC:
            raise OperatorError(f"{backup} is not a backup of crocbot")
    with closing(_open(backup, _options(backup))) as connection:
        found = list(connection.execute("SELECT type, name FROM sqlite_schema"))
        tables = {name for type_, name in found if type_ == "table"}
        # Triggers and views would run in statements of the gateway.
        if not tables >= TABLES or not {type_ for type_, _ in found} <= KINDS:
            raise OperatorError(f"{backup} is not a backup of crocbot")
        store.check_format(connection, backup)


def _leave_no_log(file: Path) -> None:
    """Write the log of a file into it, and remove the log."""
    with closing(sqlite3.connect(file, timeout=BUSY_SECONDS)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE").fetchone()


def _free_name(database: Path) -> Path:
    """Return the first name for the replaced file that no file has."""
    for number in count():
        end = f".{number}" if number else ""
        kept = database.with_name(f"{database.name}.replaced{end}")
        if not kept.exists():
            return kept
    raise AssertionError


def _remove(draft: Path) -> None:
    for end in ("", "-journal", *SQLITE_FILES):
        draft.with_name(draft.name + end).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _operator_errors(file: Path) -> Iterator[None]:
    """Raise OperatorError, which names the file, for an error of the disk or SQLite."""
    try:
        yield
    except OSError as error:
        raise OperatorError(f"{file}: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise OperatorError(f"{file}: {error}") from error


@contextmanager
def _damage(file: Path) -> Iterator[None]:
    """Raise OperatorError, which names the file, if it is damaged or no database."""
    try:
        yield
    except sqlite3.OperationalError:
        # Such as a full disk, which is that of the copy.
        raise
    except sqlite3.DatabaseError as error:
        raise OperatorError(f"{file}: {error}") from error
