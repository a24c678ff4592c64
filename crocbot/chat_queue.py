"""The rows of one chat that wait for their turn, or are in it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from crocbot import fragments
from crocbot.model import Row


@dataclass(slots=True, kw_only=True)
class ChatQueue:
    """
    The rows of one chat: `waiting`, each with its time of arrival, and `running`.

    `begun` means that `task` has run, `stopped` that the turn was cancelled by a
    command or a lost chat, `settled` that no such turn is left, and `abandoned` that
    another replica works the chat.
    """

    waiting: deque[tuple[Row, float]] = field(default_factory=deque)
    running: Sequence[Row] = ()
    begun: bool = False
    stopped: bool = False
    abandoned: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    grew: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def waiting_rows(self) -> list[Row]:
        """Return the rows that wait, in their order."""
        return [row for row, _ in self.waiting]

    @property
    def next_indices(self) -> list[int]:
        """Return the indices in `waiting` of the next row and its further fragments."""
        return fragments.of_first(row.raw for row, _ in self.waiting)

    async def gather(self, seconds: float) -> None:
        """Wait for further fragments of the next message, if it may have any."""
        clock = asyncio.get_running_loop().time
        while self.waiting:
            last, arrived = self.waiting[self.next_indices[-1]]
            left = arrived + seconds - clock()
            if left <= 0 or not fragments.may_continue(last.raw):
                return
            self.grew.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self.grew.wait()

    def take_next(self) -> Sequence[Row]:
        """Remove the next row, with its further fragments; return them."""
        if not self.waiting:
            return ()
        indices = self.next_indices
        rows = [self.waiting[index][0] for index in indices]
        for index in reversed(indices):
            del self.waiting[index]
        return rows
