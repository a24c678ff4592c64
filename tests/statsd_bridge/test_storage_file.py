"""The file of --storage.file: written whole, checked, locked, and used once."""

from __future__ import annotations

import json
import os
import resource
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statsd_bridge.errors import ConfigError, StorageError
from statsd_bridge.storage import SeriesFile, Taken, WrittenAt
from statsd_bridge.storage import file as storage_file
from tests.statsd_bridge.test_storage import lines_of, new_path, pages, read

PROGRAM = "1.2.3"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SeriesFile]:
    """A file that is locked and does not exist yet."""
    with locked(tmp_path / "series") as file:
        yield file


@contextmanager
def locked(path: Path) -> Iterator[SeriesFile]:
    """Lock a file for a block."""
    file = SeriesFile(str(path))
    file.check()
    file.lock()
    yield file
    file.unlock()


def take(file: SeriesFile) -> list[bytes]:
    """Take a file that exists; return its chunks."""
    taken = file.take()
    assert taken is not None
    return list(taken.chunks())


def write(file: SeriesFile, *lines: bytes) -> None:
    """Write lines as chunks of a series each."""
    file.write([(line + b"\n", 1) for line in lines], PROGRAM)


def names(file: SeriesFile) -> list[str]:
    """Return what is in the folder besides the lock."""
    found = {path.name for path in file.path.parent.iterdir()}
    return sorted(found - {"series.lock"})


def test_what_is_written_is_taken_once(file: SeriesFile) -> None:
    """Then it is set aside, and gone when it is discarded."""
    assert file.take() is None
    write(file, b"[1]", b"[2]")
    assert names(file) == ["series"]
    assert file.path.stat().st_mode & 0o777 == 0o600
    taken = file.take()
    assert taken is not None
    assert list(taken.chunks()) == [b"[1]\n", b"[2]\n"]
    assert taken.write_seconds >= 0
    assert names(file) == ["series.taken"]
    file.discard()
    assert names(file) == []
    assert file.take() is None


def test_a_file_without_series_is_taken(file: SeriesFile) -> None:
    """It has a header and an end only."""
    write(file)

    assert take(file) == []


def test_a_start_that_ended_while_it_read_does_not_read_again(
    file: SeriesFile,
) -> None:
    """The file is kept aside, and the next start has none."""
    write(file, b"[1]")
    take(file)
    with pytest.raises(StorageError, match="ended while it read"):
        file.take()
    assert names(file) == ["series.rejected"]
    assert file.take() is None


def test_a_file_beside_one_that_was_being_read_is_not_the_last_state(
    file: SeriesFile,
) -> None:
    """From a backup, for example: the start after this one must not read it either."""
    write(file, b"[1]")
    take(file)
    write(file, b"[2]")
    with pytest.raises(StorageError, match="ended while it read"):
        file.take()
    assert names(file) == ["series.rejected"]
    assert file.take() is None


def test_whether_series_were_shown_before(file: SeriesFile) -> None:
    """False until a start has come so far."""
    assert not file.was_used()
    file.unlock()
    file.lock()
    assert not file.was_used()
    file.note_use()
    file.unlock()
    file.lock()
    assert file.was_used()


CHANGES: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("empty", lambda _: b"", "its header"),
    ("one line", lambda data: data.splitlines(True)[0], "checksum"),
    ("cut", lambda data: data[:-1], "checksum"),
    ("cut in its header", lambda data: data[:20], "its header"),
    ("longer", lambda data: data + b"\n", "checksum"),
    ("a bit", lambda data: data.replace(b"[1]", b"[3]"), "checksum"),
    ("another file", lambda _: b'{"a": 1}\n', "no series of a bridge"),
    ("no JSON", lambda _: b"series\n", "its header"),
    ("nested", lambda _: b"[" * 100_000 + b"\n", "its header"),
    (
        "a version",
        lambda data: data.replace(b'"version": 1', b'"version": 2'),
        "has version 2",
    ),
    (
        "no time",
        lambda data: signed(data.replace(b'"boot_seconds": ', b'"boot_seconds": "x')),
        "header",
    ),
]


