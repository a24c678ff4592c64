"""Bugs of the bridge: an unexpected exception is counted, logged and survived."""

from __future__ import annotations

from statsd_bridge.log import RateLimitedLog
from statsd_bridge.model import Stats


class BugReporter:
    """Counts unexpected exceptions in `stats.bugs`, and logs one a minute."""

    def __init__(self, stats: Stats) -> None:
        self._stats = stats
        self._log = RateLimitedLog()

    def report(self, error: Exception) -> None:
        """Count and log an exception; the caller leaves out what raised it."""
        self._stats.bugs += 1
        self._log.error("a bug, please report it", exc_info=error)
