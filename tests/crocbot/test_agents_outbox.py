"""What a program leaves in CROCBOT_OUT, whatever it is."""

from __future__ import annotations

import json
import os
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.agents.outbox import MAX_LISTED, MAX_SPECIAL_BYTES, Outbox
from crocbot.outgoing import MAX_FILES, AgentButtons, AgentFile


async def read(folder: Path, max_bytes: int = 1000) -> list[AgentFile | AgentButtons]:
    """Return everything that is read from a folder."""
    async with aclosing(Outbox(folder, max_bytes).enclosures()) as found:
        return [each async for each in found]


async def files(folder: Path, max_bytes: int = 1000) -> list[AgentFile]:
    """Return only the files."""
    return [
        each for each in await read(folder, max_bytes) if isinstance(each, AgentFile)
    ]


async def test_files(tmp_path: Path) -> None:
    """They are in the order of their names, with captions and buttons."""
    for name in ("b.txt", "a.txt", "10"):
        (tmp_path / name).write_text(name)
    (tmp_path / "captions.json").write_text(json.dumps({"a.txt": "A", "10": 7}))
    (tmp_path / "buttons.json").write_text(json.dumps([[{"text": "x", "data": "y"}]]))

    assert await read(tmp_path) == [
        AgentFile(content=b"10", name="10"),
        AgentFile(content=b"a.txt", name="a.txt", caption="A"),
        AgentFile(content=b"b.txt", name="b.txt"),
        AgentButtons(rows=[[{"text": "x", "data": "y"}]]),
    ]


async def test_what_is_no_file(tmp_path: Path) -> None:
    """Links, FIFOs, folders and sockets are not read, and no link is followed."""
    (tmp_path / "1-link").symlink_to("/etc/passwd")
    (tmp_path / "2-loop").symlink_to(tmp_path / "2-loop")
    os.mkfifo(tmp_path / "3-fifo")
    (tmp_path / "4-folder").mkdir()
    (tmp_path / "5-out").symlink_to(tmp_path)
    (tmp_path / "captions.json").symlink_to("/etc/passwd")
    (tmp_path / "buttons.json").mkdir()

    found = await read(tmp_path)

    assert [each.name for each in found if isinstance(each, AgentFile)] == [
        *("1-link", "2-loop", "3-fifo", "4-folder", "5-out")
    ]
    assert all(isinstance(each, AgentFile) and each.problem for each in found)
    assert all(isinstance(each, AgentFile) and each.content is None for each in found)


async def test_a_folder_that_is_gone_or_a_link(tmp_path: Path) -> None:
    """A program may remove its folder, or put a link in its place."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (tmp_path / "link").symlink_to(outside)

    assert await read(tmp_path / "gone") == []
    assert await read(tmp_path / "link") == []


async def test_large_files(tmp_path: Path) -> None:
    """A file over the bound is not read, however large it says it is."""
    (tmp_path / "1").write_bytes(bytes(1000))
    (tmp_path / "2").write_bytes(bytes(1001))
    with (tmp_path / "3").open("wb") as sparse:
        sparse.truncate(2**40)

    found = await files(tmp_path)

    assert [each.too_large for each in found] == [False, True, True]
    assert [len(each.content or b"") for each in found] == [1000, 0, 0]


async def test_many_files(tmp_path: Path) -> None:
    """Of any number of files the first ones by name are read."""
    for number in range(200):
        (tmp_path / f"{number:03}").write_text("x")

    names = [each.name for each in await files(tmp_path)]

    assert names == [f"{number:03}" for number in range(MAX_LISTED)]
    assert MAX_LISTED > MAX_FILES


async def test_names(tmp_path: Path) -> None:
    """A name need not be UTF-8."""
    (tmp_path / os.fsdecode(b"\xff\xfe.txt")).write_text("x")

    (file,) = await files(tmp_path)

    assert (file.name, file.content) == ("\ufffd\ufffd.txt", b"x")


@given(content=st.binary(max_size=50))
async def test_broken_json(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    """Whatever is in the JSON files, the other files are read."""
    folder = tmp_path_factory.mktemp("out")
    (folder / "a").write_text("x")
    (folder / "captions.json").write_bytes(content)
    (folder / "buttons.json").write_bytes(b"[" * MAX_SPECIAL_BYTES + content)

    assert [each.content for each in await files(folder)] == [b"x"]
