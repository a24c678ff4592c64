"""
Encode one series as a Metric of a protobuf message.

    Metric length | labels | counter: created_timestamp, value
                           | histogram: created_timestamp, count, sum, buckets, native
                           | summary: created_timestamp, count, sum, quantiles

What does not change of a metric is kept in its series (`Series.encoded`), within an
account, so that a number is eight bytes after what is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import suppress
from sys import getsizeof
from typing import Final

from statsd_bridge.exposition.native import NativeBuckets, encode_native
from statsd_bridge.exposition.text import MAX_SLICE_LINES
from statsd_bridge.exposition.wire import (
    TIME_BYTES,
    double,
    encode_labels,
    encode_time,
    varint,
)
from statsd_bridge.log import BugReporter
from statsd_bridge.memory import Account
from statsd_bridge.model import MetricOptions, MetricType
from statsd_bridge.series import Histogram, MetricFamily, Series

METRIC_TAG: Final = b"\x22"

NUMBER_TAGS: Final = {MetricType.COUNTER: b"\x1a", MetricType.GAUGE: b"\x12"}
"""Tags of the messages in a metric that have its number."""

MAX_TEMPLATE_ROWS: Final = 10_000
"""Buckets and quantiles of all templates that a page keeps, about 30 bytes each."""

MAX_BUCKET_STARTS: Final = 10_000
"""Starts of buckets that are kept, by the count, about 140 bytes each."""

MAX_KNOWN_LENGTH: Final = 120
"""Up to this length of a text of labels, each length in its message is one byte."""

Chunk = tuple[bytes, int]
"""Bytes of a page, and the lines of a page as text that take as long to make."""


class MetricEncoder:
    """Encodes the metrics of a type."""

    def __init__(self, now: float, kept: Account) -> None:
        self.now = now
        self._kept = kept

    def encode(self, labels: str, series: Series) -> bytes:
        """Return the field of a metric."""
        raise NotImplementedError

    def constant(self, labels: str, series: Series) -> bytes:
        """Return what does not change of a metric; keep it if there is memory."""
        constant = series.encoded
        if not constant:
            constant = self._encode_constant(labels, series)
            if self._kept.reserve(getsizeof(constant)):
                series.encoded = constant
        return constant

    def _encode_constant(self, labels: str, series: Series) -> bytes:
        raise NotImplementedError


class NumberEncoder(MetricEncoder):
    """
    Encodes metrics of one number: gauges and sets.

    The number is last, so what precedes it is kept.
    """

    def encode(self, labels: str, series: Series) -> bytes:
        """Return the field of a metric."""
        return self.constant(labels, series) + double(*series.values(self.now))

    def encode_all(
        self, family: MetricFamily, label_texts: Sequence[str], bugs: BugReporter
    ) -> bytes:
        """
        Return the metrics of those series that still exist.

        A series whose values raise is reported to `bugs` and skipped.
        """
        # The loops take most of the time of a large page: 0.5 us for a counter, as much
        # as in text.py (python -m benchmarks, rows of pages).
        found = list(map(family.series.get, label_texts))
        now = self.now
        if all(found):
            # If one raises, the loop below finds out which one.
            with suppress(Exception):
                pieces = [each.encoded for each in found]  # type: ignore[union-attr]
                if all(pieces):
                    numbers = [double(*each.values(now)) for each in found]  # type: ignore[union-attr]
                    merged = pieces * 2
                    merged[::2], merged[1::2] = pieces, numbers
                    return b"".join(merged)
        metrics = []
        for labels, series in zip(label_texts, found, strict=True):
            if series is not None:
                with bugs.catch():
                    metrics.append(self.encode(labels, series))
        return b"".join(metrics)

    def length(
        self,
        family: MetricFamily,
        names: Sequence[tuple[str, ...]],
        label_texts: Sequence[str],
    ) -> int:
        """
        Return the length of the metrics with these labels, whether or not they exist.

        `names` are all names that they may have.
        """
        joined, lengths = "".join(label_texts), Counter(map(len, label_texts))
        if (
            len(names) == 1
            and max(lengths) <= MAX_KNOWN_LENGTH
            and joined.isascii()
            and "\\" not in joined
        ):
            # A label has four bytes besides name and value, but the last one three; in
            # the message it has six.
            more = 2 * len(names[0]) + 1 if names[0] else 0
            return sum(
                self._metric_length(length + more) * count
                for length, count in lengths.items()
            )
        return sum(self._length(family, labels) for labels in label_texts)

    def _length(self, family: MetricFamily, labels: str) -> int:
        series = family.series.get(labels)
        if series is not None and series.encoded:
            return len(series.encoded) + 8
        return self._metric_length(len(encode_labels(labels)))

    def _metric_length(self, labels_length: int) -> int:
        length = labels_length + self._message_length()
        return len(METRIC_TAG) + len(varint(length)) + length

    def _message_length(self) -> int:
        return 11

    def _start(self, _series: Series) -> bytes:
        """Return tag and length of the message, and what precedes the number."""
        return b"\x12\x09"

    def _encode_constant(self, labels: str, series: Series) -> bytes:
        message = encode_labels(labels) + self._start(series) + b"\x09"
        return METRIC_TAG + varint(len(message) + 8) + message


class CounterEncoder(NumberEncoder):
    """Encodes counters, with the time of creation."""

    def _message_length(self) -> int:
        return 12 + TIME_BYTES

    def _start(self, series: Series) -> bytes:
        return b"\x1a" + varint(10 + TIME_BYTES) + b"\x1a" + encode_time(series.created)


class RowsEncoder(MetricEncoder):
    """
    Encodes metrics of several rows, which are buckets or quantiles.

    One `%` puts the numbers into a template of the rows.
    """

    # Tags: of the message in its metric, of the time of creation in the message.
    _message_tag = b""
    _time_tag = b""

    def __init__(self, now: float, kept: Account) -> None:
        super().__init__(now, kept)
        # By the identity of the options, which are in the value, too.
        self._templates: dict[int, tuple[MetricOptions, bytes]] = {}
        self._template_rows = 0

    def encode(self, labels: str, series: Series) -> bytes:
        """Return the field of a metric."""
        values, options = series.values(self.now), series.options
        known = self._templates.get(id(options)) or self._add_template(options)
        rows = known[1] % self._encode_rows(values, 0, len(values))
        return self._join(self.constant(labels, series), values, rows, series)

    def encode_in_chunks(
        self, labels: str, series: Series
    ) -> Generator[Chunk, None, bytes]:
        """Encode a metric of many rows; yield after each part of the work."""
        values, rows = series.values(self.now), []
        for start in range(0, len(values), MAX_SLICE_LINES):
            end = start + MAX_SLICE_LINES
            template = self._template(series.options, start, end)
            rows.append(template % self._encode_rows(values, start, end))
            yield b"", MAX_SLICE_LINES
        constant = self.constant(labels, series)
        return self._join(constant, values, b"".join(rows), series)

    def _join(
        self, constant: bytes, values: Sequence[float], rows: bytes, series: Series
    ) -> bytes:
        labels, time = constant[:-TIME_BYTES], constant[-TIME_BYTES:]
        content = b"".join(
            [
                self._time_tag,
                time,
                b"\x08",
                varint(int(values[-1])),
                b"\x11",
                double(values[-2]),
                rows,
                self._more(series),
            ]
        )
        start = self._message_tag + varint(len(content))
        length = len(labels) + len(start) + len(content)
        return b"".join([METRIC_TAG, varint(length), labels, start, content])

    def _encode_constant(self, labels: str, series: Series) -> bytes:
        return encode_labels(labels) + encode_time(series.created)

    def _add_template(self, options: MetricOptions) -> tuple[MetricOptions, bytes]:
        rows = len(options.buckets) + len(options.quantiles)
        self._template_rows += rows
        if self._template_rows > MAX_TEMPLATE_ROWS:
            self._templates.clear()
            self._template_rows = rows
        known = options, self._template(options, 0, rows)
        self._templates[id(options)] = known
        return known

    def _template(self, options: MetricOptions, start: int, end: int) -> bytes:
        """Return the template of some rows."""
        raise NotImplementedError

    def _encode_rows(
        self, values: Sequence[float], start: int, end: int
    ) -> tuple[bytes, ...]:
        """Return what the template of some rows is filled with."""
        raise NotImplementedError

    def _more(self, _series: Series) -> bytes:
        return b""


class HistogramEncoder(RowsEncoder):
    """Encodes histograms; like in client_golang, the bucket of +Inf is the count."""

    _message_tag, _time_tag = b"\x3a", b"\x7a"

    def _template(self, options: MetricOptions, start: int, end: int) -> bytes:
        return b"".join(
            [b"%b\x11" + _literal(bound) for bound in options.buckets[start:end]]
        )

    def _encode_rows(
        self, values: Sequence[float], start: int, end: int
    ) -> tuple[bytes, ...]:
        # Without +Inf, sum and count.
        counts = values[start : min(end, len(values) - 3)]
        return tuple(map(_bucket_starts, counts))

    def _more(self, series: Series) -> bytes:
        native = native_buckets(series)
        return b"" if native is None else encode_native(native)


class SummaryEncoder(RowsEncoder):
    """Encodes summaries."""

    _message_tag, _time_tag = b"\x22", b"\x22"

    def _template(self, options: MetricOptions, start: int, end: int) -> bytes:
        shares = options.quantiles[start:end]
        return b"".join(
            [b"\x1a\x12\x09" + _literal(each.quantile) + b"\x11%b" for each in shares]
        )

    def _encode_rows(
        self, values: Sequence[float], start: int, end: int
    ) -> tuple[bytes, ...]:
        # Without sum and count.
        return tuple(map(double, values[start : min(end, len(values) - 2)]))


def native_buckets(series: Series) -> NativeBuckets | None:
    """Return the native buckets of a histogram that has them."""
    return series.native if isinstance(series, Histogram) else None


def new_encoders(now: float, kept: Account) -> dict[MetricType, MetricEncoder]:
    """Return the encoders of a page; `kept` is charged with what series keep."""
    numbers = NumberEncoder(now, kept)
    return {
        MetricType.COUNTER: CounterEncoder(now, kept),
        MetricType.GAUGE: numbers,
        MetricType.SET: numbers,
        MetricType.HISTOGRAM: HistogramEncoder(now, kept),
        MetricType.SUMMARY: SummaryEncoder(now, kept),
    }


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


_bucket_starts = _BucketStarts().__getitem__
