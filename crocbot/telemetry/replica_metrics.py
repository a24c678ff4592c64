"""The metrics of replicas, one row each, like those of catalogue.py."""

from __future__ import annotations

from crocbot.replica_events import DatabaseOutcome
from crocbot.telemetry.buckets import API_CALL_BUCKETS, quantile_query
from crocbot.telemetry.instruments import (
    ChosenAtStart,
    CounterMetric,
    GaugeMetric,
    HistogramMetric,
    Metric,
)

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
LEADER_KNOWN = GaugeMetric(
    name="crocbot_leader_known",
    statsd="crocbot.leader_known",
    help=(
        "1 if the database names a leader, which may be this replica; 0 if it names"
        " none, or gives no answer. Absent without CROCBOT_DATABASE_URL."
    ),
    query="crocbot_leader_known == 0",
)
CHATS_HELD = GaugeMetric(
    name="crocbot_chats_held",
    statsd="crocbot.chats_held",
    help="Chats whose lease this replica has; absent without CROCBOT_DATABASE_URL.",
    query="sum(crocbot_chats_held)",
)
LEASES_LOST = CounterMetric(
    name="crocbot_leases_lost_total",
    statsd="crocbot.leases_lost",
    help="Chats that another replica took because this one did not renew their lease.",
    query="sum(increase(crocbot_leases_lost_total[1h]))",
)
WRITES_REFUSED = CounterMetric(
    name="crocbot_lease_writes_refused_total",
    statsd="crocbot.lease_writes_refused",
    help="Rows that this replica did not close, because their chat's lease is lost.",
    query="sum(increase(crocbot_lease_writes_refused_total[1h]))",
)
DATABASE_SECONDS = HistogramMetric(
    name="crocbot_database_seconds",
    statsd="crocbot.database",
    labels={"outcome": DatabaseOutcome},
    buckets=API_CALL_BUCKETS,
    help=(
        "One statement of each replica every 2 s: from sending it to the answer of"
        " PostgreSQL, or to its failure."
    ),
    query=quantile_query(0.95, "crocbot_database_seconds"),
)

ROWS = tuple(row for row in list(globals().values()) if isinstance(row, Metric))
"""Every row above, in that order."""
