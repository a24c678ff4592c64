"""
Encode one histogram or summary as a Metric of a protobuf message.

    length | labels | created_timestamp, count, sum, buckets or quantiles

Labels and time are kept in the series (metrics.py); the rest changes with the values.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final

from statsd_bridge.exposition.protobuf.metrics import METRIC_TAG, Chunk, MetricEncoder
from statsd_bridge.exposition.protobuf.native import NativeBuckets, encode_native
from statsd_bridge.exposition.protobuf.wire import (
    TIME_BYTES,
    double,
    encode_labels,
    encode_time,
    varint,
)
from statsd_bridge.exposition.rows import Templates
from statsd_bridge.exposition.slices import MAX_SLICE_LINES
from statsd_bridge.exposition.text import MAX_KEPT_ROWS
from statsd_bridge.memory import Account
from statsd_bridge.model import MetricOptions
from statsd_bridge.series import Histogram, Series

MAX_KEPT_BYTES: Final = 1_000
"""Bytes of a metric that is kept for the next page."""

MAX_BUCKET_STARTS: Final = 10_000
"""Starts of buckets that are kept, by the count, about 140 bytes each."""


class RowsEncoder(MetricEncoder):
    """
    Encodes metrics of several rows, which are buckets or quantiles.

    One `%` puts the numbers into a template: 1 us for 12 rows (python -m benchmarks,
    rows of pages).
    """

    # Tags: of the message in its metric, of the time of creation in the message.
    _message_tag = b""
    _time_tag = b""

    def __init__(self, now: float, kept: Account) -> None:
        super().__init__(now, kept)
        self._options: MetricOptions | None = None
        self._template = b""
        self._templates = Templates[bytes]()

    def encode(self, labels: str, series: Series) -> bytes:
        """Return the field of a metric, which the series keeps if it has few rows."""
        metric = series.last_encoded(self.now)
        if not metric:
            metric = self._encode_new(labels, series)
            if _may_be_kept(series, metric):
                series.keep_encoded(self._kept, metric=metric)
        return metric

    def encode_only(self, name: str, labels: str, series: Series) -> bytes:
        """Return the message of a family of one series, which the series may keep."""
        metric = series.last_encoded(self.now)
        is_new = not metric
        if is_new:
            metric = self._encode_new(labels, series)
        message = self.message(name, metric)
        if _may_be_kept(series, message):
            series.keep_encoded(self._kept, message=message)
        elif is_new and _may_be_kept(series, metric):
            series.keep_encoded(self._kept, metric=metric)
        return message

    def _encode_new(self, labels: str, series: Series) -> bytes:
        values = series.values(self.now)
        if series.options is not self._options:
            self._use_template(series.options)
        constant = series.encoded or self.constant(labels, series)
        content = self._template % self._fill(constant[-TIME_BYTES:], values)
        return self._join(constant, content + self._more(series))

    def encode_in_chunks(
        self, labels: str, series: Series
    ) -> Generator[Chunk, None, bytes]:
        """Encode a metric of many rows; yield after each part of the work."""
        # Before the first part, since samples may arrive between two.
        values, more = series.values(self.now), self._more(series)
        options = series.options
        constant = self.constant(labels, series)
        sums = self._fill(constant[-TIME_BYTES:], values[-self._sums :])
        contents = [self._start() % sums]
        for start in range(0, len(values) - self._sums, MAX_SLICE_LINES):
            end = min(start + MAX_SLICE_LINES, len(values) - self._sums)
            rows = tuple(map(self._encode_row, values[start:end]))
            contents.append(self._rows_template(options, start, end) % rows)
            yield b"", MAX_SLICE_LINES
        contents.append(more)
        return self._join(constant, b"".join(contents))

    def _join(self, constant: bytes, content: bytes) -> bytes:
        """Return a metric of labels and the content of its message."""
        labels = constant[:-TIME_BYTES]
        start = self._message_tag + varint(len(content))
        length = len(labels) + len(start) + len(content)
        return b"".join((METRIC_TAG, varint(length), labels, start, content))

    def _encode_constant(self, labels: str, series: Series) -> bytes:
        return encode_labels(labels) + encode_time(series.created)

    def _use_template(self, options: MetricOptions) -> None:
        template = self._templates.find(options)
        if template is None:
            rows = len(options.buckets) + len(options.quantiles)
            template = self._start() + self._rows_template(options, 0, rows)
            self._templates.add(options, template, rows)
        self._options, self._template = options, template

    def _start(self) -> bytes:
        """Return the template of what precedes the rows: time, count and sum."""
        return self._time_tag + b"%b\x08%b\x11%b"

    # Numbers at the end of the values that are no rows.
    _sums = 2

    def _rows_template(self, options: MetricOptions, start: int, end: int) -> bytes:
        """Return the template of some rows."""
        raise NotImplementedError

    def _fill(self, time: bytes, values: Sequence[float]) -> tuple[bytes, ...]:
        """Return what a template is filled with."""
        raise NotImplementedError

    def _encode_row(self, value: float) -> bytes:
        """Return what a row of a template is filled with."""
        raise NotImplementedError

    def _more(self, _series: Series) -> bytes:
        return b""


class HistogramEncoder(RowsEncoder):
    """Encodes histograms; like in client_golang, the bucket of +Inf is the count."""

    type_field = b"\x18\x04"
    _message_tag = b"\x3a"
    _time_tag = b"\x7a"
    _sums = 3

    def _rows_template(self, options: MetricOptions, start: int, end: int) -> bytes:
        return b"".join(
            [b"%b\x11" + _literal(bound) for bound in options.buckets[start:end]]
        )

    def _fill(self, time: bytes, values: Sequence[float]) -> tuple[bytes, ...]:
        starts = map(_find_bucket_start, values[:-3])
        return (time, varint(int(values[-1])), double(values[-2]), *starts)

    def _encode_row(self, value: float) -> bytes:
        return _find_bucket_start(value)

    def _more(self, series: Series) -> bytes:
        native = native_buckets(series)
        return b"" if native is None else encode_native(native)


class SummaryEncoder(RowsEncoder):
    """Encodes summaries."""

    type_field = b"\x18\x02"
    _message_tag = b"\x22"
    _time_tag = b"\x22"

    def _rows_template(self, options: MetricOptions, start: int, end: int) -> bytes:
        shares = options.quantiles[start:end]
        return b"".join(
            [b"\x1a\x12\x09" + _literal(each.quantile) + b"\x11%b" for each in shares]
        )

    def _fill(self, time: bytes, values: Sequence[float]) -> tuple[bytes, ...]:
        quantiles = map(double, values[:-2])
        return (time, varint(int(values[-1])), double(values[-2]), *quantiles)

    def _encode_row(self, value: float) -> bytes:
        return double(value)


def _may_be_kept(series: Series, encoded: bytes) -> bool:
    """Return whether a metric or message is short, and has few rows."""
    options = series.options
    rows = len(options.buckets) + len(options.quantiles)
    return rows < MAX_KEPT_ROWS and len(encoded) <= MAX_KEPT_BYTES


def native_buckets(series: Series) -> NativeBuckets | None:
    """Return the native buckets of a histogram that has them."""
    return series.native if isinstance(series, Histogram) else None


def _literal(number: float) -> bytes:
    """Return a double for a template."""
    return double(number).replace(b"%", b"%%")


class _BucketStarts(dict[float, bytes]):
    """The tag, length and cumulative count of a bucket, by this count."""

    __slots__ = ()

    def __missing__(self, count: float) -> bytes:
        number = varint(int(count))
        # The upper bound takes nine bytes.
        start = b"\x1a" + varint(10 + len(number)) + b"\x08" + number
        if len(self) < MAX_BUCKET_STARTS:
            self[count] = start
        return start


_find_bucket_start = _BucketStarts().__getitem__
