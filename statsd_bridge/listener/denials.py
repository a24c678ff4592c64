"""Which senders are allowed, and the count of the packets and connections of others."""

from __future__ import annotations

from collections.abc import Sequence

from statsd_bridge.log import RateLimitedLog
from statsd_bridge.model import Stats
from statsd_bridge.networks import AllowedSenders, Network


class Denials:
    """
    The allowed senders of UDP and TCP; counts and logs what others send.

    A line of the log, at most one a minute and transport, names one of the senders.
    """

    def __init__(self, networks: Sequence[Network], stats: Stats) -> None:
        self.senders = AllowedSenders(networks)
        self._counts = stats.packets_denied
        self._logs = {"udp": RateLimitedLog(), "tcp": RateLimitedLog()}

    def record(self, transport: str, sender: str, count: int) -> None:
        """Count denied packets or connections."""
        self._counts[transport] += count
        self._logs[transport].warning(
            "a sender is denied, its packets are dropped; --statsd.allow-from has no"
            " network with it",
            transport=transport,
            sender=sender,
        )
