"""
How many rows may wait: fewer while all turns are busy.

Up to `max_rows` rows may wait; while fewer than `max_turns` chats are busy, up to
`max_rows_few_chats`, so that one chat with many messages does not delay the others.
"""

from __future__ import annotations

import asyncio


class RowCapacity:
    """Counts the rows that run or wait, and lets intake wait for room."""

    def __init__(
        self, *, max_turns: int, max_rows: int, max_rows_few_chats: int
    ) -> None:
        self.rows = 0
        self._busy = 0
        self._max_turns = max_turns
        self._max_rows = max_rows
        self._max_rows_few_chats = max(max_rows, max_rows_few_chats)
        self._has_room = asyncio.Event()
        self._has_room.set()

    @property
    def free_chats(self) -> int:
        """Return how many chats more may be busy."""
        return max(self._max_turns - self._busy, 0)

    @property
    def _limit(self) -> int:
        busy = self._busy >= self._max_turns
        return self._max_rows if busy else self._max_rows_few_chats

    async def wait(self) -> int:
        """Wait until more rows may come; return how many."""
        # Another caller that waited may have used up the room.
        while not self._has_room.is_set():
            await self._has_room.wait()
        # The next rows may be of any number of chats.
        return min(self._limit - self.rows, self._max_rows)

    def count(self, by: int) -> None:
        """Count rows in or out.  Rows that are cancelled by a drain stay counted."""
        self.rows += by
        self._update()

    def set_busy(self, chats: int) -> None:
        """Take how many chats are busy."""
        self._busy = chats
        self._update()

    def _update(self) -> None:
        """
        Let intake wait, or go on.

        Once full, there is no room until half of the limit is free: the poller would
        ask for one update at a time otherwise.
        """
        if self.rows >= self._limit:
            self._has_room.clear()
        elif self.rows <= self._limit // 2:
            self._has_room.set()
