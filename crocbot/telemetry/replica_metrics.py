"""The metrics of replicas, one row each, like those of catalogue.py."""

from __future__ import annotations

from crocbot.telemetry.instruments import ChosenAtStart, GaugeMetric, Metric

INSTANCE_INFO = GaugeMetric(
    name="crocbot_instance_info",
    statsd="crocbot.instance",
    labels={"start": ChosenAtStart()},
    help="Always 1; the label is random for each start: one bridge, one gateway.",
    query="count by (job, instance) (crocbot_instance_info) > 1",
)
LEADER_EPOCH = GaugeMetric(
    name="crocbot_leader_epoch",
    statsd="crocbot.leader_epoch",
    labels={"bot": ChosenAtStart()},
    help=(
        "Epoch of the leader's lease while this replica leads, else 0; absent without"
        " CROCBOT_DATABASE_URL. The label is the id of the bot."
    ),
    query="max by (bot) (crocbot_leader_epoch)",
)

ROWS = tuple(row for row in list(globals().values()) if isinstance(row, Metric))
"""Every row above, in that order."""
