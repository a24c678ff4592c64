"""
Run a turn, persist the disposition of its rows, then emit and log its outcomes.

    run(rows) --> turn --> [Outcome] --> inbox.close_rows --> events, log

A reply that was delivered must not be sent again: a turn that is cancelled after its
delivery closes its rows all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Coroutine,
    Hashable,
    Iterable,
    Sequence,
)
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from math import inf
from typing import Any, TypeVar

from crocbot import envelope, log
from crocbot.arrival_outcomes import EditOutcome
from crocbot.errors import InboxError, LeaseLostError, OperatorError
from crocbot.events import EditHandled, EventListener, QueueWait
from crocbot.inbox import Inbox
from crocbot.model import (
    Clock,
    Disposition,
    ErrorEvent,
    ErrorType,
    Outcome,
    Row,
    Severity,
)
from crocbot.turn.acknowledge import Acknowledger
from crocbot.turn.arrival import CHAT_GONE_REASON, Arrivals
from crocbot.turn.turn import MAX_TRIES, TurnStages

# Kills from outside often come faster than this, one after the other.
MIN_CALM_SECONDS = 10.0

Result = TypeVar("Result")
logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRunner:
    """
    Runs turns and closes their rows.

    Before a turn it is recorded in the inbox, in case the turn ends the process.
    `redactor` takes secrets out of the reasons that the inbox keeps, since they may
    quote another program.
    """

    stages: TurnStages
    arrivals: Arrivals
    inbox: Inbox
    events: EventListener
    redactor: log.Redactor
    acknowledger: Acknowledger | None = None
    clock: Clock = time.monotonic

    def accepted(self, rows: Iterable[Row]) -> None:
        """Acknowledge rows that begin to wait."""
        if self.acknowledger is not None:
            self.acknowledger.accepted(rows)

    async def run(self, rows: Sequence[Row], *, overtaken: bool = False) -> bool:
        """Run one turn and close its rows; return whether its chat is gone."""
        for row in rows:
            if not row.retried:
                self.events.emit(QueueWait(self.clock() - row.accepted_at))
        try:
            with suppress(InboxError):
                # A full disk prevents no answer.
                await self.inbox.begin(rows)
            outcomes = await self.stages.run(rows, overtaken=overtaken)
        except LeaseLostError:
            return False
        except OperatorError as error:
            # The poller meets the same error, which ends the program.
            logger.error("row left open", update=rows[0].update_id, error=str(error))
            return False
        await run_to_end(self._close(outcomes))
        return any(outcome.chat_gone for outcome in outcomes)

    async def cancel(self, rows: Sequence[Row]) -> None:
        """
        Close the rows of a turn that was stopped, and remember what it has shown.

        What only a draft has shown is sent as a message.
        """
        if rows:
            outcome = self._unread(Disposition.CANCELLED, rows)
            await run_to_end(self._close([outcome]))
            update_ids = [row.update_id for row in rows]
            await run_to_end(self.stages.agent_step.remember_stopped(update_ids))
            await self.stages.agent_step.send_drafted(update_ids)

    def abandon(self, rows: Sequence[Row]) -> None:
        """Forget rows that stay open, because another replica works their chat."""
        update_ids = [row.update_id for row in rows]
        self.stages.agent_step.forget_stopped(update_ids)
        if self.acknowledger is not None:
            self.acknowledger.ended(update_ids)

    async def fail_chat_gone(self, rows: Sequence[Row]) -> None:
        """Close rows of a chat that takes no messages any more."""
        logger.warning("rows of a chat that is gone", rows=len(rows))
        outcomes = [
            self._unread(Disposition.FAILED, [row], CHAT_GONE_REASON) for row in rows
        ]
        await run_to_end(self._close(outcomes))

    async def replace(self, old: Row, new: Row) -> None:
        """Close a row that waited, and give its place to the edit of its message."""
        outcome = Outcome(
            Disposition.IGNORED,
            update_ids=(old.update_id,),
            retried=int(old.retried),
            replaced_by=new,
        )
        if self.acknowledger is not None:
            self.acknowledger.replaced(old.update_id, new.update_id)
        await run_to_end(self._close([outcome]))
        self.events.emit(EditHandled(EditOutcome.REPLACED))

    async def ignore(self, row: Row) -> None:
        """Close a row that needs no turn."""
        outcome = Outcome(
            Disposition.IGNORED,
            update_ids=(row.update_id,),
            retried=int(row.retried),
        )
        await run_to_end(self._close([outcome]))

    async def cancel_waiting(self, rows: Sequence[Row]) -> None:
        """Close rows that waited in a chat that the bot has lost."""
        outcomes = [self._unread(Disposition.CANCELLED, [row]) for row in rows]
        await run_to_end(self._close(outcomes))

    def _unread(
        self, disposition: Disposition, rows: Sequence[Row], reason: str | None = None
    ) -> Outcome:
        """Return the outcome of rows whose turn did not end, or did not begin."""
        types = (self.stages.message_type(row) for row in rows)
        return Outcome(
            disposition,
            message_type=next(filter(None, types), None),
            retried=sum(row.retried for row in rows),
            update_ids=tuple(row.update_id for row in rows),
            reason=reason,
        )

    async def _close(self, outcomes: Sequence[Outcome]) -> None:
        # Together, so that they share a transaction.
        await asyncio.gather(*(self._close_one(outcome) for outcome in outcomes))

    async def _close_one(self, outcome: Outcome) -> None:
        """Close the rows of one outcome; emit it unless they were closed before."""
        reason = outcome.reason
        if reason is not None:
            if outcome.chat_gone:
                # So that the row is found when the chat is back.
                reason = f"{CHAT_GONE_REASON}: {reason}"
            outcome = replace(outcome, reason=self.redactor.redact(reason))
        closed = await self.inbox.close_rows(outcome)
        if self.acknowledger is not None:
            self.acknowledger.ended(outcome.update_ids)
        if not closed:
            return
        self.events.emit(outcome)
        if outcome.disposition is Disposition.ANSWERED:
            seconds = round(outcome.seconds or 0.0, 3)
            logger.info("answered", update=outcome.update_ids[0], seconds=seconds)


class TurnSlots:
    """
    How many turns run at a time: a bound, and one alone while there are suspects.

        suspects left?  yes --> one turn of a chat with a suspect, no other turn
                        no  --> `max_turns` turns

    A suspect is a row with `tries`: its turn was running when an earlier process
    crashed, and it may be the cause.  If the process crashes while a suspect runs
    alone, it was that row; if the suspect's turn ends, it was another one.

    The last try of a suspect begins when the process has run for `calm_seconds`: a
    process that is killed again and again before that sets no row aside.
    """

    def __init__(
        self, max_turns: int, *, calm_seconds: float = MIN_CALM_SECONDS
    ) -> None:
        self._calm_at = time.monotonic() + calm_seconds
        self._slots = asyncio.Semaphore(max_turns)
        self._alone = asyncio.Lock()
        self._suspects = 0
        self._no_suspects = asyncio.Event()
        self._no_suspects.set()

    def add(self, rows: Iterable[Row]) -> None:
        """Count the suspects among rows that will run."""
        self._change(sum(row.tries > 0 for row in rows))

    def remove(self, rows: Iterable[Row]) -> None:
        """Count the suspects out, among rows that ran or will not run."""
        self._change(-sum(row.tries > 0 for row in rows))

    def _change(self, by: int) -> None:
        self._suspects += by
        if self._suspects:
            self._no_suspects.clear()
        else:
            self._no_suspects.set()

    @asynccontextmanager
    async def slot(self, waiting: Iterable[Row]) -> AsyncIterator[None]:
        """Wait until the next turn of a chat, in which these rows wait, may run."""
        tries = [row.tries for row in waiting]
        if self._suspects and any(tries):
            left = self._calm_at - time.monotonic()
            if MAX_TRIES - 1 in tries and left > 0:
                # Before the lock, so that other suspects run first.
                await asyncio.sleep(left)
            async with self._alone:
                yield
        else:
            await self._no_suspects.wait()
            async with self._slots:
                yield


def suspects_first(rows: Sequence[tuple[Hashable, Row]]) -> list[Row]:
    """
    Return rows, each given with the key of its chat, in the order in which they run.

    Among the suspects those with the fewest tries are first: if it is not a message
    that ends the process again and again, it is another row each time.
    """
    tries: dict[Hashable, int] = defaultdict(int)
    for key, row in rows:
        tries[key] = max(tries[key], row.tries)

    def order(each: tuple[Hashable, Row]) -> tuple[bool, float]:
        key, row = each
        is_waiting = not (row.tries and envelope.is_stop(row.raw))
        return is_waiting, tries[key] or inf

    return [row for _, row in sorted(rows, key=order)]


class BugReporter:
    """Keeps exceptions, which are bugs, from ending anything but the work they hit."""

    def __init__(self, events: EventListener) -> None:
        self._events = events

    async def survive(self, work: Awaitable[Result]) -> Result | None:
        """
        Return the result of `work`, or None after an exception, which is a bug.

        A CancelledError is passed on only if it is this task that was cancelled;
        another one was raised by something that `work` awaited.
        """
        try:
            return await work
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            self.report(error)
        except Exception as error:
            self.report(error)
        return None

    def report(self, error: BaseException) -> None:
        """Count an exception, and have asyncio log it with its traceback."""
        self._events.emit(ErrorEvent(ErrorType.PROCESSING, Severity.CRITICAL))
        asyncio.get_running_loop().call_exception_handler(
            {
                "message": "bug in a turn; its rows stay open until the next start",
                "exception": error,
            }
        )


def is_cancelled() -> bool:
    """Return whether the current task was cancelled, and not by stop_turn()."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def uncancel() -> None:
    """Let the current task, which stop_turn() cancelled, go on."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


async def run_to_end(work: Coroutine[Any, Any, None]) -> None:
    """
    Run `work` to its end even if the caller is cancelled.

    The caller goes on: what it does next must look at `Task.cancelling()`, as the
    dispatcher does before it begins another turn.
    """
    task = asyncio.create_task(work)
    while not task.done():
        # Cancelling again must not end it, either.
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    task.result()
