"""
Rows to turns: in order within a chat, many chats at once, all of it bounded.

    admit(rows) --> chat 1: [row][row]  --.
                    chat 2: [row]       --+--> take(row), at most `max_turns` at once
                    chat 3: [row][row]  --'

`room()` is the back-pressure: the poller asks it before it asks Telegram, so no more
than `max_admitted` rows wait here however fast people write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable

from crocbot.model import Raw, Row


class Dispatcher:
    """
    Runs turns.  Owned by the event loop.

    `take` runs one turn to its end; `key` tells whose order a row belongs to.
    """

    def __init__(
        self,
        take: Callable[[Row], Awaitable[None]],
        key: Callable[[Raw], Hashable],
        *,
        max_turns: int,
        max_admitted: int,
    ) -> None:
        self._take = take
        self._key = key
        self._slots = asyncio.Semaphore(max_turns)
        self._max_admitted = max_admitted
        self._admitted = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._waiting: dict[Hashable, deque[Row]] = {}
        self._chats: set[asyncio.Task[None]] = set()

    @property
    def admitted(self) -> int:
        """Rows in work or waiting."""
        return self._admitted

    async def room(self) -> int:
        """Wait until there is room; returns for how many rows."""
        await self._has_room.wait()
        return self._max_admitted - self._admitted

    def admit(self, rows: Iterable[Row]) -> None:
        """Queue rows; each key's rows are taken in this order."""
        for row in rows:
            self._change(+1)
            key = self._key(row.raw)
            queue = self._waiting.get(key)
            if queue is not None:
                queue.append(row)
                continue
            self._waiting[key] = deque([row])
            chat = asyncio.create_task(self._serve(key))
            self._chats.add(chat)
            chat.add_done_callback(self._chats.discard)

    async def drain(self, seconds: float) -> int:
        """
        Wait for all turns, then cancel the rest; returns how many rows were left.

        Nothing may be admitted any more.  May be called again with a shorter time.
        """
        if self._chats:
            await asyncio.wait(self._chats, timeout=seconds)
        for chat in self._chats:
            chat.cancel()
        if self._chats:
            await asyncio.wait(self._chats)
        return self._admitted

    async def _serve(self, key: Hashable) -> None:
        """One chat, until nothing of it waits."""
        queue = self._waiting[key]
        while queue:
            async with self._slots:
                await self._turn(queue.popleft())
        del self._waiting[key]

    async def _turn(self, row: Row) -> None:
        try:
            await self._take(row)
        except Exception as error:
            # A bug.  It must not stop the chat; asyncio's logger tells about it.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a turn was left by an exception", "exception": error}
            )
        self._change(-1)

    def _change(self, by: int) -> None:
        """
        Count a row in or out; a cancelled one stays counted, for `drain`.

        Once full, there is no room until it is half empty: the poller would ask for
        one update at a time otherwise.
        """
        self._admitted += by
        if self._admitted >= self._max_admitted:
            self._has_room.clear()
        elif self._admitted <= self._max_admitted // 2:
            self._has_room.set()