def signed(data: bytes) -> bytes:
    """Return a file with the right checksum, whatever else is in it."""
    body = data[: -storage_file.CHECKSUM_BYTES]
    return body + b',"crc32":"%08x"}\n' % zlib.crc32(body)


@pytest.mark.parametrize(
    ("change", "problem"),
    [each[1:] for each in CHANGES],
    ids=[each[0] for each in CHANGES],
)
def test_a_damaged_file_is_refused_in_one_line(
    file: SeriesFile, change: Callable[[bytes], bytes], problem: str
) -> None:
    """And kept aside for the operator."""
    write(file, b"[1]", b"[2]")
    file.path.write_bytes(change(file.path.read_bytes()))
    with pytest.raises(StorageError) as refused:
        file.take()
    file.reject()

    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)
    assert names(file) == ["series.rejected"]


def test_a_file_that_is_too_large_is_refused(
    file: SeriesFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is read."""
    write(file, b"[1]")
    monkeypatch.setattr(storage_file, "MAX_FILE_BYTES", 50)
    with pytest.raises(StorageError, match="larger than 50 bytes"):
        file.take()


@pytest.mark.parametrize(
    "bound", ["MAX_LINE_BYTES", "MAX_FILE_BYTES", "MAX_WRITE_SECONDS"]
)
def test_chunks_beyond_a_bound_are_left_out(
    file: SeriesFile, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """They are counted, and the file is valid without them."""
    limit = {"MAX_LINE_BYTES": 50, "MAX_FILE_BYTES": storage_file.READ_BYTES + 500}
    monkeypatch.setattr(storage_file, bound, limit.get(bound, -1.0))
    large = b"[" + b"1," * 200 + b"1]\n"
    written = file.write([(b"[1]\n", 3), (large, 4)], PROGRAM)
    monkeypatch.undo()
    chunks = take(file)

    assert written.series + written.left_out == 7
    assert written.left_out >= 4
    assert b"[1]\n" in chunks or bound == "MAX_WRITE_SECONDS"


@pytest.mark.parametrize("text", [b"[],", b"{},", b'"k":1,'])
def test_a_line_with_too_many_objects_is_neither_written_nor_read(
    file: SeriesFile, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    """Each takes up to 64 times its bytes in memory."""
    line = text * (storage_file.MAX_LINE_OBJECTS + 1) + b"\n"
    assert file.write([(line, 1)], PROGRAM).left_out == 1
    monkeypatch.setattr(storage_file, "MAX_LINE_OBJECTS", len(line))
    assert file.write([(line, 1)], PROGRAM).left_out == 0
    monkeypatch.undo()
    with pytest.raises(StorageError, match="more than series can have"):
        take(file)


def test_a_write_that_fails_leaves_the_old_file(file: SeriesFile) -> None:
    """An error in the middle, and one of the disk: no temporary file stays."""
    write(file, b"[1]")
    before = file.path.read_bytes()

    def chunks() -> Iterator[tuple[bytes, int]]:
        yield b"[2]\n", 1
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        file.write(chunks(), PROGRAM)
    assert names(file) == ["series"]
    assert file.path.read_bytes() == before


def test_a_full_disk_is_an_error(file: SeriesFile) -> None:
    """The kernel's own answer; the file of before stays."""
    write(file, b"[1]")
    before = file.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python ignores SIGXFSZ, so a write beyond the limit fails, like on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write(file, b"[2]" * 4_096)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert names(file) == ["series"]
    assert file.path.read_bytes() == before


def test_a_temporary_file_of_a_killed_bridge_is_replaced(file: SeriesFile) -> None:
    """Even if it is a link to a file of another owner, which stays as it is."""
    other = file.path.parent / "other"
    other.write_text("mine")
    (file.path.parent / "series.tmp").symlink_to(other)
    write(file, b"[1]")

    assert other.read_text() == "mine"
    assert take(file) == [b"[1]\n"]


def test_a_second_lock_is_refused(file: SeriesFile) -> None:
    """Until the first one ends."""
    with pytest.raises(ConfigError, match="another bridge uses this file"):
        SeriesFile(str(file.path)).lock()
    file.unlock()
    file.lock()


def _link(path: Path) -> None:
    path.symlink_to(path.parent / "target")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("name", ["series", "series.lock", "series.taken"])
@pytest.mark.parametrize("make", [_link, _pipe, _folder])
def test_a_path_that_is_no_file_is_refused(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    """A link, a pipe, a folder: at the start, in one line that names the flag."""
    make(tmp_path / name)
    with pytest.raises(ConfigError) as refused:
        SeriesFile(str(tmp_path / "series")).check()

    assert str(refused.value).startswith("--storage.file: ")
    assert "is not a regular file" in str(refused.value)


@pytest.mark.parametrize("name", ["series.tmp", "series.rejected"])
def test_a_folder_that_would_be_in_the_way_of_a_stop_is_refused(
    tmp_path: Path, name: str
) -> None:
    """At the start: the stop could only lose the series."""
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=f"{name} is a folder; remove it"):
        SeriesFile(str(tmp_path / "series")).check()


@pytest.mark.parametrize(
    "path",
    ["missing/series", "file/series", "/", ".", "a\0b", "x" * 300, "/proc/series"],
)
def test_a_path_that_cannot_be_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """At the start, in one line that names the flag."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as refused:
        _use(path)

    assert str(refused.value).startswith("--storage.file: ")
    assert "\n" not in str(refused.value)


def _use(path: str) -> None:
    file = SeriesFile(path)
    file.check()
    file.lock()


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    """No lock, no file."""
    SeriesFile(str(tmp_path / "series")).check()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("before", "after", "seconds"),
    [
        (WrittenAt(100.0), WrittenAt(130.0), 30.0),
        (WrittenAt(100.0), WrittenAt(70.0), 0.0),
        (WrittenAt(100.0, "a", 10.0), WrittenAt(9e9, "a", 15.0), 5.0),
        (WrittenAt(9e9, "a", 10.0), WrittenAt(100.0, "a", 15.0), 5.0),
        (WrittenAt(100.0, "a", 10.0), WrittenAt(130.0, "b", 1.0), 30.0),
    ],
)
def test_the_age_of_a_file(before: WrittenAt, after: WrittenAt, seconds: float) -> None:
    """By the clock of the boot, which no one sets; across boots by the wall clock."""
    assert before.seconds_until(after) == seconds
    assert WrittenAt.from_json(json.loads(json.dumps(before.as_json()))) == before


@given(
    st.lists(
        st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=5
    ),
    st.booleans(),
    st.integers(0, 10_000),
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_bytes_are_series_or_an_error(
    tmp_path: Path, changes: list[tuple[int, int]], is_signed: bool, end: int
) -> None:
    """Bytes of a file changed and cut, with the right checksum or a wrong one."""
    memory = new_path("")
    memory.feed(b"c:1|c|#a:b\nh:1|ms\ng:1|g", b"u:x|s")
    path = tmp_path / "series"
    with locked(path) as file:
        write(file, *[line.rstrip(b"\n") for line in lines_of(memory)])
        data = bytearray(path.read_bytes())
        for place, value in changes:
            data[place % len(data)] = value
        changed = bytes(data[: len(data) - end % 20])
        path.write_bytes(signed(changed) if is_signed else changed)
        after = new_path("")
        try:
            taken = file.take()
            assert isinstance(taken, Taken)
            read(after, list(taken.chunks()))
        except StorageError as error:
            assert "\n" not in str(error)
        finally:
            (tmp_path / "series.taken").unlink(missing_ok=True)
    for page in pages(after)[:2]:
        page.encode()


def test_nothing_of_a_file_is_executed(file: SeriesFile) -> None:
    """A pickle is no series."""
    path: Any = file.path
    path.write_bytes(b"cos\nsystem\n(S'touch executed'\ntR.\n")
    with pytest.raises(StorageError):
        file.take()
