"""
A pipeline of a sharding bridge: in front of another one, which gets what stays here.

    datagrams --> lines --> relay --> one target
                              |
                              '--> lines that no target gets --> the other pipeline

Without --statsd.relay.mode=shard nothing of this module is in use.
"""

from __future__ import annotations

from collections.abc import Sequence

from statsd_bridge import datagram
from statsd_bridge.debug import DebugLog
from statsd_bridge.fastpath import AnyPipeline
from statsd_bridge.mapping import MappingTable
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.relay import ShardRelay


class ShardingPipeline:
    """
    Relays lines to the targets of their metrics, and counts them as received.

    What is in them is counted by their target; `rest` processes, and counts, the
    others: those that a rule drops and those without a readable name.
    """

    def __init__(
        self,
        rest: AnyPipeline,
        *,
        plain: Pipeline,
        relay: ShardRelay,
        debug_log: DebugLog | None = None,
    ) -> None:
        self.stats, self.bugs = plain.stats, plain.bugs
        self._rest = rest
        self._plain = plain
        self._relay = relay
        self._debug_log = debug_log

    def replace_table(self, table: MappingTable) -> None:
        """Apply another mapping from the next line on."""
        self._rest.replace_table(table)
        self._relay.replace_table(table)

    def feed(self, datagrams: Sequence[bytes], transport: str) -> None:
        """Relay datagrams; `transport` is "udp" or "unixgram"."""
        if datagrams:
            self.stats.packets[transport] += len(datagrams)
            self.feed_lines(datagram.split_datagrams(datagrams), transport)

    def feed_lines(self, lines: Sequence[bytes], transport: str) -> None:
        """Relay lines; `transport` is also "tcp" or "unixstream"."""
        if self._debug_log is not None:
            self._log(lines, transport)
        here = self._relay.forward(lines)
        self._plain.count_lines(len(lines) - len(here), transport)
        if here:
            self._rest.feed_lines(here, transport)

    def flush(self) -> None:
        """Record all buffered numbers."""
        self._rest.flush()

    def seen_lines(self) -> list[bytes]:
        """Return lines that were seen and stayed here."""
        return self._rest.seen_lines()

    def _log(self, lines: Sequence[bytes], transport: str) -> None:
        """Log lines that are relayed; the other pipeline logs the others."""
        for line in lines:
            if self._debug_log is None or self._debug_log.is_exhausted:
                break
            if target := self._relay.target_of(line):
                self._debug_log.relayed(line, transport, target)
