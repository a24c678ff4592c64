"""
THE PATH: datagrams in, series changed, everything counted.

    datagrams --> lines --> parse --> look up --> record
                    |         |          |          |
                  relay     Fault    unmapped    Refusal  --> Tally

This is the only place that counts.  The stages return what they found, good and bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TypeVar

from statsd_bridge import datagram, line
from statsd_bridge.bugs import BugReporter
from statsd_bridge.line import Dialect
from statsd_bridge.mapping import MappingTable, Match
from statsd_bridge.model import (
    Action,
    EventError,
    Parsed,
    Rejection,
    Sample,
    SampleType,
    SeriesSpec,
    Stats,
)
from statsd_bridge.recent import LONGEST, Recent
from statsd_bridge.relay import Relay
from statsd_bridge.series import SeriesStore
from statsd_bridge.text import format_labels

MOST_NAMES = 1_000
"""Names that senders choose and that become labels of our own metrics."""

OTHER = "other"

Key = TypeVar("Key")

Known = dict[tuple[SampleType, int], tuple[Match, SeriesSpec]]
"""What samples of one line mean, by kind and labels; these are known by identity."""


class Pipeline:
    """
    The stages, composed.  Owned by the reactor's thread.

    `table` may be replaced at any time between two batches.  `failed` is told of a bug
    of ours that one line brought out; the other lines of the batch go on.  `relay` gets
    all lines as they came.  Before anybody looks at store or tally: `settle`.
    """

    def __init__(
        self,
        *,
        table: MappingTable,
        store: SeriesStore,
        stats: Stats,
        bugs: BugReporter,
        dialect: Dialect = line.DEFAULT_DIALECT,
        sources: Collection[str] = (),
        relay: Relay | None = None,
    ) -> None:
        self.table = table
        self.fast_samples = 0
        """Samples for which the table was not asked, since it had been before."""
        self.unmapped_names: Recent[tuple[str, str]] = Recent()
        """Names that no rule took, each with its kind."""
        self.rejected_lines: Recent[tuple[bytes, str]] = Recent()
        """Lines of which something was refused, each with the reason."""
        self._store = store
        self._stats = stats
        self._dialect = dialect
        self._bugs = bugs
        self._relay = relay
        self._sources = {source.encode(): source for source in sources}

    def feed(self, datagrams: Sequence[bytes], transport: str) -> None:
        """Take a batch of datagrams that came by a transport, `udp` for one."""
        if not datagrams:
            return
        self._stats.packets[transport] += len(datagrams)
        self.feed_lines(datagram.lines(datagrams), transport)

    def feed_lines(self, lines: Sequence[bytes], transport: str) -> None:
        """Take lines that came by a transport."""
        self._stats.lines_by_transport[transport] += len(lines)
        if self._relay is not None:
            self._relay.forward(lines)
        self._stats.lines += len(lines)
        self._one_by_one(lines)

    def flush(self) -> None:
        """Do what was put off; here is nothing."""

    def _one_by_one(self, lines: Sequence[bytes]) -> None:
        for each in lines:
            try:
                self._line(each)
            except Exception as error:
                self._bugs.report(error)

    def _line(self, text: bytes) -> Parsed | None:
        """Take a line; returns what it says unless something of it was refused."""
        stats = self._stats
        is_good = True
        if self._sources:
            source = self._sources.get(text.partition(b".")[0])
            if source is not None:
                stats.lines_by_source[source] += 1
        parsed = line.parse(text, self._dialect)
        stats.samples += parsed.attempted
        stats.tags += parsed.tagged
        stats.tag_errors += parsed.tag_errors
        if parsed.dogstatsd:
            stats.dogstatsd_dropped[parsed.dogstatsd] += 1
        for fault in parsed.errors:
            stats.sample_errors[fault.reason] += 1
            self.rejected_lines.add((text[:LONGEST], fault.reason))
            is_good = False
        # What many samples of one line mean is asked once.
        known: Known | None = {} if len(parsed.samples) > 1 else None
        for sample in parsed.samples:
            rejection = self._sample(sample, known)
            if rejection is not None:
                self._refused(rejection, sample.weight)
                self.rejected_lines.add((text[:LONGEST], rejection.reason))
                is_good = False
        return parsed if is_good else None

    def _look_up(self, sample: Sample, known: Known) -> tuple[Match, SeriesSpec]:
        key = sample.type, id(sample.labels)
        found = known.get(key)
        if found is not None:
            self.fast_samples += 1
            return found
        match = self.table.look_up(sample.type, sample.name)
        name, labels, options, _ = match.spec(sample.labels)
        found = match, SeriesSpec(name, labels, options, format_labels(labels))
        known[key] = found
        return found

    def _sample(self, sample: Sample, known: Known | None) -> Rejection | None:
        stats = self._stats
        if known is None:
            match = self.table.look_up(sample.type, sample.name)
            target = match.spec(sample.labels)
        else:
            match, target = self._look_up(sample, known)
        if match.action is Action.UNMAPPED:
            stats.unmapped += sample.weight
            self.unmapped_names.add((sample.name[:LONGEST], sample.type), sample.weight)
        elif match.action is Action.DROP:
            stats.actions[Action.DROP] += sample.weight
            return None
        elif match.name:
            stats.actions[Action.MAP] += sample.weight
        rejection = self._store.record(target, sample)
        if rejection is None:
            stats.events[sample.type] += sample.weight
        return rejection

    def _refused(self, rejection: Rejection, weight: int) -> None:
        stats = self._stats
        # A name may be as long as a datagram, and a thousand of these are kept.
        name = rejection.name if len(rejection.name) <= LONGEST else OTHER
        if rejection.reason is EventError.CONFLICT:
            kind = str(rejection.type)
            _add_bounded(stats.conflicts, (kind, name), (kind, OTHER), weight)
        elif rejection.reason is EventError.SERIES_LIMIT:
            _add_bounded(stats.series_refused, name, OTHER, weight)
        else:
            stats.event_errors[rejection.reason] += weight


def _add_bounded(counts: Counter[Key], key: Key, other: Key, by: int) -> None:
    """Count under a name that a sender chose, or under another when there are many."""
    counts[key if key in counts or len(counts) < MOST_NAMES else other] += by
