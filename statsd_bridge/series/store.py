"""
All series, by metric name and labels: created by samples, removed by expiry.

- The type of a name is that of its first sample, until its last series has expired.
- No two families print the same name (`Families`).
- A rejected sample changes nothing.  The limits of series and memory and the quotas of
  names reject new series, memory also new members of sets.
- Recording a sample only assigns `last_update`; the expiry heap orders the series that
  have a ttl.  Growing series (sets, summaries) are looked at in turn, whether or not
  there are samples or scrapes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator
from sys import getsizeof

from statsd_bridge.memory import (
    EXPIRY_BYTES,
    TABLE_BYTES,
    MemoryBudget,
    label_names_size,
    series_size,
)
from statsd_bridge.model import (
    Clock,
    Labels,
    MetricOptions,
    MetricType,
    NativeMode,
    Rejection,
    RejectionReason,
    Sample,
    SampleType,
    SeriesSpec,
)
from statsd_bridge.series.base import GrowingSeries, Series
from statsd_bridge.series.creation import SeriesFactory
from statsd_bridge.series.expiry import ExpiryHeap
from statsd_bridge.series.families import Families
from statsd_bridge.series.family import LabelNames, MetricFamily, SeriesKind
from statsd_bridge.series.family_quotas import FamilyQuotas
from statsd_bridge.series.histogram import Histogram
from statsd_bridge.series.limits import (
    DEFAULT_TEXT_LIMITS,
    TextLimits,
    has_reserved_label,
)
from statsd_bridge.series.listener import SeriesListener
from statsd_bridge.series.native_policy import NativePolicy
from statsd_bridge.series.new import (
    NewSeries,
    counter_rejection,
    find_series,
    scaled,
    text_of_labels,
)
from statsd_bridge.series.quota import NoQuotas, Quotas
from statsd_bridge.series.rotation import Rotation
from statsd_bridge.series.set import MEMBER_BYTES, MemberHash, hash_of_process

EXPIRY_STEPS = 5_000
"""Series, members and sketches that are removed at once, about 10 ms of work."""

FIRST_SAMPLE_BYTES = EXPIRY_BYTES + MEMBER_BYTES
"""What the first sample of a new series can take besides the series."""


class SeriesStore:
    """
    All series of a bridge.  Owned by the reactor's thread; it has no locks.

    `reserved` are the names of the self-metrics.  `set_window` is in seconds.  All that
    the store holds is charged to the series' account of `memory`.
    """

    def __init__(
        self,
        *,
        max_series: int = 1_000_000,
        set_window: float = 60.0,
        set_hash: MemberHash = hash_of_process,
        native_mode: NativeMode = NativeMode.AUTO,
        text_limits: TextLimits = DEFAULT_TEXT_LIMITS,
        reserved: Collection[str] = (),
        quotas: Quotas | None = None,
        memory: MemoryBudget | None = None,
        clock: Clock,
        wall_clock: Clock = time.time,
    ) -> None:
        self.label_names_total: dict[MetricType, int] = {}
        """Pairs of a metric name and its label names ever created, by type."""
        self.listener: SeriesListener | None = None
        self.memory = memory or MemoryBudget()
        self._account = self.memory.series
        self._text_limits = text_limits
        self._max_series = max_series
        self._clock = clock
        self.native = NativePolicy(native_mode, self._account, clock())
        """Which histograms have native buckets."""
        self.by_name = Families(reserved)
        """The families; only the store changes them."""
        self.quotas = FamilyQuotas(NoQuotas() if quotas is None else quotas)
        self._expiry = ExpiryHeap()
        self._growing = Rotation()
        self.factory = SeriesFactory(
            native=self.native,
            growing=self._growing,
            account=self._account,
            set_window=set_window,
            set_hash=set_hash,
            wall_clock=wall_clock,
        )
        """Makes series; only the store uses it."""
        # The spec of the last line with many samples, and why it was rejected: checks
        # take a time that grows with the labels.
        self._last_rejected: tuple[SeriesSpec | None, RejectionReason | None] = (
            None,
            None,
        )
        self._size = 0

    def __len__(self) -> int:
        """Return the number of series."""
        return self._size

    def now(self) -> float:
        """Return the time of the clock by which series expire, in seconds."""
        return self._clock()

    def record(self, spec: SeriesSpec, sample: Sample) -> Series | Rejection:
        """Add a sample to its series, which is created if necessary; return it."""
        value = scaled(spec, sample)
        # Not `value < 0`: NaN compares with nothing.
        if sample.type is SampleType.COUNTER and not value >= 0:
            return Rejection(counter_rejection(value), sample.type, spec.name)
        now = self._clock()
        series = self._get_or_create(spec, sample.type, now)
        if isinstance(series, Rejection):
            return series
        if isinstance(series, GrowingSeries) and not series.has_room_for(sample):
            return Rejection(RejectionReason.MEMORY_LIMIT, sample.type, spec.name)
        if self.listener is not None:
            self.listener.before_record(series, spec.options.ttl, now)
        # Before the sample: a series that raises an exception still has to expire.
        if spec.options.ttl or series.ttl:
            self._touch(series, text_of_labels(spec), spec.options.ttl, now)
        series.record(sample, value, now)
        return series

    def series_like(
        self, label_names: LabelNames, label_text: str, ttl: float, now: float
    ) -> Series | None:
        """
        Return a series for a sample, created if necessary; None if it is refused.

        Its name and the names of its labels are those of another series, so they need
        no checks.  `label_text` is ASCII, its values need no escapes, and none is too
        long if all labels together are not.
        """
        family = label_names.family
        table = family.table
        series = family.find(label_text) if table is None else table.get(label_text)
        if series is None:
            kind, account, count = label_names.kind, self._account, family.use_count
            size = kind.series_bytes
            if label_text:
                size += getsizeof(label_text)
            if table is None:
                size += TABLE_BYTES
            else:
                count = len(table)
            if (
                len(label_text) > self._text_limits.label_value
                or self._size >= self._max_series
                or (
                    count >= family.quota.max_series
                    and not self.quotas.has_room(family)
                )
                or account.used + size + FIRST_SAMPLE_BYTES > account.limit
            ):
                return None
            # The same as _make, without the call.
            series = self.factory.make(kind.options, now)
            account.used += size
            self._size += 1
            family.add(label_text, label_names, series)
        elif self.listener is not None:
            self.listener.before_record(series, ttl, now)
        if ttl or series.ttl:
            self._touch(series, label_text, ttl, now)
        return series

    def restore(self, spec: SeriesSpec, ttl: float, now: float) -> Series | Rejection:
        """
        Return a new series, for values that were last updated at `now`.

        A series that exists is a conflict.
        """
        before = self._size
        series = self._get_or_create(spec, SampleType.GAUGE, now)
        if not isinstance(series, Rejection) and self._size == before:
            return Rejection(RejectionReason.CONFLICT, SampleType.GAUGE, spec.name)
        if ttl and not isinstance(series, Rejection):
            self._touch(series, text_of_labels(spec), ttl, now)
        return series

    def allow_labels(self, labels: Labels, options: MetricOptions) -> SeriesKind | None:
        """Return the kind of series with labels that are not reserved or too long."""
        spec = SeriesSpec("", labels, options)
        if has_reserved_label(spec) or self._text_limits.rejection_reason(spec, None):
            return None
        return SeriesKind(tuple([name for name, _ in labels]), options)

    def new_family(
        self, name: str, kind: SeriesKind, label_text: str, now: float
    ) -> Series | None:
        """
        Return the first series of a metric that has none; None if it is refused.

        Its labels were allowed.  The same holds for `label_text`.
        """
        options, families, account = kind.options, self.by_name, self._account
        size = kind.lone_bytes + len(name)
        if label_text:
            size += getsizeof(label_text)
        if (
            not 0 < len(name) <= self._text_limits.name
            or len(label_text) > self._text_limits.label_value
            or self._size >= self._max_series
            or families.would_conflict(name, options.type)
            or account.used + size + FIRST_SAMPLE_BYTES > account.limit
        ):
            return None
        # The same as _make, without the call.
        series = self.factory.make(options, now)
        account.used += size
        self._size += 1
        families[name] = MetricFamily(name, kind, (label_text, series))
        totals = self.label_names_total
        totals[options.type] = totals.get(options.type, 0) + 1
        if options.ttl:
            self._touch(series, label_text, options.ttl, now)
        return series

    def rejection_reason(
        self, spec: SeriesSpec, sample: Sample
    ) -> RejectionReason | None:
        """Return why `record` would reject a sample, if it would; change nothing."""
        value = scaled(spec, sample)
        if sample.type is SampleType.COUNTER and not value >= 0:
            return counter_rejection(value)
        family, label_text = self.by_name.get(spec.name), text_of_labels(spec)
        series = find_series(family, spec, label_text)
        if series is None:
            return self._rejection_reason(NewSeries(family, spec, label_text))
        if isinstance(series, GrowingSeries) and not series.has_room_for(sample):
            return RejectionReason.MEMORY_LIMIT
        return None

    def expire(self) -> None:
        """Remove all series whose ttl is over, and all that left a growing window."""
        self._growing.start_full_round()
        while not self._expire_some(sys.maxsize):
            pass

    def start_expiry(self) -> None:
        """Let `expire_some` look at another share of the growing series."""
        self._growing.start_round()

    def expire_some(self) -> bool:
        """Do a bounded part of what is due; return whether that was all."""
        return self._expire_some(EXPIRY_STEPS)

    def _expire_some(self, max_steps: int) -> bool:
        now = self._clock()
        steps = self._expire_series(now, max_steps)
        self._growing.expire(now, max_steps - steps)
        self.native.expire(self.by_name, now, max_steps)
        is_done = self._growing.is_done() and self.native.is_done()
        return is_done and not self._expiry.is_due(now)

    def _expire_series(self, now: float, max_steps: int) -> int:
        """Remove series whose ttl is over; return the entries that were looked at."""
        expiry, steps = self._expiry, 0
        while steps < max_steps and expiry.is_due(now):
            steps += 1
            expired = expiry.pop(now, self._size)
            if expired is not None:
                self._remove(*expired)
        expiry.compact(self._size)
        return steps

    def families(self) -> list[MetricFamily]:
        """Return all families, sorted by name."""
        return [each for part in self.parts_of_families() for each in part]

    def parts_of_families(self) -> Iterator[list[MetricFamily]]:
        """Return the same in parts; families may come and go between two of them."""
        return self.by_name.parts()

    def _get_or_create(
        self, spec: SeriesSpec, type: SampleType, now: float
    ) -> Series | Rejection:
        family, label_text = self.by_name.get(spec.name), text_of_labels(spec)
        series = find_series(family, spec, label_text)
        if series is not None:
            return series
        last_spec, reason = self._last_rejected
        if spec is last_spec and reason is not None:
            return Rejection(reason, type, spec.name)
        new = NewSeries(family, spec, label_text)
        reason = self._rejection_reason(new)
        if reason is None:
            return self._create(new, now)
        if spec.label_text is not None:
            self._last_rejected = spec, reason
        return Rejection(reason, type, spec.name)

    def _create(self, new: NewSeries, now: float) -> Series:
        family, label_names, options = new.family, new.label_names, new.spec.options
        if label_names is not None:
            series = self._make(label_names.kind.options, new.size, now)
            label_names.family.add(new.label_text, label_names, series)
            return series
        kind = SeriesKind(new.names, options)
        series = self._make(options, new.size, now)
        totals = self.label_names_total
        totals[options.type] = totals.get(options.type, 0) + 1
        if family is None:
            family = MetricFamily(new.spec.name, kind, (new.label_text, series))
            self.by_name[new.spec.name] = family
        else:
            family.add(new.label_text, family.add_label_names(kind), series)
        return series

    def _make(self, options: MetricOptions, size: int, now: float) -> Series:
        """Return a new series that is to be added; charge `size`."""
        series = self.factory.make(options, now)
        self._account.used += size
        self._size += 1
        return series

    def _touch(self, series: Series, label_text: str, ttl: float, now: float) -> None:
        """Record an update's time; a ttl changed by a reload applies from now on."""
        if ttl:
            # Without a ttl the time is not stored: a float takes 24 bytes a series.
            series.last_update = now
        if series.ttl != ttl:
            # Even beyond the limit, if a reload adds a ttl: the series has to expire.
            self._account.charge(EXPIRY_BYTES * (bool(ttl) - bool(series.ttl)))
            series.ttl = ttl
            if ttl:
                self._expiry.schedule(series, label_text, self._size)

    def _remove(self, series: Series, label_text: str) -> None:
        if self.listener is not None:
            self.listener.before_remove(series)
        size = series_size(series.options, label_text)
        if series.ttl:
            size += EXPIRY_BYTES
        if isinstance(series, GrowingSeries):
            series.release()
            self._growing.remove(series)
        elif isinstance(series, Histogram):
            series.drop_native()
        self.memory.encoded.release(series.kept_bytes())
        label_names = series.label_names
        family = label_names.family
        family.remove(label_text)
        if not label_names.use_count and label_names is not family:
            size += label_names_size(label_names.names)
        if not family.series_count:
            self.by_name.remove(family.name)
            size += family.size()
        self._account.release(size)
        self._size -= 1

    def _rejection_reason(self, new: NewSeries) -> RejectionReason | None:
        """Return why a series must not be created, or None."""
        if reason := new.text_rejection(self._text_limits):
            return reason
        spec = new.spec
        family, type = new.family, spec.options.type
        if (
            self.by_name.would_conflict(spec.name, type)
            if family is None
            else family.type is not type
        ):
            return RejectionReason.CONFLICT
        if not self.quotas.has_room(family):
            return RejectionReason.QUOTA
        if self._size >= self._max_series:
            return RejectionReason.SERIES_LIMIT
        has_room = self._account.has_room(new.size + FIRST_SAMPLE_BYTES)
        return None if has_room else RejectionReason.MEMORY_LIMIT
