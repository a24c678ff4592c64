"""One gateway a state directory, held by a lock that ends with the process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crocbot.errors import OperatorError


@contextmanager
def locked(state_dir: Path) -> Iterator[None]:
    """Hold the state directory; a second gateway on it must not start."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OperatorError(
            f"CROCBOT_STATE_DIR: cannot write in {state_dir}: {error.strerror}"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OperatorError(
                f"CROCBOT_STATE_DIR: another crocbot gateway works in {state_dir};"
                " stop it or choose another directory"
            ) from error
        yield
    finally:
        os.close(lock)
