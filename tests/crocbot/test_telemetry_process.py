"""What /proc says, and what is said without it."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

import pytest

from crocbot.telemetry import process

linux = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
PAGE = os.sysconf("SC_PAGE_SIZE")
HZ = os.sysconf("SC_CLK_TCK")


def proc(folder: Path, **files: str) -> Path:
    """A /proc with these files; `__` in a name is a slash."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


def test_memory_is_in_bytes(tmp_path: Path) -> None:
    """Pages become bytes: first all of it, then what is in RAM."""
    fake = proc(tmp_path, self__statm="300 70 9 1 0 40 0\n")

    assert process.memory(fake) == (300 * PAGE, 70 * PAGE)


def test_the_start_is_boot_plus_ticks(tmp_path: Path) -> None:
    """A name with blanks and brackets does not shift the fields."""
    before_it = "S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0"
    fake = proc(
        tmp_path,
        stat="cpu 1 2 3\nbtime 1700000000\nprocesses 5\n",
        self__stat=f"4711 (a name (of) sorts) {before_it} {250 * HZ} 0\n",
    )

    assert process.start_time(fake) == 1_700_000_250


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"self__statm": "", "stat": "", "self__stat": ""},
        {"self__statm": "a b", "stat": "btime x\n", "self__stat": "1 (a) S"},
        {"stat": "btime 1\n", "self__stat": "1 (a) S 1"},
    ],
)
def test_what_is_missing_is_left_out(tmp_path: Path, files: dict[str, str]) -> None:
    """A system without /proc, or with a strange one, makes no error and no guess."""
    fake = proc(tmp_path, **files)

    assert process.memory(fake) == (None, None)
    assert process.start_time(fake) is None


def test_open_files_are_left_out_without_a_folder_of_them(tmp_path: Path) -> None:
    """No folder, no number."""
    assert process.open_fds(tmp_path) is None


@linux
def test_open_files_are_counted(tmp_path: Path) -> None:
    """Ten more files are ten more descriptors."""
    before = process.open_fds()
    files = [(tmp_path / str(i)).open("w") for i in range(10)]
    after = process.open_fds()
    for file in files:
        file.close()

    assert before is not None
    assert after == before + 10


@linux
def test_a_real_process_has_plausible_numbers() -> None:
    """This process started before now, and less is in RAM than is reserved."""
    start = process.start_time()
    virtual, resident = process.memory()

    assert start is not None
    assert 0 < start <= time.time() + 1
    assert resident is not None
    assert virtual is not None
    assert 1_000_000 < resident < virtual


def test_processor_time_only_rises() -> None:
    """Both modes are there, and neither falls."""
    first, second = process.cpu_seconds(), process.cpu_seconds()

    assert len(first) == 2
    assert all(a <= b for a, b in zip(first, second, strict=True))


def test_there_is_room_for_more_files() -> None:
    """The limit is a positive number or none at all."""
    limit = process.max_fds()

    assert limit is None or limit > 0


def test_what_the_c_library_hands_out_is_counted() -> None:
    """A block of ten megabytes shows, and is gone when it was given back."""
    before = process.allocated_by_malloc()
    if before is None:
        pytest.skip("the C library has no mallinfo2")
    block = ctypes.create_string_buffer(10_000_000)
    during = process.allocated_by_malloc()
    del block
    after = process.allocated_by_malloc()

    assert during is not None
    assert after is not None
    assert during - before >= 10_000_000
    assert during - after >= 10_000_000
