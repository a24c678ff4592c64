"""
The bytes of files that may be in memory, over all turns.

    64 MiB: turn 1 has 40 --> turn 2 gets 20 --> turn 3 waits for 10 --> turn 4 after it
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """A number of bytes that tasks reserve, in the order in which they ask."""

    def __init__(self, max_bytes: int) -> None:
        self._free = self.max_bytes = max_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def reserve(self, count: int) -> AsyncIterator[None]:
        """Wait until `count` bytes are free, or all of them; free them afterwards."""
        count = min(count, self.max_bytes)
        if count and (self._waiting or count > self._free):
            await self._wait(count)
        else:
            self._free -= count
        try:
            yield
        finally:
            self._free += count
            self._wake()

    async def _wait(self, count: int) -> None:
        granted = asyncio.get_running_loop().create_future()
        entry = count, granted
        self._waiting.append(entry)
        try:
            await granted
        except asyncio.CancelledError:
            if granted.done() and not granted.cancelled():
                self._free += count
            elif entry in self._waiting:
                self._waiting.remove(entry)
            self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            count, granted = self._waiting.popleft()
            if not granted.cancelled():
                self._free -= count
                granted.set_result(None)
