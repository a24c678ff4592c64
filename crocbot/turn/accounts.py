"""
What the answers of a turn took: tokens, for the limits.

    AgentStep --> Accounts.record(message, usages) --> Limits

Counts survive the end of the process.  If they cannot be written, the answer stands,
and the error is logged and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crocbot import log
from crocbot.errors import StoreError
from crocbot.events import EventListener
from crocbot.limits import Limits
from crocbot.model import ErrorEvent, Message, Usage

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """Records what answers took; shared by all turns."""

    limits: Limits
    events: EventListener

    async def record(self, message: Message, usages: Sequence[Usage]) -> None:
        """Record the tokens of the agents that were asked, the first one first."""
        tokens = sum(each.input_tokens + each.output_tokens for each in usages)
        try:
            await self.limits.add_tokens(message.person_id, tokens)
        except StoreError as error:
            logger.error("tokens cannot be counted", error=str(error))
            self.events.emit(ErrorEvent(error.type, error.severity))
