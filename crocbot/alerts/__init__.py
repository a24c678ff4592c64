"""
Alerts of the gateway itself, for operators without Prometheus.

    events --> AlertEvents --> conditions --> AlertState --> Notices --> chat, webhook
    (those that telemetry      (every        (hysteresis)   (what each
     records)                   second)                      way was told)

`table.py` has all alerts; their names are those of the Prometheus rules.
"""

from __future__ import annotations

from crocbot.alerts.alerts import Alerts, alert_ways
from crocbot.alerts.conditions import GatewayState
from crocbot.alerts.events import AlertEvents
from crocbot.alerts.keep import SCHEMA, AlertKeeper
from crocbot.alerts.trial import TryResult, TryStatus, try_ways

__all__ = [
    "SCHEMA",
    "AlertEvents",
    "AlertKeeper",
    "Alerts",
    "GatewayState",
    "TryResult",
    "TryStatus",
    "alert_ways",
    "try_ways",
]
