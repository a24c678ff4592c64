"""
The metrics of limits, of the fallback agent and of costs, one row each.

`catalogue.py` has all other metrics, and says what a row is.
"""

from __future__ import annotations

from crocbot.telemetry.instruments import ChosenAtStart, CounterMetric, Metric
from crocbot.turn_outcomes import FallbackOutcome, Limit

LIMITED_MESSAGES = CounterMetric(
    name="crocbot_limited_messages_total",
    statsd="crocbot.limited_messages",
    labels={"limit": Limit},
    help="Messages that did not reach the agent, by the limit that was reached.",
    query="sum by (limit) (increase(crocbot_limited_messages_total[1h]))",
)
FALLBACKS = CounterMetric(
    name="crocbot_agent_fallbacks_total",
    statsd="crocbot.agent.fallbacks",
    labels={"outcome": FallbackOutcome},
    help=(
        "Prompts whose first agent failed before its first word, by what became of"
        " them; no_time: the fallback agent was not asked."
    ),
    query="sum by (outcome) (increase(crocbot_agent_fallbacks_total[1h]))",
)
COST = CounterMetric(
    name="crocbot_agent_cost_dollars_total",
    statsd="crocbot.agent.cost",
    labels={"model": ChosenAtStart(values=2)},
    help="Cost of prompts by CROCBOT_PRICES; 0 if the agent reports no tokens.",
    query="sum by (model) (increase(crocbot_agent_cost_dollars_total[1d]))",
)

ROWS = tuple(row for row in list(globals().values()) if isinstance(row, Metric))
