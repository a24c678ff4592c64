"""
The state directory: private to one user, locked by one gateway.

Its file `lock` also says whether the last gateway ended in an orderly way.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from crocbot.errors import OperatorError

PRIVATE_FILE = 0o600
PRIVATE_DIRECTORY = 0o700
SQLITE_FILES = ("-wal", "-shm")
LOCK = "lock"
MAX_LOCK_TRIES = 10
LOCK_PAUSE_SECONDS = 0.05
# The content of the lock file.
RUNNING = b"running\n"
STOPPED = b"stopped\n"


def open_directory(state_dir: Path) -> str | None:
    """Return a warning if other users may read or change what is in a directory."""
    mode = stat.S_IMODE(state_dir.stat().st_mode)
    if not mode & ~PRIVATE_DIRECTORY & 0o777:
        return None
    return (
        f"CROCBOT_STATE_DIR: other users may enter {state_dir}, its mode is {mode:o}:"
        " chmod 700"
    )


class StateLock:
    """
    The lock of a state directory, whose file says whether a process runs or ended.

    `last_orderly` is False if the last process ended without mark_stopped(): it
    crashed, was killed, or the machine lost its power.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._running = False
        self.last_orderly = os.pread(descriptor, len(RUNNING), 0) != RUNNING

    def mark_running(self) -> None:
        """Record that turns may run from now on; raise OperatorError."""
        try:
            os.pwrite(self._descriptor, RUNNING, 0)
        except OSError as error:
            raise OperatorError(
                f"CROCBOT_STATE_DIR: cannot write the file lock: {error.strerror}"
            ) from error
        self._running = True

    def mark_stopped(self) -> None:
        """Record an orderly end of the process; may be called from any thread."""
        if self._running:
            # As long as RUNNING, so that it needs no space on the disk.
            with suppress(OSError):
                os.pwrite(self._descriptor, STOPPED, 0)


@contextmanager
def locked(state_dir: Path) -> Iterator[StateLock]:
    """Lock the state directory for one gateway; raise OperatorError if it is locked."""
    try:
        state_dir.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
        lock = os.open(
            state_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE
        )
    except OSError as error:
        raise OperatorError(
            f"CROCBOT_STATE_DIR: cannot write in {state_dir}: {error.strerror}"
        ) from error
    try:
        try:
            _lock(lock)
        except OSError as error:
            raise OperatorError(
                f"CROCBOT_STATE_DIR: another crocbot gateway works in {state_dir};"
                " stop it or choose another directory"
            ) from error
        yield StateLock(lock)
    finally:
        os.close(lock)


def _lock(descriptor: int) -> None:
    """Lock a file until the process ends, however that ends; raise OSError."""
    # `is_locked` of a command that runs at the same time has the lock, too.
    for tries_left in reversed(range(MAX_LOCK_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not tries_left:
                raise
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return


def is_locked(state_dir: Path) -> bool:
    """Return whether a gateway works in a directory."""
    try:
        lock = os.open(state_dir / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def identity(state_dir: Path) -> str:
    """Return what identifies a directory on this machine, empty if it is missing."""
    try:
        found = state_dir.stat()
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def exists(file: Path) -> bool:
    """Return whether there is such a file; OperatorError if that cannot be read."""
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise OperatorError(
            f"CROCBOT_STATE_DIR: cannot read {file}: {error.strerror}"
        ) from error
    return True


def make_private(file: Path) -> None:
    """Create a file that only its owner can read; SQLite copies its mode to others."""
    os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE))
    for each in (file, *(file.with_name(file.name + end) for end in SQLITE_FILES)):
        # Made by an earlier version; one of another user keeps its mode.
        with suppress(FileNotFoundError, PermissionError):
            if stat.S_IMODE(each.stat().st_mode) & ~PRIVATE_FILE:
                each.chmod(PRIVATE_FILE)
