"""
A private folder for each turn of a program: for the files that it gets and leaves.

    state directory/turns/<random>/in     files of the message
                                  /out    files of the answer: CROCBOT_OUT

A folder is removed when its turn ends; `clear` removes those that a crash has left.
The state directory is locked, so no other gateway uses them.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crocbot import log
from crocbot.state_dir import PRIVATE_DIRECTORY

TURNS = "turns"
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
PRIVATE_FILE = 0o600

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True)
class TurnFolder:
    """The folder of one turn, with the two folders in it."""

    path: Path

    @property
    def incoming(self) -> Path:
        """The folder of the files that the program gets."""
        return self.path / "in"

    @property
    def outgoing(self) -> Path:
        """The folder in which the program leaves the files of its answer."""
        return self.path / "out"

    async def write(self, files: Iterable[tuple[str, bytes]]) -> list[Path]:
        """
        Write incoming files of these names; return their paths.  Raise OSError.

        It ends before a cancellation takes effect, so that the folder can be removed.
        """
        paths = [(self.incoming / name, content) for name, content in files]
        await _finish(asyncio.to_thread(_write_all, paths))
        return [path for path, _ in paths]


class TurnFolders:
    """The folders of all turns, below a state directory."""

    def __init__(self, state_dir: Path) -> None:
        self._root = state_dir / TURNS

    async def clear(self) -> None:
        """Remove the folders that an earlier process has left."""
        await asyncio.to_thread(_remove, self._root)

    @asynccontextmanager
    async def folder(self) -> AsyncIterator[TurnFolder | None]:
        """
        Make a folder for a turn, and remove it afterwards.

        Yield None if it cannot be made: a full disk prevents no answer.
        """
        making = asyncio.ensure_future(asyncio.to_thread(self._make))
        folder = None
        try:
            try:
                await _finish(making)
            except OSError as error:
                logger.error("no folder for the files of a turn", error=str(error))
            finally:
                if making.done() and making.exception() is None:
                    folder = making.result()
            yield folder
        finally:
            if folder is not None:
                # In a thread: a program may leave a large tree.  It ends even if the
                # turn is cancelled again.
                removing = asyncio.to_thread(_remove, folder.path)
                await asyncio.shield(asyncio.ensure_future(removing))

    def _make(self) -> TurnFolder:
        self._root.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        folder = TurnFolder(Path(tempfile.mkdtemp(dir=self._root)))
        for path in (folder.incoming, folder.outgoing):
            path.mkdir(mode=PRIVATE_DIRECTORY)
        return folder


async def _finish(work: Awaitable[Any]) -> None:
    """Await work in a thread, which a cancellation cannot end: it is awaited, too."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _write_all(files: Iterable[tuple[Path, bytes]]) -> None:
    for path, content in files:
        with os.fdopen(os.open(path, NEW_FILE, PRIVATE_FILE), "wb") as file:
            file.write(content)


def _remove(path: Path) -> None:
    """Remove a folder and all below it; what cannot be removed is logged."""
    if path.is_symlink():
        path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        # A program may have taken its own rights away.
        _allow(path)
        for folder, names, _ in os.walk(path):
            for name in names:
                _allow(Path(folder, name))
        shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        logger.warning("files of a turn cannot be removed", folder=str(path))


def _allow(folder: Path) -> None:
    with suppress(OSError):
        if not folder.is_symlink():
            folder.chmod(PRIVATE_DIRECTORY)
