"""
The file of one bridge, written whole or not at all, and used once.

    FILE            the series, from a clean stop to the next start
    FILE.tmp        while they are written
    FILE.taken      while they are read: a start that ends meanwhile does not read again
    FILE.rejected   the last file that could not be used
    FILE.lock       locked by the bridge that uses FILE, empty until series were shown

The first line is a header, the last one ends with the checksum of all bytes before it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from statsd_bridge.errors import ConfigError, StorageError
from statsd_bridge.storage.clock import WrittenAt

FORMAT, VERSION = "statsd_bridge series", 1

MAX_FILE_BYTES = 2 * 1024 * 1024 * 1024
MAX_LINE_BYTES = 8 * 1024 * 1024
"""Twice what a chunk has, or a summary with as many values as it can keep."""

MAX_LINE_OBJECTS = 500_000
"""
Lists and keys of a line, each of which takes up to 64 times its bytes in memory, and
brackets and colons in its texts.  A chunk has fewer than 400,000.
"""

MAX_WRITE_SECONDS = 60.0
"""Series that are not written by then are left out: systemd kills after 90 seconds."""

_ALL_BUT_OBJECTS = bytes(set(range(256)) - set(b"[{:"))

READ_BYTES = 1024 * 1024
CHECKSUM_BYTES = len(',"crc32":"00000000"}\n')
MODE = 0o600

READ_ADVICE = "let the user of the bridge read it, or remove it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written, and what was not for want of time or of bytes."""

    series: int
    left_out: int
    bytes: int
    seconds: float


class Taken(NamedTuple):
    """A file that was taken for reading: its time, and the seconds that it took."""

    file: BinaryIO
    written_at: WrittenAt
    write_seconds: float

    def chunks(self) -> Iterator[bytes]:
        """Yield the lines between the first and the last one; close the file."""
        with self.file as file:
            file.seek(0)
            lines = iter(lambda: file.readline(MAX_LINE_BYTES + 1), b"")
            next(lines, b"")
            last = next(lines, b"")
            for line in lines:
                if not _is_bounded(last):
                    raise StorageError("it has a line with more than series can have")
                yield last
                last = line


