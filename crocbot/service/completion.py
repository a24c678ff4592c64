"""
What a turn left: the ends of its rows on disk, then the facts.

    take(rows) --> [Outcome] --> inbox.close --> events, log

A reply that is out must not be sent again: a turn that is cancelled after its delivery
still ends its rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
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

GONE = "the chat takes nothing any more"

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True)
class Completion:
    """
    Ends rows.  `drop` takes away what waits in the chat of a row: a chat that takes
    nothing any more needs no answers.  `redact` takes secrets out of reasons, which
    may be a stranger's words and stay in the inbox.
    """

    inbox: Inbox
    events: EventListener
    drop: Callable[[Row], Sequence[Row]]
    redact: Callable[[str], str]

    async def of(
        self,
        rows: Sequence[Row],
        take: Callable[[Sequence[Row]], Awaitable[Sequence[Outcome]]],
    ) -> None:
        """Run one turn, from the dispatcher to the inbox."""
        try:
            outcomes = await take(rows)
        except OperatorError as error:
            # The poller meets the same and ends the program.
            logger.error("row left open", update=rows[0].update_id, error=str(error))
            return
        closing = asyncio.create_task(self._close(rows, outcomes))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            # The reply is out; to leave the row open would send it again.
            await closing
            raise

    async def cancelled(self, rows: Sequence[Row]) -> None:
        """End the rows of a turn that somebody stopped."""
        if rows:
            update_ids = tuple(row.update_id for row in rows)
            outcome = Outcome(Disposition.CANCELLED, update_ids=update_ids)
            await self._close(rows, [outcome])

    async def _close(self, rows: Sequence[Row], outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            await self._end(outcome)
        if any(outcome.chat_gone for outcome in outcomes):
            left = tuple(row.update_id for row in self.drop(rows[0]))
            if left:
                logger.warning("rows of a chat that is gone", rows=len(left))
                await self._end(
                    Outcome(Disposition.FAILED, update_ids=left, reason=GONE)
                )

    async def _end(self, outcome: Outcome) -> None:
        """End the rows of one outcome, then tell it; a row is told of once."""
        if outcome.reason is not None:
            outcome = replace(outcome, reason=self.redact(outcome.reason))
        try:
            ended = await self.inbox.close(outcome)
        except InboxError as error:
            update = outcome.update_ids[0]
            logger.error("row not closed", update=update, error=str(error))
            self.events.emit(ErrorEvent(ErrorType.INBOX, Severity.CRITICAL))
            return
        if not ended:
            return
        self.events.emit(outcome)
        if outcome.disposition is Disposition.ANSWERED:
            seconds = round(outcome.seconds or 0.0, 3)
            logger.info("answered", update=outcome.update_ids[0], seconds=seconds)
