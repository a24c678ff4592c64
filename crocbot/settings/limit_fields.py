"""How many messages reach the agent, how many tokens they take, and their cost."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field

from crocbot.settings.values import Directory, Whole
from crocbot.turn_outcomes import Limit

MAX_MESSAGES = 1_000_000_000
MAX_TOKENS = 1_000_000_000_000
MESSAGES_RULE = f"must be a number of messages, 0 to {MAX_MESSAGES}; 0 is no limit"
TOKENS_RULE = f"must be a number of tokens, 0 to {MAX_TOKENS}; 0 is no limit"


class LimitFields(BaseModel):
    """The settings of limits, 0 turns one off, and of prices."""

    limit_person_minute: Whole = Field(
        0,
        ge=0,
        le=MAX_MESSAGES,
        title="The most messages of one person to the agent in a minute; 0: no limit.",
        description=MESSAGES_RULE,
    )
    limit_person_day: Whole = Field(
        0,
        ge=0,
        le=MAX_MESSAGES,
        title="The most messages of one person to the agent in 24 hours.",
        description=MESSAGES_RULE,
    )
    limit_all_minute: Whole = Field(
        0,
        ge=0,
        le=MAX_MESSAGES,
        title="The most messages of all persons to the agent in a minute.",
        description=MESSAGES_RULE,
    )
    limit_all_day: Whole = Field(
        0,
        ge=0,
        le=MAX_MESSAGES,
        title="The most messages of all persons to the agent in 24 hours.",
        description=MESSAGES_RULE,
    )
    limit_person_day_tokens: Whole = Field(
        0,
        ge=0,
        le=MAX_TOKENS,
        title="After this many tokens in 24 hours a person waits; an agent that reports"
        " none counts 0.",
        description=TOKENS_RULE,
    )
    limit_all_day_tokens: Whole = Field(
        0,
        ge=0,
        le=MAX_TOKENS,
        title="After this many tokens in 24 hours all persons wait.",
        description=TOKENS_RULE,
    )

    prices: Directory | None = Field(
        None,
        title="A TOML file with the prices of models.",
        description="must be the path of a TOML file",
    )

    @property
    def limits(self) -> Mapping[Limit, int]:
        """Return the limits that are set."""
        values = {limit: getattr(self, f"limit_{limit}") for limit in Limit}
        return {limit: maximum for limit, maximum in values.items() if maximum}
