"""
Events about limits, the fallback agent and costs.

`events.py` has all other events, and the type of every event.
"""

from __future__ import annotations

from dataclasses import dataclass

from crocbot.turn_outcomes import FallbackOutcome, Limit


@dataclass(frozen=True, slots=True)
class MessageLimited:
    """A message did not reach the agent, because this limit was reached."""

    limit: Limit


@dataclass(frozen=True, slots=True)
class AgentFallback:
    """The first agent failed before its first word; this became of the fallback."""

    outcome: FallbackOutcome


@dataclass(frozen=True, slots=True)
class AgentCost:
    """A prompt to a model cost this much; `model` is the label, from the settings."""

    model: str
    dollars: float
