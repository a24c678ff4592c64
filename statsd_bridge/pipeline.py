"""
THE PATH: from datagrams to series, composed.  Read this second, after model.py.

    datagrams --> lines --> parse --> look up --> record
                    |         |          |          |
                  relay  ParseError  unmapped   Rejection  --> Stats

The stages return what they found, errors included, and only this file decides what a
line means.  fastpath/ repeats that for lines which differ in their number only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from sys import getsizeof
from typing import NamedTuple

from statsd_bridge import datagram
from statsd_bridge.line import DEFAULT_DIALECT, Dialect, parse_line
from statsd_bridge.log import BugReporter
from statsd_bridge.mapping import MappingTable, Match
from statsd_bridge.model import (
    MAX_TEXT_LENGTH,
    Action,
    CacheStats,
    Parsed,
    Rejection,
    RejectionReason,
    Sample,
    SampleType,
    SeriesSpec,
    Stats,
)
from statsd_bridge.recent import Recent, RecentSamples
from statsd_bridge.relay import Relay
from statsd_bridge.series import Series, SeriesStore
from statsd_bridge.syntax import format_labels

MAX_LABEL_VALUES = 1_000
"""
Maximum number of metric names that are label values of one self-metric.  Senders choose
them; further names, and those without memory, count as `other`.
"""

LABEL_VALUE_BYTES = 240
"""A key of a counter besides its metric name."""

OTHER = "other"
"""The label value for all further metric names."""

LIMIT_REASONS = {
    RejectionReason.SERIES_LIMIT: "series",
    RejectionReason.MEMORY_LIMIT: "memory",
    RejectionReason.QUOTA: "quota",
}
"""`reason` of statsd_bridge_series_refused_total."""


class RecordedLine(NamedTuple):
    """A line with one sample and no errors, and the series that it was recorded in."""

    parsed: Parsed
    match: Match
    series: Series | None
    """None if the mapping drops the name."""


class Pipeline:
    """
    The path, one line at a time.  Owned by the reactor's thread.

    An exception on a line is a bug: it goes to `bugs`, and the next line is processed.
    `sources` are first segments of names whose lines are counted.
    """

    def __init__(
        self,
        *,
        table: MappingTable,
        store: SeriesStore,
        stats: Stats,
        bugs: BugReporter,
        dialect: Dialect = DEFAULT_DIALECT,
        sources: Collection[str] = (),
        relay: Relay | None = None,
        failed_lines: Recent[tuple[bytes, str]] | None = None,
    ) -> None:
        self.table = table
        self.store = store
        self.stats = stats
        self.bugs = bugs
        self.relay = relay
        self._account = store.memory.diagnostics
        table.start_use(store.memory.matches)
        self.unmapped_names: Recent[tuple[str, str]] = Recent(self._account)
        """Names that no rule matches, with the type of the sample."""
        self.failed_lines = failed_lines or Recent(self._account)
        """Lines with a parse error or a rejected sample, with the reason."""
        self.recent_samples = RecentSamples(self._account)
        """What was seen here, for a trial of another mapping."""
        self.dialect = dialect
        self._sources = {source.encode(): source for source in sources}
        # Look-ups answered without the cache, plus those of replaced tables.
        self._extra_gets = self._extra_hits = 0

    @property
    def cache(self) -> CacheStats:
        """The length of the cache, all look-ups, those without a search of rules."""
        length, gets, hits = self.table.cache
        return CacheStats(length, gets + self._extra_gets, hits + self._extra_hits)

    def replace_table(self, table: MappingTable) -> None:
        """Apply another mapping from the next line on."""
        _, self._extra_gets, self._extra_hits = self.cache
        self.table.end_use()
        self.table = table
        table.start_use(self.store.memory.matches)

    def count_saved_look_ups(self, look_ups: int) -> None:
        """Count look-ups that were answered without the cache, as hits."""
        self._extra_gets += look_ups
        self._extra_hits += look_ups

    def feed(self, datagrams: Sequence[bytes], transport: str) -> None:
        """Process datagrams; `transport` is "udp" or "unixgram"."""
        if datagrams:
            self.stats.packets[transport] += len(datagrams)
            self.feed_lines(datagram.split_datagrams(datagrams), transport)

    def feed_lines(self, lines: Sequence[bytes], transport: str) -> None:
        """Process lines; `transport` is also "tcp" or "unixstream"."""
        if self.relay is not None:
            self.relay.forward(lines)
        self.feed_relayed_lines(lines, transport)

    def feed_relayed_lines(self, lines: Sequence[bytes], transport: str) -> None:
        """Process lines that are relayed already."""
        self.count_lines(len(lines), transport)
        for line in lines:
            self.feed_line(line)

    def flush(self) -> None:
        """Do nothing: nothing is buffered here."""

    def seen_lines(self) -> list[bytes]:
        """Return nothing: what is seen here is in `recent_samples`."""
        return []

    def count_lines(self, lines: int, transport: str) -> None:
        """Count lines that arrived."""
        self.stats.lines += lines
        self.stats.lines_by_transport[transport] += lines

    @property
    def has_sources(self) -> bool:
        """Whether lines are counted by the first segment of their name."""
        return bool(self._sources)

    def source_of(self, line: bytes) -> str:
        """Return the first segment of a line if its lines are counted, else ""."""
        return self._sources.get(line.partition(b".")[0], "")

    def feed_line(self, line: bytes) -> RecordedLine | None:
        """
        Process one line, which the caller counts with `count_lines`.

        Return what was found if that is one good sample and nothing else.
        """
        try:
            return self._feed_line(line)
        except Exception as error:
            self.bugs.report(error)
            return None

    def _feed_line(self, line: bytes) -> RecordedLine | None:
        if self._sources and (source := self.source_of(line)):
            self.stats.lines_by_source[source] += 1
        parsed = parse_line(line, self.dialect)
        self._count_parsed(line, parsed)
        if len(parsed.samples) == 1:
            sample = parsed.samples[0]
            self.recent_samples.add(sample)
            match = self.table.look_up(sample.type, sample.name)
            outcome = self._record(sample, match, match.spec(sample.labels))
            if not isinstance(outcome, Rejection):
                is_good = parsed.attempted == 1 and not parsed.errors
                return RecordedLine(parsed, match, outcome) if is_good else None
            self._count_rejection(line, outcome, sample.weight)
        elif parsed.samples:
            self._feed_samples(line, parsed.samples)
        return None

    def _feed_samples(self, line: bytes, samples: Sequence[Sample]) -> None:
        """Process the samples of one line: one name, and often the same labels."""
        destinations: dict[tuple[SampleType, int], tuple[Match, SeriesSpec]] = {}
        for sample in samples:
            # Labels are compared by identity: the parser makes them once.
            key = sample.type, id(sample.labels)
            destination = destinations.get(key)
            if destination is None:
                self.recent_samples.add(sample)
                match = self.table.look_up(sample.type, sample.name)
                spec = match.spec(sample.labels)
                spec = spec._replace(label_text=format_labels(spec.labels))
                destination = destinations[key] = match, spec
            outcome = self._record(sample, *destination)
            if isinstance(outcome, Rejection):
                self._count_rejection(line, outcome, sample.weight)
        self.count_saved_look_ups(len(samples) - len(destinations))

    def _record(
        self, sample: Sample, match: Match, spec: SeriesSpec
    ) -> Series | Rejection | None:
        """Record a sample and count the event; None if the mapping drops it."""
        stats, weight = self.stats, sample.weight
        if match.action is Action.UNMAPPED:
            stats.unmapped += weight
            self.unmapped_names.add(
                (sample.name[:MAX_TEXT_LENGTH], sample.type), weight
            )
        elif match.action is Action.DROP:
            stats.actions[Action.DROP] += weight
            self.table.hits[match.rule_index] += weight
            return None
        elif not match.untagged.name:
            # Like in statsd_exporter, before all other reasons.
            return Rejection(RejectionReason.EMPTY_METRIC_NAME, sample.type, "")
        else:
            stats.actions[Action.MAP] += weight
            self.table.hits[match.rule_index] += weight
        outcome = self.store.record(spec, sample)
        if not isinstance(outcome, Rejection):
            stats.events[sample.type] += weight
        return outcome

    def _count_parsed(self, line: bytes, parsed: Parsed) -> None:
        stats = self.stats
        stats.samples += parsed.attempted
        stats.tags += parsed.tagged
        stats.tag_errors += parsed.tag_errors
        if parsed.dogstatsd:
            stats.dogstatsd_dropped[parsed.dogstatsd] += 1
        for error in parsed.errors:
            stats.sample_errors[error.reason] += 1
            self.failed_lines.add((line[:MAX_TEXT_LENGTH], error.reason))

    def _count_rejection(self, line: bytes, rejection: Rejection, weight: int) -> None:
        self.failed_lines.add((line[:MAX_TEXT_LENGTH], rejection.reason))
        stats, reason = self.stats, rejection.reason
        # A name may be as long as a datagram, and a thousand of them are kept.
        name = rejection.name if len(rejection.name) <= MAX_TEXT_LENGTH else OTHER
        if reason is RejectionReason.CONFLICT:
            self._add_bounded(stats.conflicts, (str(rejection.type), name), weight)
        elif limit := LIMIT_REASONS.get(reason):
            self._add_bounded(stats.series_refused, (limit, name), weight)
        else:
            stats.event_errors[reason] += weight

    def _add_bounded(
        self, counts: Counter[tuple[str, str]], key: tuple[str, str], weight: int
    ) -> None:
        """Add to the count of a word and a name; `other` if there are too many."""
        if key not in counts:
            size = LABEL_VALUE_BYTES + getsizeof(key[1])
            if len(counts) >= MAX_LABEL_VALUES or not self._account.reserve(size):
                key = key[0], OTHER
        counts[key] += weight
