"""
Rows to turns: in order within a chat, many chats at once, all of it bounded.

    admit(rows) --> chat 1: [row][row]     --.
                    chat 2: [part][part]   --+--> take(rows), `max_turns` at once
                    chat 3: [row][row]     --'
                    an urgent row ----------------> take(rows), at once

- `room()` is the back-pressure: the poller asks it before it asks Telegram, so no more
  than `max_admitted` rows wait here however fast people write.  Where they are of few
  chats, so that turns are free for others, up to `most_admitted` may wait: somebody
  who writes much makes nobody else wait.
- Rows that belong together make one turn.  It begins when the last of them is here, or
  when `gather_seconds` went by without another.
- `stop` ends the turn that a chat is in, or is about to begin; those behind it go on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from crocbot.events import NO_EVENTS, EventListener, TurnsInFlight
from crocbot.model import RawUpdate, Row

MOST_PARTS = 50
CANCEL_SECONDS = 0.5


class RowClassifier(Protocol):
    """What the dispatcher must know of a raw update; raises nothing."""

    def key(self, raw: RawUpdate) -> Hashable:
        """Whose order it belongs to."""

    def urgent(self, raw: RawUpdate) -> bool:
        """Whether it overtakes the queue."""

    def may_continue(self, raw: RawUpdate) -> bool:
        """Whether more may follow that belong to it."""

    def continues(self, previous: RawUpdate, raw: RawUpdate) -> bool:
        """Whether it belongs to the one before it."""


@dataclass(slots=True)
class ChatQueue:
    """One chat: what waits, what is in work, and whether that is to be stopped."""

    waiting: deque[tuple[Row, float]] = field(default_factory=deque)
    taken: Sequence[Row] = ()
    stopped: bool = False
    grown: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None


class Dispatcher:
    """
    Runs turns.  Owned by the event loop.

    `take` runs one turn to its end; `cancelled` ends the rows of a turn that was
    stopped.
    """

    def __init__(
        self,
        take: Callable[[Sequence[Row]], Awaitable[None]],
        cancelled: Callable[[Sequence[Row]], Awaitable[None]],
        sorting: RowClassifier,
        *,
        max_turns: int,
        max_admitted: int,
        most_admitted: int = 0,
        gather_seconds: float = 0.0,
        events: EventListener = NO_EVENTS,
    ) -> None:
        self._take = take
        self._cancelled = cancelled
        self._sorting = sorting
        self._slots = asyncio.Semaphore(max_turns)
        self._max_turns = max_turns
        self._max_admitted = max_admitted
        self._most_admitted = max(max_admitted, most_admitted)
        self._gather_seconds = gather_seconds
        self._events = events
        self._in_flight = 0
        self._admitted = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._lanes: dict[Hashable, ChatQueue] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def admitted(self) -> int:
        """Rows in work or waiting."""
        return self._admitted

    async def room(self) -> int:
        """Wait until there is room; returns for how many rows."""
        await self._has_room.wait()
        # Nobody knows yet of how many chats the next rows are.
        return min(self._bound - self._admitted, self._max_admitted)

    def admit(self, rows: Iterable[Row]) -> None:
        """Queue rows; each key's rows are taken in this order."""
        now = asyncio.get_running_loop().time()
        for row in rows:
            self._change(+1)
            if self._sorting.urgent(row.raw):
                self._start(self._hurry(row))
                continue
            key = self._sorting.key(row.raw)
            lane = self._lanes.get(key)
            if lane is None:
                lane = self._lanes[key] = ChatQueue()
                lane.task = self._start(self._serve(key, lane))
            lane.waiting.append((row, now))
            lane.grown.set()
        self._look_for_room()

    def stop(self, key: Hashable) -> bool:
        """Cancel what a chat is busy with; tells whether there was anything."""
        lane = self._lanes.get(key)
        if lane is None or lane.task is None or not (lane.taken or lane.waiting):
            return False
        if not lane.stopped:
            # Once: a second one would meet the end of the rows, and end the chat.
            lane.stopped = True
            lane.task.cancel()
        return True

    def waiting(self, key: Hashable) -> int:
        """How many rows of a chat came after the turn that it is in."""
        lane = self._lanes.get(key)
        return 0 if lane is None else len(lane.waiting)

    def drop(self, key: Hashable) -> Sequence[Row]:
        """Take away what waits in a chat; whoever asks ends these rows."""
        lane = self._lanes.get(key)
        if lane is None:
            return ()
        rows = [row for row, _ in lane.waiting]
        lane.waiting.clear()
        self._change(-len(rows))
        return rows

    async def drain(self, seconds: float) -> int:
        """
        Wait for all turns, then cancel the rest; returns how many rows were left.

        Nothing may be admitted any more.  May be called again with a shorter time.
        A turn that does not even heed its cancellation is left behind.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CANCEL_SECONDS)
        return self._admitted

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _serve(self, key: Hashable, lane: ChatQueue) -> None:
        """One chat, until nothing of it waits."""
        while lane.waiting:
            try:
                await self._gather(lane)
                async with self._slots:
                    lane.taken = self._next(lane)
                    await self._turn(lane.taken)
            except asyncio.CancelledError:
                if not lane.stopped:
                    raise
                self._resume()
                lane.taken = lane.taken or self._next(lane)
                await self._cancelled(lane.taken)
            self._change(-len(lane.taken))
            lane.taken, lane.stopped = (), False
        del self._lanes[key]
        self._look_for_room()

    @staticmethod
    def _resume() -> None:
        """A task that was stopped on purpose has not been told to end."""
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()

    async def _hurry(self, row: Row) -> None:
        """An urgent row, past everything that waits."""
        await self._turn([row])
        self._change(-1)

    async def _turn(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        self._flying(+1)
        try:
            await self._take(rows)
        except Exception as error:
            # A bug.  It must not stop the chat; asyncio's logger tells about it.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "a turn was left by an exception", "exception": error}
            )
        finally:
            self._flying(-1)

    def _flying(self, by: int) -> None:
        self._in_flight += by
        self._events.emit(TurnsInFlight(self._in_flight))

    async def _gather(self, lane: ChatQueue) -> None:
        """Wait while more of what comes next may be on its way."""
        clock = asyncio.get_running_loop().time
        while lane.waiting:
            places = self._together(lane)
            last, arrived = lane.waiting[places[-1]]
            left = arrived + self._gather_seconds - clock()
            if left <= 0 or not self._sorting.may_continue(last.raw):
                return
            lane.grown.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await lane.grown.wait()

    def _next(self, lane: ChatQueue) -> Sequence[Row]:
        """Take the next row from the queue, with those that belong to it."""
        if not lane.waiting:
            return ()
        places = self._together(lane)
        rows = [lane.waiting[place][0] for place in places]
        for place in reversed(places):
            del lane.waiting[place]
        return rows

    def _together(self, lane: ChatQueue) -> list[int]:
        """Places in the queue of the first row and of those that continue it."""
        places = [0]
        last = lane.waiting[0][0]
        if not self._sorting.may_continue(last.raw):
            return places
        for place, (row, _) in enumerate(lane.waiting):
            if place and self._sorting.continues(last.raw, row.raw):
                places.append(place)
                last = row
                if len(places) >= MOST_PARTS or not self._sorting.may_continue(row.raw):
                    break
        return places

    def _change(self, by: int) -> None:
        """
        Count a row in or out; a cancelled one stays counted, for `drain`.

        Once full, there is no room until it is half empty: the poller would ask for
        one update at a time otherwise.
        """
        self._admitted += by
        self._look_for_room()

    @property
    def _bound(self) -> int:
        """How many rows may be here: it depends on whether turns are free."""
        busy = len(self._lanes) >= self._max_turns
        return self._max_admitted if busy else self._most_admitted

    def _look_for_room(self) -> None:
        bound = self._bound
        if self._admitted >= bound:
            self._has_room.clear()
        elif self._admitted <= bound // 2:
            self._has_room.set()
