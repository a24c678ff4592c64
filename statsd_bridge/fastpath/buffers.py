"""
Buffers of numbers, by name and suffix of their lines, in front of the series.

    name        suffix
    api.hits    c             -->  buffer [3.0, 1.0, 1.0]    -->  counter   + 5
    api.time    ms|@0.1       -->  buffer [12.5, 8.25]       -->  histogram, 10 of each

A line without its value determines the series, so lines that only differ in the value
share a buffer.  `flush` records all numbers of a buffer at once, at a fraction of the
cost of single samples.  The fast path decides when.

- A buffer belongs to an existing series, with which it goes, or to a dropped name.
- A series whose values must stay in order, such as a gauge, has at most one buffer.
- Buffers are bounded in number, and charged to an account.  Beyond these bounds new
  lines get none; once many lines got none, all buffers are dropped, and the lines that
  are in use get new ones.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import fields
from math import inf
from operator import attrgetter
from sys import getsizeof

from statsd_bridge.fastpath.known import MAX_KEY_BYTES, KnownLines
from statsd_bridge.log import BugReporter
from statsd_bridge.memory import Account
from statsd_bridge.model import (
    MAX_TEXT_LENGTH,
    Action,
    Sample,
    SampleFormat,
    SampleType,
)
from statsd_bridge.pipeline import RecordedLine
from statsd_bridge.recent import MAX_RECENT, Recent
from statsd_bridge.series import Gauge, Series, SeriesListener

MAX_FORMATS = 1_000
"""Formats shared by buffers; beyond it, each new buffer has its own."""

MAX_BUFFERS = 100_000

BUFFER_BYTES = 230
"""A buffer besides its name."""

SUFFIX_BYTES = 230
"""The table of the buffers with one suffix, and a format, besides the suffix."""

MAX_DROPPED_BUFFERS = 10_000
"""Buffers of dropped names, which no series takes along when it expires."""

MAX_UNBUFFERED_LINES_PER_BUFFER = 10
"""Lines that got no buffer, per allowed buffer; beyond it all buffers are dropped."""

_NO_BUFFERS: dict[bytes, SampleBuffer] = {}


class SampleBuffer(list[float]):
    """
    Numbers that wait for their series, in the order of their lines.

    It is a list, since a second object for each buffer would cost 56 bytes.  `series`
    is None if the mapping drops the name.
    """

    __slots__ = ("format", "name", "next_for_series", "series", "suffix", "unmapped")

    def __init__(
        self,
        name: bytes,
        suffix: bytes,
        *,
        format: SampleFormat,
        series: Series | None = None,
        unmapped: str = "",
    ) -> None:
        self.name = name
        self.suffix = suffix
        self.format = format
        self.series = series
        self.unmapped = unmapped
        """The name without tags if no rule matches it, else empty."""
        self.next_for_series: SampleBuffer | None = None


_fields = attrgetter(*(each.name for each in fields(SampleFormat)))


class _BuffersBySuffix(dict[bytes | None, dict[bytes, SampleBuffer]]):
    """Buffers by the name of their lines, by suffix; no buffers by other suffixes."""

    __slots__ = ()

    # Quicker than `get` with a default, which takes 60 instructions more.
    def __missing__(self, _suffix: bytes | None) -> dict[bytes, SampleBuffer]:
        return _NO_BUFFERS


UNBUFFERED = SampleBuffer(
    b"", b"", format=SampleFormat(type=SampleType.COUNTER, action=Action.DROP)
)
"""Stands for the buffers of a series that must not have any."""


class SampleBuffers(SeriesListener):
    """
    All buffers, by name and suffix and by series.

    Listens to the store, so that samples which are recorded without a buffer do not
    overtake, and buffers go with their series.  `account` is for buffers only.
    """

    def __init__(
        self,
        *,
        unmapped_names: Recent[tuple[str, str]],
        account: Account,
        bugs: BugReporter,
    ) -> None:
        self.flushed: Counter[SampleFormat] = Counter()
        """Numbers that were flushed; the fast path counts and clears them."""
        self.known = KnownLines(account)
        self.unbuffered = 0
        """Lines that got no buffer and are not known, for want of room."""
        self.unmapped_names = unmapped_names
        self._account = account
        self._bugs = bugs
        self.tables = _BuffersBySuffix()
        """Buffers by name, by suffix."""
        self._by_series: dict[Series, SampleBuffer] = {}
        self._formats: dict[tuple[object, ...], SampleFormat] = {}
        self._size = self._dropped = self._used = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[SampleBuffer]:
        for buffers in self.tables.values():
            yield from buffers.values()

    def find_all(
        self, names: Iterable[bytes | None], suffixes: Iterable[bytes | None]
    ) -> Iterator[SampleBuffer | None]:
        """Yield each line's buffer or None, looked up when the iterator reaches it."""
        tables = map(self.tables.__getitem__, suffixes)
        return map(dict.get, tables, names)  # type: ignore[arg-type]

    def find(self, name: bytes, suffix: bytes) -> SampleBuffer | None:
        """Return the buffer of a line."""
        return self.tables[suffix].get(name)

    def for_series(self, series: Series) -> Iterator[SampleBuffer]:
        """Yield the buffers of a series."""
        buffer = self._by_series.get(series)
        while buffer is not None and buffer is not UNBUFFERED:
            yield buffer
            buffer = buffer.next_for_series

    @property
    def are_stale(self) -> bool:
        """Whether too many lines got no buffer because others have them all."""
        return self.unbuffered > MAX_UNBUFFERED_LINES_PER_BUFFER * MAX_BUFFERS

    def add(
        self, name: bytes, suffix: bytes, recorded: RecordedLine, source: str = ""
    ) -> None:
        """Add a buffer for lines like the one that was recorded, if it may have one."""
        series, parsed = recorded.series, recorded.parsed
        sample, action = parsed.samples[0], recorded.match.action
        scale = None if series is None else recorded.match.untagged.options.scale
        if not (
            len(name) + len(suffix) <= MAX_KEY_BYTES
            and _keeps_sign(sample, scale)
            and self.may_buffer(series)
        ):
            return
        format = SampleFormat(
            type=sample.type,
            action=action,
            divisor=sample.divisor,
            scale=scale,
            weight=sample.weight,
            is_tagged=bool(parsed.tagged),
            tag_errors=parsed.tag_errors,
            source=source,
            rule=recorded.match.rule_index,
        )
        unmapped = sample.name[:MAX_TEXT_LENGTH] if action is Action.UNMAPPED else ""
        size = self._size_of(name, suffix, unmapped)
        if not self._has_room(size, is_dropped=series is None):
            self.unbuffered += 1
            return
        self._add(name, suffix, self._shared(format), series, unmapped)

    def has_capacity(self, name: bytes, suffix: bytes, format: SampleFormat) -> bool:
        """Return whether there is room for a buffer for the lines of a plain name."""
        size = self._size_of(name, suffix, _plain_unmapped(name, format))
        return self._has_room(size, is_dropped=format.action is Action.DROP)

    def add_for(
        self, name: bytes, suffix: bytes, format: SampleFormat, series: Series | None
    ) -> SampleBuffer:
        """Add a buffer for the lines of a plain name; there is room for it."""
        unmapped = _plain_unmapped(name, format)
        return self._add(name, suffix, format, series, unmapped)

    def _add(
        self,
        name: bytes,
        suffix: bytes,
        format: SampleFormat,
        series: Series | None,
        unmapped: str,
    ) -> SampleBuffer:
        size = self._size_of(name, suffix, unmapped)
        buffer = SampleBuffer(
            name, suffix, format=format, series=series, unmapped=unmapped
        )
        self.tables.setdefault(suffix, {})[name] = buffer
        if series is None:
            self._dropped += 1
        else:
            buffer.next_for_series = self._by_series.get(series)
            self._by_series[series] = buffer
        self._size += 1
        self._used += size
        self._account.charge(size)
        return buffer

    def before_record(self, series: Series, ttl: float, now: float) -> None:
        """Flush what must not be overtaken by a sample that is not buffered."""
        is_buffered = series in self._by_series
        if not is_buffered and (series.ttl == ttl or not self.known.has(series)):
            return
        if series.ttl != ttl:
            # Two rules with different ttls for one series: each sample has to set its
            # own.
            self.stop_buffering(series, now)
        elif series.is_ordered:
            self.flush(self.for_series(series), now)

    def stop_buffering(self, series: Series, now: float) -> None:
        """Flush and remove the buffers of a series; it gets no new ones."""
        self.flush(self.for_series(series), now)
        self.before_remove(series)
        self._by_series[series] = UNBUFFERED

    def before_remove(self, series: Series) -> None:
        """Remove the buffers of a series, which must be empty: flush, then expire."""
        for buffer in self.for_series(series):
            buffers = self.tables[buffer.suffix]
            del buffers[buffer.name]
            size = _buffer_size(buffer.name, buffer.unmapped)
            if not buffers:
                del self.tables[buffer.suffix]
                size += _suffix_size(buffer.suffix)
            self._size -= 1
            self._used -= size
            self._account.release(size)
        self._by_series.pop(series, None)
        self.known.remove(series)
        if not self._size:
            self._formats.clear()

    def clear(self) -> None:
        """Remove all buffers, which must be empty."""
        self.tables.clear()
        self._by_series.clear()
        self._formats.clear()
        self._account.release(self._used)
        self._size = self._dropped = self._used = self.unbuffered = 0
        self.known.clear()

    def flush(self, buffers: Iterable[SampleBuffer], now: float) -> None:
        """Record the numbers of buffers; an exception costs the numbers of one."""
        flushed = self.flushed
        # At most MAX_RECENT names are kept, so earlier ones need not be added.  A tuple
        # for each buffer would also make the garbage collector scan all of them.
        unmapped_events: deque[tuple[str, SampleType, int]] = deque(maxlen=MAX_RECENT)
        for buffer in buffers:
            if buffer:
                format, lines = buffer.format, len(buffer)
                flushed[format] = flushed.get(format, 0) + lines
                if buffer.unmapped:
                    events = lines * format.weight
                    unmapped_events.append((buffer.unmapped, format.type, events))
                try:
                    _record_all(buffer, format, now)
                except Exception as error:
                    self._bugs.report(error)
                buffer.clear()
        for name, type, events in unmapped_events:
            self.unmapped_names.add((name, type), events)

    def change_gauge(self, buffer: SampleBuffer, change: float, now: float) -> None:
        """Record a relative sample of a gauge, after the numbers in its buffer."""
        self.flush([buffer], now)
        series, format = buffer.series, buffer.format
        self.flushed[format] += 1
        if buffer.unmapped:
            self.unmapped_names.add((buffer.unmapped, format.type), format.weight)
        if isinstance(series, Gauge):
            scale = 1.0 if format.scale is None else format.scale
            series.change(change * scale)
            if series.ttl:
                series.last_update = now

    def may_buffer(self, series: Series | None) -> bool:
        """Return whether a series may have another buffer, or a dropped name one."""
        if series is None:
            return True
        buffer = self._by_series.get(series)
        if buffer is None:
            return not (series.is_ordered and self.known.has(series))
        return not (buffer is UNBUFFERED or series.is_ordered)

    def may_be_known(self, series: Series) -> bool:
        """Return whether a line of a series may be known: it has no other entry."""
        return series not in self._by_series and not self.known.has(series)

    def _size_of(self, name: bytes, suffix: bytes, unmapped: str) -> int:
        size = _buffer_size(name, unmapped)
        return size if suffix in self.tables else size + _suffix_size(suffix)

    def _has_room(self, size: int, *, is_dropped: bool) -> bool:
        """Return whether another buffer is within all bounds."""
        return (
            self._size < MAX_BUFFERS
            and self._account.has_room(size)
            and not (is_dropped and self._dropped >= MAX_DROPPED_BUFFERS)
        )

    def _shared(self, format: SampleFormat) -> SampleFormat:
        key = _fields(format)
        if len(self._formats) >= MAX_FORMATS:
            return self._formats.get(key, format)
        return self._formats.setdefault(key, format)


