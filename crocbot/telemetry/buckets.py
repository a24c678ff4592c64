"""Histograms: upper bounds of buckets, in seconds, and the query of a quantile."""

from __future__ import annotations

# A model can take minutes.
TURN_BUCKETS = (
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    *(10.0, 30.0, 60.0, 120.0, 300.0, 600.0),
)
# A poll waits for half a minute; all other calls should be quick.
API_CALL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# Telegram gives the time of a message in whole seconds, and keeps it for a day.
LAG_BUCKETS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)
PAUSE_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


def quantile_query(quantile: float, name: str) -> str:
    """Return the PromQL of a quantile of a histogram over five minutes."""
    return f"histogram_quantile({quantile}, sum by (le) (rate({name}_bucket[5m])))"
