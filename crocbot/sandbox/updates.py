"""
The pending updates of one bot, and the one long poll that may fetch them.

    put(update) --> [11][12][13] --> poll(offset=12) --> 12, 13; 11 is dropped
                                     '-- waits until there is an update

- An offset acknowledges the updates below it.  A negative offset -n drops all but the
  newest n.  Without an offset all pending updates are returned again.
- A second poll ends the first with ConflictingPollError.
- `interrupt` ends a poll with InterruptedPollError: a fault takes its place.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

MAX_PENDING = 100_000


class InterruptedPollError(Exception):
    """A fault takes the place of the poll."""


class ConflictingPollError(Exception):
    """A newer poll, or a webhook, ended the poll."""


class Updates:
    """The queue.  Owned by the event loop."""

    def __init__(self, first_id: int, max_pending: int = MAX_PENDING) -> None:
        self._next_id = first_id
        self._max_pending = max_pending
        self._pending: deque[Mapping[str, Any]] = deque()
        self._poll: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def put(self, content: Mapping[str, Any]) -> int:
        """Queue an update; returns its id.  OverflowError beyond the bound."""
        if len(self._pending) >= self._max_pending:
            raise OverflowError(f"{self._max_pending} updates are pending")
        update_id = self._next_id
        self._next_id += 1
        self._pending.append({"update_id": update_id, **content})
        self._end_poll(None)
        return update_id

    def drop_all(self) -> None:
        """Drop all pending updates."""
        self._pending.clear()

    def conflict(self) -> None:
        """End a waiting poll with ConflictingPollError."""
        self._end_poll(ConflictingPollError())

    def interrupt(self) -> bool:
        """End a poll with InterruptedPollError; return whether one was waiting."""
        return self._end_poll(InterruptedPollError())

    async def poll(
        self, offset: int, limit: int, seconds: float
    ) -> list[Mapping[str, Any]]:
        """Acknowledge, then return pending updates; wait for one at most so long."""
        self.conflict()
        self._acknowledge(offset)
        if not self._pending and seconds > 0:
            await self._wait(seconds)
        return list(islice(self._pending, limit))

    def _acknowledge(self, offset: int) -> None:
        if offset < 0:
            while len(self._pending) > -offset:
                self._pending.popleft()
        while self._pending and self._pending[0]["update_id"] < offset:
            self._pending.popleft()

    async def _wait(self, seconds: float) -> None:
        poll = self._poll = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                await poll
        except TimeoutError:
            pass
        finally:
            if self._poll is poll:
                self._poll = None

    def _end_poll(self, error: Exception | None) -> bool:
        poll, self._poll = self._poll, None
        if poll is None or poll.done():
            return False
        if error is None:
            poll.set_result(None)
        else:
            poll.set_exception(error)
        return True