class SeriesFile:
    """
    The file of --storage.file; each method says which errors it raises.

    ConfigError: the operator must change something, and the text names the flag.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).absolute()
        if not self.path.name:
            raise self._config_error("it is a folder", "name a file in it")
        self.rejected = self._beside("rejected")
        self._temporary, self._taken = self._beside("tmp"), self._beside("taken")
        self._lock_file = self._beside("lock")
        self._lock = -1

    def check(self) -> None:
        """Raise ConfigError if the file cannot be used; change nothing."""
        folder = self.path.parent
        try:
            mode = folder.stat().st_mode
        except (OSError, ValueError) as error:
            raise self._config_error(
                error, "name a file in an existing folder"
            ) from error
        if not stat.S_ISDIR(mode):
            raise self._config_error(f"{folder} is not a folder", "name a file in one")
        if not os.access(folder, os.W_OK | os.X_OK):
            problem = f"the folder {folder} cannot be written"
            raise self._config_error(problem, "let the user of the bridge write it")
        for path in (self.path, self._taken, self._lock_file):
            self._check_regular(path)
        for path in (self._temporary, self.rejected):
            # Anything else is replaced.
            if path.is_dir() and not path.is_symlink():
                problem = f"{path} is a folder"
                raise self._config_error(problem, "remove it, or name another file")
        if self.path.exists() and not os.access(self.path, os.R_OK):
            raise self._config_error("Permission denied", READ_ADVICE)

    def lock(self) -> None:
        """Keep other bridges from the file until this process ends."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            self._lock = os.open(self._lock_file, flags, MODE)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES) and self._lock >= 0:
                problem = "another bridge uses this file"
                raise self._config_error(problem, "name another file") from error
            advice = "let the user of the bridge write files there"
            raise self._config_error(error, advice) from error

    def unlock(self) -> None:
        """Let another bridge use the file."""
        os.close(self._lock)
        self._lock = -1

    def was_used(self) -> bool:
        """Return whether an earlier run has shown series."""
        return os.fstat(self._lock).st_size > 0

    def note_use(self) -> None:
        """Note that this run is about to show series."""
        # Without it the next start only logs another reason why it has no series.
        with suppress(OSError):
            os.pwrite(self._lock, b"used\n", 0)

    def take(self) -> Taken | None:
        """
        Take the file, so that no later start does; return None if there is none.

        StorageError: it cannot be used.  ConfigError: it cannot be moved, so a later
        start would use it again.
        """
        with suppress(OSError):
            # Of a stop that was killed.
            self._temporary.unlink(missing_ok=True)
        if self._taken.exists():
            self._move(self._taken, self.rejected)
            if self.path.exists():
                # Older than that start, or put there since: it is not the last state.
                self._move(self.path, self.rejected)
            raise StorageError("the start before this one ended while it read the file")
        try:
            self._check_regular(self.path)
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self.path, flags)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._config_error(error, READ_ADVICE) from error
        file = os.fdopen(descriptor, "rb")
        try:
            self._move(self.path, self._taken)
            return _checked(file)
        except BaseException:
            file.close()
            raise

    def discard(self) -> None:
        """Remove the file that was taken; raise ConfigError if that fails."""
        try:
            self._taken.unlink(missing_ok=True)
            self._sync_folder()
        except OSError as error:
            advice = "let the user of the bridge remove files there"
            raise self._config_error(error, advice) from error

    def reject(self) -> None:
        """Keep the file that was taken under another name, for the operator."""
        if self._taken.exists():
            self._move(self._taken, self.rejected)

    def write(self, chunks: Iterable[tuple[bytes, int]], program: str) -> Written:
        """Write chunks, each with its number of series; raise OSError if that fails."""
        try:
            self._temporary.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._temporary, flags, MODE)
            with os.fdopen(descriptor, "wb") as file:
                written = _write(file, chunks, program)
                file.flush()
                os.fsync(file.fileno())
            self._temporary.replace(self.path)
            self._sync_folder()
        except BaseException:
            with suppress(OSError):
                self._temporary.unlink(missing_ok=True)
            raise
        return written

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{suffix}")

    def _check_regular(self, path: Path) -> None:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise self._config_error(error, "name another file") from error
        if not stat.S_ISREG(mode):
            problem = f"{path} is not a regular file"
            raise self._config_error(problem, "remove it, or name another file")

    def _move(self, source: Path, target: Path) -> None:
        try:
            source.replace(target)
            self._sync_folder()
        except OSError as error:
            advice = "let the user of the bridge move files there"
            raise self._config_error(error, advice) from error

    def _sync_folder(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            # Some file systems cannot: theirs is the order of changes of a folder.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)

    def _config_error(self, problem: object, advice: str) -> ConfigError:
        reason = getattr(problem, "strerror", None) or problem
        return ConfigError(f"--storage.file: {self.path}: {reason}; {advice}")


class _Output:
    """Writes lines to a file, and computes their checksum and number of bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self.bytes = 0
        self.checksum = 0
        self._file = file

    def write(self, data: bytes) -> None:
        self.checksum = zlib.crc32(data, self.checksum)
        self.bytes += len(data)
        self._file.write(data)


def _write(
    file: BinaryIO, chunks: Iterable[tuple[bytes, int]], program: str
) -> Written:
    started_at, output = time.monotonic(), _Output(file)
    times = WrittenAt.now().as_json()
    header = {"format": FORMAT, "version": VERSION, "program": program, **times}
    output.write(json.dumps(header).encode() + b"\n")
    counts: Counter[bool] = Counter()
    for line, series in chunks:
        is_written = (
            _is_bounded(line)
            and output.bytes + len(line) <= MAX_FILE_BYTES - READ_BYTES
            and time.monotonic() - started_at <= MAX_WRITE_SECONDS
        )
        if is_written:
            output.write(line)
        counts[is_written] += series
    seconds = time.monotonic() - started_at
    end = {"series": counts[True], "seconds": round(seconds, 6)}
    output.write(json.dumps(end).encode().removesuffix(b"}"))
    output.write(f',"crc32":"{output.checksum:08x}"}}\n'.encode())
    return Written(
        series=counts[True],
        left_out=counts[False],
        bytes=output.bytes,
        seconds=seconds,
    )


def _is_bounded(line: bytes) -> bool:
    """Return whether a line may be read: few bytes of JSON can take much memory."""
    if len(line) > MAX_LINE_BYTES:
        return False
    if len(line) <= MAX_LINE_OBJECTS:
        return True
    return len(line.translate(None, _ALL_BUT_OBJECTS)) <= MAX_LINE_OBJECTS


def _checked(file: BinaryIO) -> Taken:
    """Read header, checksum and end; raise StorageError if one of them is wrong."""
    try:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise StorageError(f"it is larger than {MAX_FILE_BYTES} bytes")
        header = _object(file.readline(READ_BYTES), "header")
        if header.get("format") != FORMAT:
            raise StorageError("it has no series of a bridge")
        if header.get("version") != VERSION:
            version = str(header.get("version"))[:20]
            raise StorageError(f"it has version {version}, this bridge reads {VERSION}")
        end = _checked_end(file, size)
        seconds = end["seconds"]
        if type(seconds) is not float:
            raise StorageError("its end cannot be read")
        return Taken(file, WrittenAt.from_json(header), seconds)
    except OSError as error:
        raise StorageError(f"it cannot be read: {error.strerror}") from error
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        raise StorageError(f"its header cannot be read: {error}") from error


def _checked_end(file: BinaryIO, size: int) -> dict[str, Any]:
    """Compare the checksum; return the last line."""
    file.seek(0)
    checksum, left, tail = 0, size - CHECKSUM_BYTES, b""
    while left > 0 and (data := file.read(min(left, READ_BYTES))):
        checksum = zlib.crc32(data, checksum)
        left -= len(data)
        tail = (tail + data)[-READ_BYTES:]
    checksum_text = file.read(CHECKSUM_BYTES)
    if checksum_text != f',"crc32":"{checksum:08x}"}}\n'.encode():
        raise StorageError("it is cut or damaged: its checksum is wrong")
    return _object(tail.rpartition(b"\n")[2] + checksum_text, "end")


def _object(line: bytes, name: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise StorageError(f"its {name} cannot be read")
    return document
