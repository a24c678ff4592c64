"""
Run a turn, persist the disposition of its rows, then emit and log its outcomes.

    run(rows) --> turn --> [Outcome] --> inbox.close_rows --> events, log

A reply that was delivered must not be sent again: a turn that is cancelled after its
delivery closes its rows all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from crocbot import log
from crocbot.errors import OperatorError
from crocbot.events import EventListener
from crocbot.inbox import Inbox
from crocbot.model import Disposition, Outcome, Row
from crocbot.turn.turn import TurnStages

CHAT_GONE_REASON = "the chat accepts no messages: the bot was blocked or removed"

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRunner:
    """
    Runs turns and closes their rows.

    `redactor` takes secrets out of the reasons that the inbox keeps, since they may
    quote another program.
    """

    stages: TurnStages
    inbox: Inbox
    events: EventListener
    redactor: log.Redactor

    async def run(self, rows: Sequence[Row], *, overtaken: bool = False) -> bool:
        """Run one turn and close its rows; return whether its chat is gone."""
        try:
            outcomes = await self.stages.run(rows, overtaken=overtaken)
        except OperatorError as error:
            # The poller meets the same error, which ends the program.
            logger.error("row left open", update=rows[0].update_id, error=str(error))
            return False
        await run_to_end(self._close(outcomes))
        return any(outcome.chat_gone for outcome in outcomes)

    async def cancel(self, rows: Sequence[Row]) -> None:
        """Close the rows of a turn that was stopped."""
        await self._close_as(Disposition.CANCELLED, rows)

    async def fail_chat_gone(self, rows: Sequence[Row]) -> None:
        """Close rows of a chat that takes no messages any more."""
        logger.warning("rows of a chat that is gone", rows=len(rows))
        await self._close_as(Disposition.FAILED, rows, CHAT_GONE_REASON)

    async def _close_as(
        self, disposition: Disposition, rows: Sequence[Row], reason: str | None = None
    ) -> None:
        if rows:
            update_ids = tuple(row.update_id for row in rows)
            outcome = Outcome(disposition, update_ids=update_ids, reason=reason)
            await run_to_end(self._close([outcome]))

    async def _close(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            await self._close_one(outcome)

    async def _close_one(self, outcome: Outcome) -> None:
        """Close the rows of one outcome; emit it unless they were closed before."""
        if outcome.reason is not None:
            outcome = replace(outcome, reason=self.redactor.redact(outcome.reason))
        if not await self.inbox.close_rows(outcome):
            return
        self.events.emit(outcome)
        if outcome.disposition is Disposition.ANSWERED:
            seconds = round(outcome.seconds or 0.0, 3)
            logger.info("answered", update=outcome.update_ids[0], seconds=seconds)


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
