"""
What the answers of a turn took: tokens, for the limits, and costs.

    AgentStep --> Accounts.record(message, usages) --> Limits, Spending
                                                   --> AgentCost

Counts survive the end of the process.  If they cannot be written, the answer stands,
and the error is logged and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crocbot import log, prices
from crocbot.agent_events import AgentCost
from crocbot.errors import StoreError
from crocbot.events import (
    EventListener,
)
from crocbot.limits import Limits
from crocbot.model import ErrorEvent, Message, Usage
from crocbot.prices import PICODOLLARS, PricedModel
from crocbot.spending import Spending

logger = log.logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """
    Records what answers took; shared by all turns.

    `models` are those of the first agent and of the fallback agent.
    """

    limits: Limits
    spending: Spending
    models: Sequence[PricedModel]
    events: EventListener

    def start(self) -> None:
        """Let the cost of each model with a price exist, at 0."""
        for model in self.models:
            if model.price is not None:
                self.events.emit(AgentCost(model.label, 0.0))

    async def record(
        self, message: Message, usages: Sequence[Usage], *, answered: bool
    ) -> None:
        """
        Record the tokens of the agents that were asked, the first one first.

        One that was not `answered` counts as an answer only if it took tokens.
        """
        cost = 0
        for model, usage in zip(self.models, usages, strict=False):
            picodollars = model.cost(usage)
            if picodollars:
                dollars = picodollars / PICODOLLARS
                self.events.emit(AgentCost(model.label, dollars))
            cost += picodollars
        usage = prices.total(usages)
        tokens = usage.input_tokens + usage.output_tokens
        person = message.person_id
        try:
            await self.limits.add_tokens(person, tokens)
            if tokens or answered:
                await self.spending.record(person, usage, cost)
        except StoreError as error:
            logger.error("tokens cannot be counted", error=str(error))
            self.events.emit(ErrorEvent(error.type, error.severity))
