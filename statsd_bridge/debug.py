"""
The path at --log.level=debug: each line and each refusal is logged.  Read pipeline.py.

    ... level=debug event="line received" transport=udp line=a:x|c
    ... level=debug event=refused reason=malformed_value line=a:x|c

At most MAX_LOGGED_LINES a second are logged; the number of those left out follows once
the second is over.  At other levels nothing of this module is in use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from statsd_bridge import datagram, log
from statsd_bridge.fastpath import AnyPipeline
from statsd_bridge.mapping import MappingTable
from statsd_bridge.memory import Account
from statsd_bridge.model import Clock
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.recent import Recent
from statsd_bridge.syntax import decode_escaped

MAX_LOGGED_LINES = 1_000
"""Lines of the log in a second."""

MAX_LOGGED_BYTES = 4_096
"""Bytes of a line that are logged: as many as a TCP line may have."""


class DebugLog:
    """Logs lines and refusals, MAX_LOGGED_LINES a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._second = 0
        self._logged = self._left_out = 0
        self._log = log.logger(__name__)

    @property
    def is_exhausted(self) -> bool:
        """Return whether nothing more is logged in this second."""
        self.report_left_out()
        return self._logged >= MAX_LOGGED_LINES

    def received(self, line: bytes, transport: str) -> None:
        """Log a line that arrived."""
        if self._admit():
            text = decode_escaped(line[:MAX_LOGGED_BYTES])
            self._log.debug("line received", transport=transport, line=text)

    def relayed(self, line: bytes, transport: str, target: str) -> None:
        """Log a line that arrived and is only relayed."""
        if self._admit():
            text = decode_escaped(line[:MAX_LOGGED_BYTES])
            self._log.debug(
                "line relayed", transport=transport, line=text, target=target
            )

    def refused(self, line: bytes, reason: str) -> None:
        """Log that a line, or a sample or tag in it, is refused."""
        if self._admit():
            text = decode_escaped(line[:MAX_LOGGED_BYTES])
            self._log.debug("refused", reason=reason, line=text)

    def refused_stream(self, reason: str, count: int) -> None:
        """Log lines or connections of streams that are refused and not at hand."""
        if self._admit():
            self._log.debug("refused", reason=reason, count=count)

    def leave_out(self, lines: int) -> None:
        """Count lines that are not logged."""
        self._left_out += lines

    def report_left_out(self) -> None:
        """Log how many lines an earlier second left out; begin a new second."""
        second = int(self._clock())
        if second == self._second:
            return
        self._second, self._logged = second, 0
        left_out, self._left_out = self._left_out, 0
        if left_out:
            self._log.debug("lines left out", count=left_out)

    def _admit(self) -> bool:
        if self.is_exhausted:
            self._left_out += 1
            return False
        self._logged += 1
        return True


class LoggedRefusals(Recent[tuple[bytes, str]]):
    """The recent lines with a parse error or a rejected sample, each logged."""

    def __init__(self, debug_log: DebugLog, account: Account | None = None) -> None:
        super().__init__(account)
        self._log = debug_log

    def add(self, key: tuple[bytes, str], count: int = 1) -> None:
        """Add and log a line and the reason."""
        super().add(key, count)
        self._log.refused(*key)


class DebugPipeline:
    """
    A pipeline that logs lines in front of another one, which processes the others.

    Lines that are logged pass the plain pipeline one by one, so that a refusal follows
    its line.  Once a second is exhausted the rest goes to the other pipeline in
    batches: a flood costs as little as at level info.
    """

    def __init__(
        self, pipeline: AnyPipeline, plain: Pipeline, debug_log: DebugLog
    ) -> None:
        self.stats, self.bugs = plain.stats, plain.bugs
        self._pipeline = pipeline
        self._plain = plain
        self._log = debug_log
        self._logged_streams: Counter[str] = Counter()

    def replace_table(self, table: MappingTable) -> None:
        """Apply another mapping from the next line on."""
        self._pipeline.replace_table(table)

    def flush(self) -> None:
        """Record all buffered numbers."""
        self._pipeline.flush()
        self._log_streams()
        self._log.report_left_out()

    def seen_lines(self) -> list[bytes]:
        """Return lines that were seen, besides those of the plain pipeline."""
        return self._pipeline.seen_lines()

    def feed(self, datagrams: Sequence[bytes], transport: str) -> None:
        """Process datagrams; `transport` is "udp" or "unixgram"."""
        if self._log.is_exhausted:
            self._log.leave_out(len(datagram.split_datagrams(datagrams)))
            self._pipeline.feed(datagrams, transport)
        elif datagrams:
            self.stats.packets[transport] += len(datagrams)
            self._feed_each(datagram.split_datagrams(datagrams), transport)

    def feed_lines(self, lines: Sequence[bytes], transport: str) -> None:
        """Process lines; `transport` is also "tcp" or "unixstream"."""
        self._log_streams()
        if self._log.is_exhausted:
            self._log.leave_out(len(lines))
            self._pipeline.feed_lines(lines, transport)
        else:
            self._feed_each(lines, transport)

    def _log_streams(self) -> None:
        """Log what the listeners of streams have counted since the last call."""
        counted = self.stats.tcp - self._logged_streams
        for reason, count in counted.items():
            if reason != "connections":
                self._log.refused_stream(reason, count)
        self._logged_streams += counted

    def _feed_each(self, lines: Sequence[bytes], transport: str) -> None:
        if self._plain.relay is not None:
            self._plain.relay.forward(lines)
        self._plain.count_lines(len(lines), transport)
        for line in lines:
            if line:
                self._log.received(line, transport)
            tag_errors = self.stats.tag_errors
            dropped = self.stats.dogstatsd_dropped.total()
            self._plain.feed_line(line)
            if self.stats.tag_errors > tag_errors:
                self._log.refused(line, "tag_error")
            if self.stats.dogstatsd_dropped.total() > dropped:
                self._log.refused(line, "dogstatsd_event_or_service_check")
