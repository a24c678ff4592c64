"""
Lines that are processed one by one: their names have no buffer.

    known line    its series gets the number; twice in a batch: a buffer     0.6 us
    plain line    resolve.py finds or creates its series; then it is known     6 us
    other line    plain Pipeline; then it gets a buffer                       25 us
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final, final

from statsd_bridge.fastpath.buffers import SampleBuffer, SampleBuffers
from statsd_bridge.fastpath.resolve import LineResolver, Resolved
from statsd_bridge.fastpath.split import Columns, parse_value
from statsd_bridge.model import (
    MAX_TEXT_LENGTH,
    Action,
    SampleFormat,
    SampleType,
)
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.recent import MAX_RECENT
from statsd_bridge.series import Gauge, Series

# To look up a member in its Enum takes 0.1 us.
_UNMAPPED: Final = Action.UNMAPPED


@final
class LineRecorder:
    """
    Records lines one by one, in order.

    `resolved` counts those whose names were looked up.
    """

    def __init__(
        self, plain: Pipeline, buffers: SampleBuffers, resolver: LineResolver
    ) -> None:
        self.resolved = 0
        self._plain = plain
        self._factory = plain.store.factory
        self._bugs = plain.bugs
        self._buffers = buffers
        self._known = buffers.known
        self._resolver = resolver
        # Since the begin of the batch.
        self._now = 0.0
        self._appended = 0
        self._seen: set[Series] = set()
        # The last names without a rule, each with its number of samples, oldest first.
        self._unmapped: dict[tuple[bytes, SampleType], int] = {}

    def record(
        self,
        columns: Columns,
        names: Sequence[bytes | None],
        numbers: Sequence[float],
        start: int,
        now: float,
    ) -> int:
        """
        Record the lines from `start` on; return how many numbers wait in buffers.

        The name is None for a value that is not a plain number without a sign.
        """
        self._now, self._appended = now, 0
        seen = self._seen
        seen.clear()
        tables, tagged = self._known.tables, self._known.tagged
        flushed = self._buffers.flushed
        rest = zip(
            names[start:], columns.suffixes[start:], numbers[start:], strict=True
        )
        for index, (name, suffix, number) in enumerate(rest, start):
            try:
                if name is None or suffix is None:
                    self._record_unusual(columns, index)
                    continue
                series: Series | None = None
                key, table = name, tables.get(suffix)
                if table is not None:
                    series = table.get(name)
                elif suffix.find(b"|#") >= 0 or suffix.find(b"|c:") >= 0:
                    # The same as tagged_key, without the call; `in` takes longer.
                    key = b"%b|%b" % (name, suffix)
                    series = tagged.get(key)
                if series is None:
                    if not self._record_unknown(name, suffix, key, number):
                        self._feed_plain(columns, index)
                    continue
                if series in seen:
                    self._record_again(name, suffix, series, number)
                    continue
                seen.add(series)
                format = series.line_format
                if format is None:
                    continue
                flushed[format] = flushed.get(format, 0) + 1
                if format.action is _UNMAPPED:
                    self._note(name, format)
                if series.ttl:
                    series.last_update = now
                # The same as value_of, without the call.
                divisor, scale = format.divisor, format.scale
                value = number if divisor == 1.0 else number / divisor
                if scale is not None:
                    value *= scale
                series.add(value, format.weight, now)
            except Exception as error:
                self._bugs.report(error)
        return self._appended

    def note_unmapped(self) -> None:
        """Add the names without a rule to those that are shown."""
        for (name, type), events in self._unmapped.items():
            text = name[:MAX_TEXT_LENGTH].decode()
            self._buffers.unmapped_names.add((text, type), events)
        self._unmapped.clear()

    def _record_unknown(
        self, name: bytes, suffix: bytes, key: bytes, number: float
    ) -> bool:
        """
        Record a line that has a buffer, or whose series is to be found.

        Return False for a line of the plain path.
        """
        table = self._buffers.tables.get(suffix)
        buffer = None if table is None else table.get(name)
        if buffer is not None:
            buffer.append(number)
            self._appended += 1
            return True
        made_before = self._factory.made
        try:
            resolved = self._resolver.resolve(name, suffix, self._now)
        except Exception as error:
            self._bugs.report(error)
            return False
        if resolved is None:
            return False
        series, format = resolved
        self.resolved += 1
        flushed = self._buffers.flushed
        flushed[format] = flushed.get(format, 0) + 1
        if format.action is _UNMAPPED:
            self._note(name, format)
        if series is not None:
            self._seen.add(series)
            is_new = self._factory.made != made_before
            add = series.add_first if is_new else series.add
            if format.divisor != 1.0 or format.scale is not None:
                number = value_of(number, format)
            add(number, format.weight, self._now)
            if self._resolver.is_timed:
                return True
            if is_new:
                if not self._known.add(series, key, format):
                    self._buffers.unbuffered += 1
                return True
        if not self._resolver.is_timed:
            self._remember(name, suffix, key, resolved)
        return True

    def _remember(
        self, name: bytes, suffix: bytes, key: bytes, resolved: Resolved
    ) -> None:
        """Let the next line like this one find its series at once, if there is room."""
        series, format = resolved
        has_room = True
        if series is not None and self._buffers.may_be_known(series):
            has_room = self._known.add(series, key, format)
        elif self._buffers.may_buffer(series):
            has_room = self._buffers.has_capacity(name, suffix, format)
            if has_room:
                self._buffers.add_for(name, suffix, format, series)
        self._buffers.unbuffered += not has_room

    def _record_again(
        self, name: bytes, suffix: bytes, series: Series, number: float
    ) -> None:
        """Record a known line that the batch had before: it gets a buffer."""
        buffer = self._promote(name, suffix, series)
        if buffer is None:
            self._add(name, series, number)
        else:
            buffer.append(number)
            self._appended += 1

    def _promote(
        self, name: bytes, suffix: bytes, series: Series
    ) -> SampleBuffer | None:
        """Replace the line of a series by a buffer, if there is room."""
        format = series.line_format
        if format is None or not self._buffers.has_capacity(name, suffix, format):
            return None
        self._known.remove(series)
        # It still says which rule the line has (inspection/makers.py).
        series.line_format = format
        return self._buffers.add_for(name, suffix, format, series)

    def _record_unusual(self, columns: Columns, index: int) -> None:
        """Record a line with a sign, or whose value is not a plain number."""
        name, value = columns.names[index], columns.values[index]
        suffix = columns.suffixes[index]
        if suffix is not None:
            buffer = self._buffers.find(name, suffix)
            series = None if buffer is not None else self._known.find(name, suffix)
            if buffer is not None and self._append_one(buffer, value):
                return
            if series is not None and self._add_one(name, series, value):
                return
            if series is not None or buffer is not None:
                self._plain.feed_line(columns.line(index))
                return
        self._feed_plain(columns, index)

    def _append_one(self, buffer: SampleBuffer, value: bytes) -> bool:
        """Append an unusual value; return whether that is possible."""
        number = parse_value(value)
        if number is None:
            return False
        type = buffer.format.type
        if value[:1] not in b"+-" or type is SampleType.OBSERVER:
            buffer.append(number)
            self._appended += 1
        elif type is SampleType.GAUGE:
            self._buffers.change_gauge(buffer, number, self._now)
        else:
            return False
        return True

    def _add_one(self, name: bytes, series: Series, value: bytes) -> bool:
        """Add an unusual value to a series; return whether that is possible."""
        number, format = parse_value(value), series.line_format
        if number is None or format is None:
            return False
        is_signed = value[:1] in b"+-"
        if is_signed and format.type is SampleType.COUNTER:
            return False
        if not is_signed or not isinstance(series, Gauge):
            self._add(name, series, number)
            return True
        self._count(name, format)
        if series.ttl:
            series.last_update = self._now
        series.change(value_of(number, format))
        return True

    def _add(self, name: bytes, series: Series, number: float) -> None:
        """Add the number of a known line."""
        format = series.line_format
        if format is None:
            return
        self._count(name, format)
        if series.ttl:
            series.last_update = self._now
        series.add(value_of(number, format), format.weight, self._now)

    def _count(self, name: bytes, format: SampleFormat) -> None:
        flushed = self._buffers.flushed
        flushed[format] = flushed.get(format, 0) + 1
        if format.action is _UNMAPPED:
            self._note(name, format)

    def _feed_plain(self, columns: Columns, index: int) -> None:
        """Process a line by the plain path; the next line like it has a buffer."""
        name, value = columns.names[index], columns.values[index]
        suffix = columns.suffixes[index]
        made_before = self._factory.made
        recorded = self._plain.feed_line(columns.line(index))
        # A line that created a series may be the only one of its kind.
        if (
            suffix
            and recorded is not None
            and self._factory.made == made_before
            and parse_value(value) is not None
        ):
            source = self._plain.source_of(name) if b"." in name else ""
            self._buffers.add(name, suffix, recorded, source)

    def _note(self, name: bytes, format: SampleFormat) -> None:
        """Note a name without a rule; a tenth of the cost of showing each at once."""
        unmapped = self._unmapped
        key = name[:MAX_TEXT_LENGTH], format.type
        # Removed and inserted again, it is the last in the order of a dict.
        unmapped[key] = unmapped.pop(key, 0) + format.weight
        if len(unmapped) >= 2 * MAX_RECENT:
            # The others would be dropped by those that are newer.
            for each in list(islice(unmapped, MAX_RECENT)):
                del unmapped[each]


def value_of(number: float, format: SampleFormat) -> float:
    """Return the value of a line's number."""
    divisor, scale = format.divisor, format.scale
    value = number if divisor == 1.0 else number / divisor
    return value if scale is None else value * scale
