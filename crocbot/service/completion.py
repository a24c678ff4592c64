"""
The end of a turn: close its rows on disk, then emit and log its outcomes.

    run(rows) --> turn --> [Outcome] --> inbox.close --> events, log

A reply that was delivered must not be sent again: a turn that is cancelled after its
delivery closes its rows all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from crocbot import log
from crocbot.errors import InboxError, OperatorError
from crocbot.events import EventListener
from crocbot.inbox import Inbox
from crocbot.model import (
    Disposition,
    ErrorEvent,
    ErrorType,
    Outcome,
    Row,
    Severity,
)
from crocbot.service.shutdown import run_to_end
from crocbot.turn import Turn

CHAT_GONE = "the chat takes nothing any more"

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """
    Runs turns and closes their rows.

    `drop` returns the rows that wait in the chat of a row: a chat that takes nothing
    any more needs no answers.  `redactor` takes secrets out of the reasons that the
    inbox keeps, since they may quote another program.
    """

    turn: Turn
    inbox: Inbox
    events: EventListener
    drop: Callable[[Row], Sequence[Row]]
    redactor: log.Redactor

    async def run(self, rows: Sequence[Row]) -> None:
        """Run one turn and close its rows."""
        try:
            outcomes = await self.turn.take(rows)
        except OperatorError as error:
            # The poller meets the same error, which ends the program.
            logger.error("row left open", update=rows[0].update_id, error=str(error))
            return
        await run_to_end(self._close_all(rows, outcomes))

    async def cancel(self, rows: Sequence[Row]) -> None:
        """Close the rows of a turn that was stopped."""
        if rows:
            update_ids = tuple(row.update_id for row in rows)
            outcome = Outcome(Disposition.CANCELLED, update_ids=update_ids)
            await run_to_end(self._close(outcome))

    async def _close_all(
        self, rows: Sequence[Row], outcomes: Sequence[Outcome]
    ) -> None:
        for outcome in outcomes:
            await self._close(outcome)
        if any(outcome.chat_gone for outcome in outcomes):
            waiting = tuple(row.update_id for row in self.drop(rows[0]))
            if waiting:
                logger.warning("rows of a chat that is gone", rows=len(waiting))
                await self._close(
                    Outcome(Disposition.FAILED, update_ids=waiting, reason=CHAT_GONE)
                )

    async def _close(self, outcome: Outcome) -> None:
        """Close the rows of one outcome; emit it unless they were closed before."""
        if outcome.reason is not None:
            outcome = replace(outcome, reason=self.redactor.redact(outcome.reason))
        try:
            closed = await self.inbox.close(outcome)
        except InboxError as error:
            update = outcome.update_ids[0]
            logger.error("row not closed", update=update, error=str(error))
            self.events.emit(ErrorEvent(ErrorType.INBOX, Severity.CRITICAL))
            return
        if not closed:
            return
        self.events.emit(outcome)
        if outcome.disposition is Disposition.ANSWERED:
            seconds = round(outcome.seconds or 0.0, 3)
            logger.info("answered", update=outcome.update_ids[0], seconds=seconds)