def _plain_unmapped(name: bytes, format: SampleFormat) -> str:
    """Return a plain name if no rule matches it, else an empty text."""
    is_unmapped = format.action is Action.UNMAPPED
    return name[:MAX_TEXT_LENGTH].decode() if is_unmapped else ""


def _buffer_size(name: bytes, unmapped: str) -> int:
    """Return the estimated size of a buffer in bytes, its suffix aside."""
    return BUFFER_BYTES + getsizeof(name) + (getsizeof(unmapped) if unmapped else 0)


def _suffix_size(suffix: bytes) -> int:
    return SUFFIX_BYTES + getsizeof(suffix)


def _keeps_sign(sample: Sample, scale: float | None) -> bool:
    """
    Return whether the sign of a line's number is that of its value.

    It is no set member, and divisor and scale are positive and finite.
    """
    return (
        sample.type is not SampleType.SET
        and 0 < sample.divisor < inf
        and (scale is None or 0 < scale < inf)
    )


def _record_all(buffer: SampleBuffer, format: SampleFormat, now: float) -> None:
    series = buffer.series
    if series is None:
        return
    numbers: list[float] = buffer
    divisor, scale = format.divisor, format.scale
    if scale is not None:
        numbers = [number / divisor * scale for number in numbers]
        divisor = 1.0
    if series.ttl:
        series.last_update = now
    series.record_all(numbers, divisor, format.weight, now)
