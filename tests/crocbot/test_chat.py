"""The parts of `crocbot chat` that need no terminal."""

from __future__ import annotations

import asyncio
import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crocbot.chat.files import read_file
from crocbot.chat.lines import MAX_LINE_BYTES, Lines
from crocbot.chat.pictures import picture_size
from crocbot.chat.screen import harmless
from crocbot.sandbox.sample_files import sample


@given(st.text())
def test_nothing_controls_the_terminal(text: str) -> None:
    """Of control characters only line feeds and tabs are left; other text stays."""
    shown = harmless(text)

    assert not {
        char
        for char in shown
        if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t"
    }
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("words", "name", "caption"),
    [
        ("a.txt", "a.txt", ""),
        (" a.txt  two words ", "a.txt", "two words"),
        ("a b.txt", "a b.txt", ""),
        ("'a b.txt' it's", "a b.txt", "it's"),
        ('"a b.txt"', "a b.txt", ""),
        (r"a\ b.txt look", "a b.txt", "look"),
    ],
)
def test_a_file_and_its_caption(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    name: str,
    caption: str,
) -> None:
    """A path with blanks is quoted, or all of the line."""
    monkeypatch.chdir(tmp_path)
    for each in ("a.txt", "a b.txt"):
        (tmp_path / each).write_text(each)
    file = read_file(words)

    assert (file.name, file.caption) == (name, caption)
    assert file.content == name.encode()


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (sample("photo-large"), (1280, 853)),
        (sample("photo-small"), (90, 60)),
        (b"GIF89a" + b"\x05\0\x07\0", (5, 7)),
        (b"\x89PNG\r\n\x1a\n", (1, 1)),
        (b"\xff\xd8\xff\xe0\0\0" * 9, (1, 1)),
        (b"", (1, 1)),
    ],
)
def test_the_size_of_a_picture(content: bytes, size: tuple[int, int]) -> None:
    """It is that of the content, also of one that is cut off."""
    assert picture_size(content) == size


@given(st.binary(max_size=200))
def test_any_content_has_a_size(content: bytes) -> None:
    """Nothing that a person sends is an error."""
    for begin in (b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF8"):
        assert len(picture_size(begin + content)) == 2


async def test_lines_of_a_pipe() -> None:
    """They are in order, without their ends; one that is too long is cut."""
    source, sink = os.pipe()
    lines = Lines(source)
    long = b"x" * (MAX_LINE_BYTES + 1)

    def write() -> None:
        with os.fdopen(sink, "wb") as pipe:
            pipe.write(b"one\r\n\n\xff\n" + b"n\n" * 100 + long + b"\nend")

    writing = asyncio.create_task(asyncio.to_thread(write))
    found = []
    while (line := await lines.next()) is not None:
        found.append(line)
    await writing
    os.close(source)

    assert found[:3] == ["one", "", "\ufffd"]
    assert found[3:103] == ["n"] * 100
    assert "".join(found[103:]) == long.decode() + "end"
    assert max(map(len, found)) <= MAX_LINE_BYTES + 65_536
