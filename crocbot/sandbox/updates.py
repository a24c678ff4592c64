"""
The updates that wait for one bot, and the one long poll that may fetch them.

    put(update) --> [11][12][13] --> poll(offset=12) --> 12, 13; 11 is forgotten
                                     '-- waits until there is something

- An offset acknowledges: what lies below it is forgotten.  A negative one keeps so
  many of the newest.  Without one everything comes again.
- A second poll ends the first, which is told so.
- `interrupt` ends a poll without an answer, to make place for a fault.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from itertools import islice
from typing import Any

MOST = 100_000


class InterruptedPollError(Exception):
    """`interrupt` was called."""


class ConflictingPollError(Exception):
    """A newer poll, or a webhook, came."""


class Updates:
    """The queue.  Owned by the event loop."""

    def __init__(self, first_id: int, most: int = MOST) -> None:
        self._next_id = first_id
        self._most = most
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._poll: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, content: Mapping[str, Any]) -> int:
        """Queue an update; returns its id."""
        if len(self._waiting) >= self._most:
            raise OverflowError(f"{self._most} updates wait and nobody fetches them")
        update_id = self._next_id
        self._next_id += 1
        self._waiting.append({"update_id": update_id, **content})
        self._end_poll(None)
        return update_id

    def forget(self) -> None:
        """Drop everything that waits."""
        self._waiting.clear()

    def conflict(self) -> None:
        """End a waiting poll: something else takes over."""
        self._end_poll(ConflictingPollError())

    def interrupt(self) -> bool:
        """End a waiting poll without an answer; tells whether there was one."""
        return self._end_poll(InterruptedPollError())

    async def poll(
        self, offset: int, limit: int, seconds: float
    ) -> list[Mapping[str, Any]]:
        """Acknowledge, then return what waits, after at most so many seconds."""
        self.conflict()
        self._acknowledge(offset)
        if not self._waiting and seconds > 0:
            await self._wait(seconds)
        return list(islice(self._waiting, limit))

    def _acknowledge(self, offset: int) -> None:
        if offset < 0:
            while len(self._waiting) > -offset:
                self._waiting.popleft()
        while self._waiting and self._waiting[0]["update_id"] < offset:
            self._waiting.popleft()

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

    def _end_poll(self, how: Exception | None) -> bool:
        poll, self._poll = self._poll, None
        if poll is None or poll.done():
            return False
        if how is None:
            poll.set_result(None)
        else:
            poll.set_exception(how)
        return True
