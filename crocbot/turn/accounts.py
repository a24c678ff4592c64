"""
What the answers of a turn took: tokens, for the limits, and costs.

    AgentStep --> Accounts.counts(message, usages) --> of Limits, Spending --> record
                                                   --> AgentCost           '-> Sessions

Counts survive the end of the process.  They are written with the exchange, if there is
one that is remembered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crocbot import prices
from crocbot.agent_events import AgentCost
from crocbot.events import EventListener
from crocbot.limits import Limits
from crocbot.model import Message, Usage
from crocbot.prices import PICODOLLARS, PricedModel
from crocbot.spending import Spending
from crocbot.store import Write


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """
    Counts what answers took; shared by all turns.

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

    def counts(
        self, message: Message, usages: Sequence[Usage], *, answered: bool
    ) -> list[Write]:
        """
        Return what counts the tokens of the agents that were asked, in their order.

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
        counts = self.limits.used(person, tokens)
        if tokens or answered:
            counts.append(self.spending.added(person, usage, cost))
        return counts

    async def record(self, counts: Sequence[Write]) -> None:
        """Write counts without an exchange.  Raise StoreError."""
        for each in counts:
            await self.spending.store.run(each, durable=False, atomic=False)
