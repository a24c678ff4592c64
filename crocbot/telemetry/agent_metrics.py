"""
The metrics of limits, one row each.

`catalogue.py` has all other metrics, and says what a row is.
"""

from __future__ import annotations

from crocbot.telemetry.instruments import CounterMetric, Metric
from crocbot.turn_outcomes import Limit

LIMITED_MESSAGES = CounterMetric(
    name="crocbot_limited_messages_total",
    statsd="crocbot.limited_messages",
    labels={"limit": Limit},
    help="Messages that did not reach the agent, by the limit that was reached.",
    query="sum by (limit) (increase(crocbot_limited_messages_total[1h]))",
)
ROWS = tuple(row for row in list(globals().values()) if isinstance(row, Metric))
