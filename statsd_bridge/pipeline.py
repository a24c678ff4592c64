"""
THE PATH: datagrams in, series changed, everything counted.

    datagrams --> lines --> parse --> look up --> record
                    |         |          |          |
                  relay     Fault    unmapped    Refusal  --> Tally

This is the only place that counts.  The stages return what they found, good and bad.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from statsd_bridge import datagram, line
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
from statsd_bridge.series import Store
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
        table: MappingTable,
        store: Store,
        tally: Stats,
        *,
        failed: Callable[[Exception], None],
        dialect: Dialect = line.ALL,
        sources: Collection[str] = (),
        relay: Callable[[Sequence[bytes]], None] | None = None,
    ) -> None:
        self.table = table
        self.by_lane = 0
        """Samples for which the table was not asked, since it had been before."""
        self.unmapped: Recent[tuple[str, str]] = Recent()
        """Names that no rule took, each with its kind."""
        self.refused: Recent[tuple[bytes, str]] = Recent()
        """Lines of which something was refused, each with the reason."""
        self._store = store
        self._tally = tally
        self._dialect = dialect
        self._failed = failed
        self._relay = relay
        self._sources = {source.encode(): source for source in sources}

    def feed(self, datagrams: Sequence[bytes], transport: str) -> None:
        """Take a batch of datagrams that came by a transport, `udp` for one."""
        if not datagrams:
            return
        self._tally.packets[transport] += len(datagrams)
        self.take(datagram.lines(datagrams), transport)

    def take(self, lines: Sequence[bytes], transport: str) -> None:
        """Take lines that came by a transport."""
        self._tally.lines_by_transport[transport] += len(lines)
        if self._relay is not None:
            self._relay(lines)
        self._tally.lines += len(lines)
        self._one_by_one(lines)

    def settle(self) -> None:
        """Do what was put off; here is nothing."""

    def _one_by_one(self, lines: Sequence[bytes]) -> None:
        for each in lines:
            try:
                self._line(each)
            except Exception as error:
                self._failed(error)

    def _line(self, text: bytes) -> Parsed | None:
        """Take a line; returns what it says unless something of it was refused."""
        tally = self._tally
        is_good = True
        if self._sources:
            source = self._sources.get(text.partition(b".")[0])
            if source is not None:
                tally.lines_by_source[source] += 1
        parsed = line.parse(text, self._dialect)
        tally.samples += parsed.attempted
        tally.tags += parsed.tagged
        tally.tag_errors += parsed.tag_errors
        if parsed.dogstatsd:
            tally.dogstatsd_dropped[parsed.dogstatsd] += 1
        for fault in parsed.faults:
            tally.sample_errors[fault.reason] += 1
            self.refused.add((text[:LONGEST], fault.reason))
            is_good = False
        # What many samples of one line mean is asked once.
        known: Known | None = {} if len(parsed.samples) > 1 else None
        for sample in parsed.samples:
            refusal = self._sample(sample, known)
            if refusal is not None:
                self._refused(refusal, sample.weight)
                self.refused.add((text[:LONGEST], refusal.reason))
                is_good = False
        return parsed if is_good else None

    def _look_up(self, sample: Sample, known: Known) -> tuple[Match, SeriesSpec]:
        key = sample.kind, id(sample.labels)
        found = known.get(key)
        if found is not None:
            self.by_lane += 1
            return found
        match = self.table.look_up(sample.kind, sample.name)
        name, labels, form, _ = match.target(sample.labels)
        found = match, SeriesSpec(name, labels, form, format_labels(labels))
        known[key] = found
        return found

    def _sample(self, sample: Sample, known: Known | None) -> Rejection | None:
        tally = self._tally
        if known is None:
            match = self.table.look_up(sample.kind, sample.name)
            target = match.target(sample.labels)
        else:
            match, target = self._look_up(sample, known)
        if match.action is Action.UNMAPPED:
            tally.unmapped += sample.weight
            self.unmapped.add((sample.name[:LONGEST], sample.kind), sample.weight)
        elif match.action is Action.DROP:
            tally.actions[Action.DROP] += sample.weight
            return None
        elif match.name:
            tally.actions[Action.MAP] += sample.weight
        refusal = self._store.record(target, sample)
        if refusal is None:
            tally.events[sample.kind] += sample.weight
        return refusal

    def _refused(self, refusal: Rejection, weight: int) -> None:
        tally = self._tally
        # A name may be as long as a datagram, and a thousand of these are kept.
        name = refusal.name if len(refusal.name) <= LONGEST else OTHER
        if refusal.reason is EventError.CONFLICT:
            kind = str(refusal.kind)
            _add_bounded(tally.conflicts, (kind, name), (kind, OTHER), weight)
        elif refusal.reason is EventError.SERIES_LIMIT:
            _add_bounded(tally.series_refused, name, OTHER, weight)
        else:
            tally.event_errors[refusal.reason] += weight


def _add_bounded(counts: Counter[Key], key: Key, other: Key, by: int) -> None:
    """Count under a name that a sender chose, or under another when there are many."""
    counts[key if key in counts or len(counts) < MOST_NAMES else other] += by
