"""The metrics of alerts and of the disk, one row each, like those of catalogue.py."""

from __future__ import annotations

from crocbot.alert_outcomes import AlertWay, NoticeOutcome
from crocbot.telemetry.instruments import CounterMetric, GaugeMetric, Metric

ALERT_NOTICES = CounterMetric(
    name="crocbot_alert_notices_total",
    statsd="crocbot.alert_notices",
    labels={"way": AlertWay, "outcome": NoticeOutcome},
    help="Messages about alerts that the gateway sent itself, by way and outcome.",
    query="sum by (way, outcome) (increase(crocbot_alert_notices_total[1d]))",
)
DISK_FREE = GaugeMetric(
    name="crocbot_disk_free_bytes",
    statsd="crocbot.disk.free",
    help="Space for the gateway that is free on the disk of the state directory.",
    query="crocbot_disk_free_bytes / crocbot_disk_size_bytes < 0.1",
)
DISK_SIZE = GaugeMetric(
    name="crocbot_disk_size_bytes",
    statsd="crocbot.disk.size",
    help="All space on the disk of the state directory.",
    query="crocbot_disk_size_bytes",
)

ROWS = tuple(row for row in list(globals().values()) if isinstance(row, Metric))
"""Every row above, in that order."""
