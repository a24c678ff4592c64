"""
The metrics of limits and of the fallback agent, one row each.

`catalogue.py` has all other metrics, and says what a row is.
"""

from __future__ import annotations

from crocbot.telemetry.instruments import CounterMetric, Metric
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

ROWS = tuple(row for row in list(globals().values()) if isinstance(row, Metric))
