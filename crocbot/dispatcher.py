"""
Rows to turns: in order within a chat, many chats at once, all of it bounded.

    accept(updates) --> inbox --> chat 1: [row][row]     --.
                                  chat 2: [photo][photo] --+--> `max_turns` turns
                                  chat 3: [row][row]     --'    at once
                                  /stop --------------------> one turn more for each

- `wait_for_capacity()` is the back-pressure: the poller calls it before each poll, the
  webhook before it stores an update.  It bounds the rows that wait here to
  `max_queued`, besides rows of an earlier run, reopened rows, and one row for each
  webhook request in progress.  While fewer than `max_turns` chats are busy, up to
  `max_queued_few_chats` rows may wait, so that one chat with many messages does not
  delay the others.
- Fragments of one message make one turn.  It begins when the last of them is here, or
  `gather_seconds` after the latest one.
- `stop_turn()` cancels the turn that a chat is in or about to begin; later rows go on.
- A chat has an entry here only while it has a task that serves it, however that ends.
- Rows whose turns were running when an earlier process crashed run first, each alone
  (`TurnSlots`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Coroutine, Hashable, Iterable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from crocbot import arrivals, envelope, fragments
from crocbot.chat_moves import ChatMoves
from crocbot.events import EventListener, MessageAccepted, TurnsInFlight, UpdateType
from crocbot.inbox import Accepted, Inbox
from crocbot.model import RawUpdate, Row
from crocbot.turn import (
    MIN_CALM_SECONDS,
    BugReporter,
    TurnRunner,
    TurnSlots,
    is_cancelled,
    suspects_first,
    uncancel,
)

CANCEL_SECONDS = 0.5


@dataclass(slots=True, kw_only=True)
class ChatQueue:
    """
    The rows of one chat: `waiting`, each with its time of arrival, and `running`.

    `begun` means that `task` has run, `stopped` that the turn was cancelled by
    `stop_turn()`, `settled` that no such turn is left.
    """

    waiting: deque[tuple[Row, float]] = field(default_factory=deque)
    running: Sequence[Row] = ()
    begun: bool = False
    stopped: bool = False
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


class Dispatcher:
    """Stores updates in `inbox`, gives their rows to `runner`.  Event loop only."""

    def __init__(
        self,
        *,
        inbox: Inbox,
        runner: TurnRunner,
        events: EventListener,
        moves: ChatMoves,
        max_turns: int,
        max_queued: int,
        max_queued_few_chats: int = 0,
        gather_seconds: float = 0.0,
        calm_seconds: float = MIN_CALM_SECONDS,
    ) -> None:
        self._inbox = inbox
        self._runner = runner
        self._events = events
        self._bugs = BugReporter(events)
        self._moves = moves
        self._slots = TurnSlots(max_turns, calm_seconds=calm_seconds)
        self._max_turns = max_turns
        self._max_queued = max_queued
        self._max_queued_few_chats = max(max_queued, max_queued_few_chats)
        self._gather_seconds = gather_seconds
        self._in_flight = 0
        self._queued = 0
        self._has_capacity = asyncio.Event()
        self._has_capacity.set()
        self._chats: dict[Hashable, ChatQueue] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def queued(self) -> int:
        """Return how many rows are running or waiting."""
        return self._queued

    async def wait_for_capacity(self) -> int:
        """Wait until more rows may come; return how many."""
        # Another caller that waited may have used up the capacity.
        while not self._has_capacity.is_set():
            await self._has_capacity.wait()
        # The next rows may be of any number of chats.
        return min(self._limit - self._queued, self._max_queued)

    async def accept(
        self, updates: Sequence[RawUpdate], *, leader: int | None = None
    ) -> Accepted:
        """
        Store updates, like Inbox.accept(), then enqueue the rows of those that are new.

        Raise InboxError if they cannot be stored.  A cancelled caller leaves no row
        that is stored and not queued, which would never run.
        """
        storing = self._inbox.accept(updates, leader=leader)
        return await asyncio.shield(self._start(self._accept(storing)))

    async def _accept(self, storing: Awaitable[Accepted]) -> Accepted:
        accepted, now = await storing, time.time()
        for row in accepted.rows:
            if (lag := envelope.lag_seconds(row.raw, now)) is not None:
                self._events.emit(MessageAccepted(lag))
        self.enqueue(accepted.rows)
        return accepted

    def resume(self, rows: Sequence[Row]) -> None:
        """Queue the open rows of an earlier process, suspects first; call it once."""
        self._slots.add(rows)
        self.enqueue(suspects_first([(self._key(row), row) for row in rows]))

    def enqueue(self, rows: Iterable[Row]) -> None:
        """Queue rows; those of one chat run in this order."""
        now, rows = asyncio.get_running_loop().time(), list(rows)
        self._runner.accepted(rows)
        for row in rows:
            needs_turn = UpdateType.MESSAGE in row.raw or self._arrive(row)
            if needs_turn and envelope.is_stop(row.raw):
                self._start(self._run_urgent(row))
            elif needs_turn:
                self._queue(self._key(row), row, now)
            self._count(+1)

    def _arrive(self, row: Row) -> bool:
        """Do at once what this update does; return whether it needs a turn as well."""
        chat = self._chats.get(self._key(row)) or ChatQueue()
        if envelope.membership(row.raw) is not None:
            self._start(self._change_membership(row, self._lose(row, chat)))
            return False
        waiting = chat.waiting_rows
        if arrivals.is_press(row.raw):
            repeated = arrivals.repeats(row, [*chat.running, *waiting])
            if not row.retried:
                # Otherwise Telegram has forgotten it.
                confirmed = self._runner.arrivals.confirm_press(row, repeated=repeated)
                self._start(self._bugs.survive(confirmed))
            if repeated:
                self._start(self._end([row], self._runner.ignore(row)))
            return not repeated
        index = arrivals.replaced(row, waiting)
        if index is None:
            return True
        old, arrived = chat.waiting[index]
        new = arrivals.replacement(row, old)
        replacing = self._end([old], self._runner.replace(old, new))
        if envelope.is_stop(new.raw):
            del chat.waiting[index]
            self._start(self._run_urgent(new, after=replacing))
        else:
            chat.waiting[index] = (new, arrived)
            self._start(replacing)
        return False

    def _lose(self, row: Row, chat: ChatQueue) -> Sequence[Row]:
        """End the turn of a chat that the bot has lost; return the rows that waited."""
        change = envelope.membership(row.raw)
        if change is None or not change.gone:
            return ()
        waiting = chat.waiting_rows
        chat.waiting.clear()
        if chat.running:
            self.stop_turn(envelope.chat_key(row.raw))
        return waiting

    async def _change_membership(self, row: Row, lost: Sequence[Row]) -> None:
        """Close the rows of a lost chat, and the row of the change of membership."""
        await self._end(lost, self._runner.cancel_waiting(lost))
        changed = self._runner.arrivals.change_membership(row)
        self.enqueue(await self._bugs.survive(changed) or ())
        await self._end([row], self._runner.ignore(row))

    async def _end(self, rows: Sequence[Row], work: Awaitable[None]) -> None:
        """Close rows without a turn, and count them out."""
        await self._bugs.survive(work)
        self._leave(rows)

    def _key(self, row: Row) -> Hashable:
        """Return the key of a row's chat, the same before and after a move."""
        return self._moves.origin(envelope.chat_key(row.raw))

    def _queue(self, key: Hashable, row: Row, now: float) -> None:
        chat = self._chats.get(key)
        if chat is None:
            chat = self._chats[key] = ChatQueue()
            chat.task = self._start(self._run_chat(key, chat))
        chat.waiting.append((row, now))
        chat.grew.set()

    def stop_turn(
        self, key: Hashable, draft: int | None = None
    ) -> asyncio.Event | None:
        """
        Cancel the turn that a chat is in, if there is one, or the one with this draft.

        Return None without one; else what is set when the turn has ended.
        """
        # Rows of the new id that came before its move was known have their own queue.
        chat = self._chats.get(self._moves.origin(key)) or self._chats.get(key)
        if chat is None or chat.task is None or not (chat.running or chat.waiting):
            return None
        if draft is not None and draft not in {row.draft_id for row in chat.running}:
            return None
        if not chat.begun:
            # Its rows came after the /stop; a task that has not run cannot clean up.
            return None
        if not chat.stopped:
            # Once: a second one would interrupt the closing of the rows.
            chat.stopped = True
            chat.settled.clear()
            chat.task.cancel()
        return chat.settled

    async def drain(self, seconds: float) -> int:
        """
        Wait for all turns, then cancel the others; return how many rows are left open.

        It may be called again with a shorter time.  A turn that ignores its
        cancellation is abandoned.
        """
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CANCEL_SECONDS)
        return self._queued

    def _start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run_chat(self, key: Hashable, chat: ChatQueue) -> None:
        """Run the turns of one chat until no row of it waits."""
        chat.begun = True
        try:
            while chat.waiting and not is_cancelled():
                await self._run_next(key, chat)
        except Exception as error:
            # The rows stay open in the inbox, for the next start.
            self._bugs.report(error)
            self._leave(chat.running)
            self._leave(chat.waiting_rows)
        finally:
            del self._chats[key]
            self._update_capacity()

    async def _run_next(self, key: Hashable, chat: ChatQueue) -> None:
        """Run the next turn of a chat to its end, or until it is stopped."""
        try:
            await self._gather(chat)
            async with self._slots.slot(chat.waiting_rows):
                chat.running = self._take_next(chat)
                await self._run_turn(key, chat.running)
        except asyncio.CancelledError:
            if not chat.stopped:
                # By drain(), which counts the rows that are left.
                raise
            uncancel()
            chat.running = chat.running or self._take_next(chat)
            await self._bugs.survive(self._runner.cancel(chat.running))
        else:
            if chat.stopped:
                # The turn ended in spite of its cancellation.
                uncancel()
        self._leave(chat.running)
        chat.running, chat.stopped = (), False
        chat.settled.set()

    async def _run_urgent(
        self, row: Row, *, after: Awaitable[None] | None = None
    ) -> None:
        """Run a turn past everything that waits, unless it is a suspect."""
        if after is not None:
            await after
        async with self._slots.slot([row]) if row.tries else nullcontext():
            await self._run_turn(self._key(row), [row])
        self._leave([row])

    async def _run_turn(self, key: Hashable, rows: Sequence[Row]) -> None:
        """Run one turn, counted as in flight; an exception ends only this turn."""
        if not rows:
            return
        self._change_in_flight(+1)
        try:
            turn = self._runner.run(rows, overtaken=self._has_waiting(key))
            if await self._bugs.survive(turn):
                await self._bugs.survive(self._fail_waiting(key))
        finally:
            self._change_in_flight(-1)

    def _has_waiting(self, key: Hashable) -> bool:
        """Return whether rows of a chat wait behind the turn that it is in."""
        chat = self._chats.get(key)
        return chat is not None and bool(chat.waiting)

    async def _fail_waiting(self, key: Hashable) -> None:
        """Close the rows that wait in a chat that accepts no messages any more."""
        chat = self._chats.get(key)
        if chat is None or not chat.waiting:
            return
        rows = chat.waiting_rows
        chat.waiting.clear()
        self._leave(rows)
        await self._runner.fail_chat_gone(rows)

    def _change_in_flight(self, by: int) -> None:
        self._in_flight += by
        self._events.emit(TurnsInFlight(self._in_flight))

    async def _gather(self, chat: ChatQueue) -> None:
        """Wait for further fragments of the next message, if it may have any."""
        clock = asyncio.get_running_loop().time
        while chat.waiting:
            last, arrived = chat.waiting[chat.next_indices[-1]]
            left = arrived + self._gather_seconds - clock()
            if left <= 0 or not fragments.may_continue(last.raw):
                return
            chat.grew.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await chat.grew.wait()

    @staticmethod
    def _take_next(chat: ChatQueue) -> Sequence[Row]:
        """Remove the next row from a queue, with its further fragments; return them."""
        if not chat.waiting:
            return ()
        indices = chat.next_indices
        rows = [chat.waiting[index][0] for index in indices]
        for index in reversed(indices):
            del chat.waiting[index]
        return rows

    def _leave(self, rows: Sequence[Row]) -> None:
        """Count rows out, after their turn."""
        self._slots.remove(rows)
        self._count(-len(rows))

    def _count(self, by: int) -> None:
        """Count rows in or out.  Rows that drain() cancels stay counted."""
        self._queued += by
        self._update_capacity()

    @property
    def _limit(self) -> int:
        """Return how many rows may be here: more while turns are free."""
        busy = len(self._chats) >= self._max_turns
        return self._max_queued if busy else self._max_queued_few_chats

    def _update_capacity(self) -> None:
        """
        Let the poller wait, or go on.

        Once full, there is no capacity until half of the limit is free: the poller
        would ask for one update at a time otherwise.
        """
        if self._queued >= self._limit:
            self._has_capacity.clear()
        elif self._queued <= self._limit // 2:
            self._has_capacity.set()
