"""
Write lines to standard error without waiting for its reader.

    write() --> queue, bounded in bytes --> thread --> descriptor 2

Only the thread waits for a pipe that is not read, a stopped terminal or a slow disk.  A
line that exceeds the bound, or that cannot be written (a full disk, a closed pipe), is
dropped and counted; a line with the number of dropped lines follows as soon as lines
can be written again.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections import deque
from contextlib import suppress
from typing import NamedTuple, Protocol

STDERR = 2

MAX_QUEUED_BYTES = 1024 * 1024

MAX_UNFINISHED_CHARACTERS = 10_000
"""Characters that are kept of a line that is not complete."""

FLUSH_SECONDS = 1.0
"""How long the end of the process waits for lines that are not written yet."""


class DropNotice(Protocol):
    """Renders the line about dropped lines."""

    def render(self, dropped: int) -> str:
        """Return a line with the number of dropped lines; it ends with a newline."""


class _PlainNotice:
    def render(self, dropped: int) -> str:
        return f"statsd-bridge: {dropped} lines of this output were dropped\n"


class _Entry(NamedTuple):
    """A queued line; `reports` is the number of dropped lines that it reports."""

    data: bytes
    reports: int = 0


class LineWriter:
    """
    Writes lines to a descriptor, in a daemon thread that the first line starts.

    After a drop no line is queued until the queue is empty, so that the report of the
    drop stands where the lines are missing.
    """

    def __init__(self, descriptor: int) -> None:
        self.dropped = 0
        """Lines that were not written."""
        self.notice: DropNotice = _PlainNotice()
        self._descriptor = descriptor
        self._queue: deque[_Entry] = deque()
        self._queued_bytes = 0
        self._unreported = 0
        self._has_partial_line = False
        self._thread: threading.Thread | None = None
        # Reentrant, because a signal handler flushes.
        self._changed = threading.Condition()

    def write(self, line: str) -> None:
        """Queue a line, or drop it; never wait for the descriptor."""
        data = line.encode("utf-8", "backslashreplace")
        with self._changed:
            is_full = self._queued_bytes + len(data) > MAX_QUEUED_BYTES
            is_behind = bool(self._unreported and self._queue)
            if is_full or is_behind or not self._has_thread():
                self._drop(_Entry(data))
                return
            self._queue_notice()
            self._append(_Entry(data))
            self._changed.notify_all()

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until all lines are written; return False if that takes too long."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, seconds)

    def _has_thread(self) -> bool:
        """Start the thread if necessary; return False if the system refuses it."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="stderr", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        # The main thread must get all signals, to interrupt what it waits for.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                entry = self._queue[0]
            is_written = self._write_all(entry.data)
            with self._changed:
                self._queue.popleft()
                self._queued_bytes -= len(entry.data)
                if not is_written:
                    self._drop(entry)
                elif not self._queue:
                    self._queue_notice()
                self._changed.notify_all()

    def _append(self, entry: _Entry) -> None:
        self._queue.append(entry)
        self._queued_bytes += len(entry.data)

    def _queue_notice(self) -> None:
        if self._unreported:
            line = self.notice.render(self._unreported)
            self._append(_Entry(line.encode(), self._unreported))
            self._unreported = 0

    def _drop(self, entry: _Entry) -> None:
        self.dropped += not entry.reports
        self._unreported += entry.reports or 1

    def _write_all(self, data: bytes) -> bool:
        """Write all bytes, waiting as long as necessary; return False if that fails."""
        rest = b"\n" + data if self._has_partial_line else data
        try:
            while rest:
                written = self._write_some(rest)
                if written:
                    self._has_partial_line = rest[written - 1 : written] != b"\n"
                rest = rest[written:]
        except OSError:
            return False
        return True

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            # Another process has made the shared pipe non-blocking.
            poll = select.poll()
            poll.register(self._descriptor, select.POLLOUT)
            poll.poll()
            return 0


class StderrText:
    """Takes the place of `sys.stderr`, so that text of Python itself never blocks."""

    encoding = "utf-8"

    def __init__(self, writer: LineWriter) -> None:
        self._writer = writer
        self._unfinished = ""

    def write(self, text: str) -> int:
        """Queue each line that is complete."""
        ended, newline, unfinished = (self._unfinished + text).rpartition("\n")
        if newline:
            self._writer.write(f"{ended}\n")
        self._unfinished = unfinished[:MAX_UNFINISHED_CHARACTERS]
        return len(text)

    def flush(self) -> None:
        """Do nothing: the writer writes at once."""

    def isatty(self) -> bool:
        """Return that this is no terminal."""
        return False


WRITER = LineWriter(STDERR)
"""The one writer of the process."""


def open_missing_streams() -> None:
    """
    Open /dev/null in place of standard streams that the parent process has closed.

    The next sockets would get their numbers, and log lines would be sent to them.
    """
    with suppress(OSError):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= STDERR:
            pass
        os.close(descriptor)
