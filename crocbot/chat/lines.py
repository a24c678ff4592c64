"""
The lines that a person types, or that a pipe has.

A thread reads them, because neither a file nor a terminal can be read otherwise without
changing it for the programs that share it; it ends with the process.
"""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress

STDIN = 0
READ_BYTES = 65_536
# A longer one is cut into several.
MAX_LINE_BYTES = 1024 * 1024
MAX_LINES_AHEAD = 16


class Lines:
    """The lines of a file descriptor, in the order of arrival."""

    def __init__(self, descriptor: int = STDIN) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._room = threading.Semaphore(MAX_LINES_AHEAD)
        threading.Thread(target=self._read, name="lines", daemon=True).start()

    async def next(self) -> str | None:
        """Return the next line without its end; None at the end of the input."""
        line = await self._queue.get()
        self._room.release()
        return line

    def _read(self) -> None:
        waiting = bytearray()
        while True:
            try:
                chunk = os.read(self._descriptor, READ_BYTES)
            except OSError:
                # The terminal is gone.
                chunk = b""
            waiting += chunk
            *lines, rest = bytes(waiting).split(b"\n")
            if len(rest) > MAX_LINE_BYTES or (rest and not chunk):
                lines, rest = [*lines, rest], b""
            for line in lines:
                self._put(line.rstrip(b"\r").decode("utf-8", "replace"))
            waiting = bytearray(rest)
            if not chunk:
                self._put(None)
                return

    def _put(self, line: str | None) -> None:
        self._room.acquire()
        # The loop is closed if the chat has ended.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._queue.put_nowait, line)
