"""The folders of turns: private, and gone afterwards whatever is in them."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from crocbot.turn_folders import TURNS, TurnFolders


async def test_a_turn(tmp_path: Path) -> None:
    """A turn has a folder of its own, of mode 700, which is removed afterwards."""
    folders = TurnFolders(tmp_path)
    async with folders.folder() as one, folders.folder() as other:
        assert one
        assert other
        assert one.path != other.path
        for path in (one.path.parent, one.path, one.incoming, one.outgoing):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (one.outgoing / "file").write_text("x")
    assert list((tmp_path / TURNS).iterdir()) == []


async def test_what_a_program_leaves(tmp_path: Path) -> None:
    """Links are not followed; folders without rights and FIFOs are removed, too."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    async with TurnFolders(tmp_path).folder() as folder:
        assert folder
        (folder.outgoing / "link").symlink_to(outside)
        os.mkfifo(folder.outgoing / "fifo")
        closed = folder.outgoing / "closed" / "inner"
        closed.mkdir(parents=True)
        (closed / "file").write_text("x")
        for path in (closed, closed.parent, folder.outgoing):
            path.chmod(0)
    assert not folder.path.exists()
    assert (outside / "file").exists()


async def test_after_a_crash(tmp_path: Path) -> None:
    """What an earlier process has left is removed at the start."""
    folders = TurnFolders(tmp_path)
    await folders.clear()
    async with folders.folder() as folder:
        assert folder
        (folder.incoming / "file").write_text("x")
        await folders.clear()
        assert not (tmp_path / TURNS).exists()


async def test_no_space(tmp_path: Path) -> None:
    """A folder that cannot be made prevents no turn."""
    (tmp_path / TURNS).write_text("no folder")
    async with TurnFolders(tmp_path).folder() as folder:
        assert folder is None


async def test_a_cancelled_turn(tmp_path: Path) -> None:
    """A turn that is cancelled while its files are written leaves none of them."""
    folders = TurnFolders(tmp_path)

    async def turn() -> None:
        async with folders.folder() as folder:
            assert folder
            await folder.write([("1-a", b"x" * 10**6)])
            await asyncio.Event().wait()

    # While the folder is made, and while a file is written.
    for rounds in (1, 2, 5, 20, 100):
        task = asyncio.create_task(turn())
        for _ in range(rounds):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert list((tmp_path / TURNS).iterdir()) == []


async def test_two_files_of_one_name(tmp_path: Path) -> None:
    """No file replaces another one."""
    async with TurnFolders(tmp_path).folder() as folder:
        assert folder
        with pytest.raises(FileExistsError):
            await folder.write([("1-a", b"x"), ("1-a", b"y")])
