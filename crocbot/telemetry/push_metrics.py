"""The metrics of pushed messages, one row each, like those of catalogue.py."""

from __future__ import annotations

from crocbot.delivery_outcomes import PushRequestOutcome, PushState
from crocbot.telemetry.instruments import CounterMetric, GaugeMetric, Metric

PUSHED = GaugeMetric(
    name="crocbot_pushed_rows",
    statsd="crocbot.pushed",
    labels={"state": PushState},
    help=(
        "Pushed messages by state: open now, sent and failed since the file was made;"
        " their sum is the number accepted."
    ),
    query="crocbot_pushed_rows",
)
PUSH_REQUESTS = CounterMetric(
    name="crocbot_push_requests_total",
    statsd="crocbot.push_requests",
    labels={"outcome": PushRequestOutcome},
    help="Requests to /send, by outcome.",
    query="sum by (outcome) (increase(crocbot_push_requests_total[1h]))",
)

ROWS = tuple(row for row in list(globals().values()) if isinstance(row, Metric))
"""Every row above, in that order."""
