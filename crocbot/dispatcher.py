"""
Rows to turns: in order within a chat, many chats at once, all of it bounded.

    accept(updates) --> inbox --> chat 1: [row][row]     --.
                                  chat 2: [photo][photo] --+--> `max_turns` turns
                                  chat 3: [row][row]     --'    at once
                                  /stop --------------------> one turn more for each

- `wait_for_capacity()` is the back-pressure: the poller calls it before each poll, the
  webhook before it stores an update.  It bounds the rows that wait here
  (`RowCapacity`), besides rows of an earlier run, reopened rows, and one row for each
  webhook request in progress.
- Fragments of one message make one turn.  It begins when the last of them is here, or
  `gather_seconds` after the latest one.
- `stop_turn()` cancels the turn that a chat is in or about to begin; later rows go on.
- With PostgreSQL the rows of a chat come here under its lease.  If that is lost, the
  rows are dropped: another replica works them.
- A chat has an entry here only while it has a task that serves it, however that ends.
- Rows whose turns were running when an earlier process crashed run first, each alone
  (`TurnSlots`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Coroutine, Hashable, Iterable, Sequence
from contextlib import nullcontext
from typing import Any

from crocbot import arrivals, envelope, leases
from crocbot.chat_moves import ChatMoves
from crocbot.chat_queue import ChatQueue
from crocbot.events import EventListener, MessageAccepted, TurnsInFlight, UpdateType
from crocbot.inbox import Accepted, Inbox
from crocbot.model import RawUpdate, Row
from crocbot.row_capacity import RowCapacity
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
        backlog: leases.Backlog | None = None,
    ) -> None:
        self._inbox = inbox
        self._runner = runner
        self._events = events
        self._bugs = BugReporter(events)
        self._moves = moves
        self._slots = TurnSlots(max_turns, calm_seconds=calm_seconds)
        self._capacity = RowCapacity(
            max_turns=max_turns,
            max_rows=max_queued,
            max_rows_few_chats=max_queued_few_chats,
        )
        self._gather_seconds = gather_seconds
        self._backlog = backlog
        self._draining = False
        self._in_flight = 0
        self._chats: dict[Hashable, ChatQueue] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def queued(self) -> int:
        """Return how many rows are running or waiting."""
        return self._capacity.rows

    @property
    def free_turns(self) -> int:
        """Return how many chats more may be in a turn."""
        return 0 if self._draining else self._capacity.free_chats

    async def wait_for_capacity(self) -> int:
        """Wait until more rows may come; return how many."""
        if self._backlog is not None:
            # Another replica may work them.
            return await self._backlog.wait_for_room()
        return await self._capacity.wait()

    async def accept(
        self, updates: Sequence[RawUpdate], *, leader: int | None = None
    ) -> Accepted:
        """
        Store updates, like Inbox.accept(), then enqueue the rows of those that are new.

        Raise InboxError if they cannot be stored.  A cancelled caller leaves no row
        that is stored and not queued, which would never run.
        """
        accepting = self._start(
            self._accept(self._inbox.accept(updates, leader=leader))
        )
        # Or asyncio would log an error that comes after the caller was cancelled.
        accepting.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(accepting)

    async def _accept(self, storing: Awaitable[Accepted]) -> Accepted:
        accepted, now = await storing, time.time()
        for row in accepted.rows:
            if (lag := envelope.lag_seconds(row.raw, now)) is not None:
                self._events.emit(MessageAccepted(lag))
        rows = accepted.workable
        self.enqueue(accepted.rows if rows is None else rows)
        return accepted

    def resume(self, rows: Sequence[Row]) -> None:
        """Queue the open rows of an earlier process, suspects first."""
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
            if row.lease is not None:
                row.lease.enter()
            self._capacity.count(+1)

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
            self.stop_turn(self._key(row))
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
        if row.lease is not None:
            return row.lease.chat
        return self._moves.origin(envelope.chat_key(row.raw))

    def _queue(self, key: Hashable, row: Row, now: float) -> None:
        chat = self._chats.get(key)
        if chat is None:
            chat = self._chats[key] = ChatQueue()
            chat.task = self._start(self._run_chat(key, chat))
            self._capacity.set_busy(len(self._chats))
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
        lease = leases.current()
        if chat is None and lease is not None:
            # Another replica has recorded the move of this chat.
            chat = self._chats.get(lease.chat)
        if chat is None or chat.abandoned:
            return None
        if chat.task is None or not (chat.running or chat.waiting):
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

    def abandon(self, chat: int) -> None:
        """Cancel the turn of a chat that another replica works, and drop its rows."""
        queue = self._chats.get(chat)
        if queue is None:
            return
        queue.abandoned = True
        waiting = queue.waiting_rows
        queue.waiting.clear()
        self._drop(waiting)
        task, ends = queue.task, queue.stopped or not queue.begun
        if task is not None and not ends and task is not asyncio.current_task():
            task.cancel()

    def _drop(self, rows: Sequence[Row]) -> None:
        """Count out rows that stay open for another replica."""
        self._runner.abandon(rows)
        self._leave(rows)

    async def drain(self, seconds: float) -> int:
        """
        Wait for all turns, then cancel the others; return how many rows are left open.

        It may be called again with a shorter time.  A turn that ignores its
        cancellation is abandoned.
        """
        self._draining = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CANCEL_SECONDS)
        return self.queued

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
            self._capacity.set_busy(len(self._chats))

    async def _run_next(self, key: Hashable, chat: ChatQueue) -> None:
        """Run the next turn of a chat to its end, or until it is stopped."""
        try:
            await chat.gather(self._gather_seconds)
            async with self._slots.slot(chat.waiting_rows):
                chat.running = chat.take_next()
                await self._run_turn(key, chat.running)
        except asyncio.CancelledError:
            if not (chat.stopped or chat.abandoned):
                # By drain(), which counts the rows that are left.
                raise
            uncancel()
            await self._end_cancelled(chat)
        else:
            if chat.stopped or chat.abandoned:
                # The turn ended in spite of its cancellation.
                uncancel()
        self._leave(chat.running)
        chat.running, chat.stopped = (), False
        chat.settled.set()

    async def _end_cancelled(self, chat: ChatQueue) -> None:
        """Close the rows of a turn that was stopped, unless its chat is lost."""
        if not chat.stopped:
            self._runner.abandon(chat.running)
            return
        chat.running = chat.running or chat.take_next()
        with leases.working_under(chat.running[0].lease if chat.running else None):
            await self._bugs.survive(self._runner.cancel(chat.running))

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
            with leases.working_under(rows[0].lease):
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

    def _leave(self, rows: Sequence[Row]) -> None:
        """Count rows out, after their turn."""
        self._slots.remove(rows)
        self._capacity.count(-len(rows))
        for row in rows:
            if row.lease is not None:
                row.lease.leave()
