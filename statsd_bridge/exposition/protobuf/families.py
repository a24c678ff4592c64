"""
Encode metric families as delimited protobuf messages, in slices: a family a message.

    length | name help type | metric | metric | ...

The length precedes the message, and a family may be most of the page:

- One number a series (counter, gauge, set): the length of a metric follows from the
  text of its labels.  Lengths are added up first, a slice at a time; metrics that are
  gone when it is their turn are replaced by padding, which readers skip.
- Histograms and summaries are gathered until the family ends.  Beyond
  MAX_MESSAGE_BYTES the family goes on in a further message of the same name, which
  Prometheus takes for the same family.
- Histograms with and without native buckets are in two messages, since Prometheus 2
  expects the same of all histograms in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from statsd_bridge.exposition.protobuf.distributions import (
    HistogramEncoder,
    RowsEncoder,
    SummaryEncoder,
    native_buckets,
)
from statsd_bridge.exposition.protobuf.metrics import (
    COUNTER_FIELD,
    GAUGE_FIELD,
    METRIC_TAG,
    Chunk,
    CounterEncoder,
    MetricEncoder,
    NumberEncoder,
    SetEncoder,
    encode_help,
    encode_name,
)
from statsd_bridge.exposition.protobuf.wire import (
    double,
    encode_label,
    encode_time,
    field,
    padding,
    varint,
)
from statsd_bridge.exposition.slices import (
    BYTES_PER_LINE,
    LINES_PER_SHORT_FAMILY,
    MAX_JOINED_LINES,
    MAX_SLICE_BYTES,
    MAX_SLICE_LINES,
    SINGLE_VALUES,
    divide_family,
    exceeds_slice,
    only_lines,
)
from statsd_bridge.log import BugReporter
from statsd_bridge.memory import Account
from statsd_bridge.model import MetricType
from statsd_bridge.series import MetricFamily, Series, SingleValue

MAX_MESSAGE_BYTES: Final = 8 * 1024 * 1024
"""Bytes of histograms or summaries that wait for the length of their message."""

SERIES_PER_LINE: Final = 10
"""Series whose labels are looked at in the time of a line of a page."""

NATIVE_BYTES_PER_LINE: Final = 10
"""Bytes of a histogram with native buckets that take the time of a line."""


def join_slices(chunks: Iterable[Chunk]) -> Iterator[bytes]:
    """Join chunks into slices, and cut those that are too long."""
    joined: list[bytes] = []
    lines = length = 0
    for data, more in chunks:
        joined.append(data)
        lines += more
        length += len(data)
        if lines >= MAX_SLICE_LINES or length >= MAX_SLICE_BYTES:
            yield from _cut(b"".join(joined))
            joined.clear()
            lines = length = 0
    yield from _cut(b"".join(joined))


def _cut(data: bytes) -> Iterator[bytes]:
    if len(data) <= 2 * MAX_SLICE_BYTES:
        yield data
        return
    for start in range(0, len(data), MAX_SLICE_BYTES):
        yield data[start : start + MAX_SLICE_BYTES]


def format_families(
    families: Iterable[MetricFamily], now: float, bugs: BugReporter, kept: Account
) -> Iterator[Chunk]:
    """
    Yield all families that have series, in chunks.

    A series whose values raise is reported to `bugs` and skipped.  What series keep of
    their metrics is charged to `kept`, as long as it has room.
    """
    encoders = _new_encoders(now, kept)
    encoder = encoders[MetricType.COUNTER]
    starts, rest, unlabelled = encoder.starts, b"", b""
    type: MetricType | None = None
    is_number, help_text = False, ""
    # Of messages of families of one series.
    pieces: list[bytes] = []
    add = pieces.extend
    lines = more = 0
    for family in families:
        if lines >= MAX_JOINED_LINES:
            yield b"".join(pieces), lines
            pieces.clear()
            lines = 0
        if family.type is not type or family.help is not help_text:
            type, help_text = family.type, family.help
            encoder, is_number = encoders[type], type in SINGLE_VALUES
            starts, unlabelled = encoder.starts, encoder.unlabelled
            rest = encoder.use_help(help_text)
            more = LINES_PER_SHORT_FAMILY + len(rest) // BYTES_PER_LINE
        series: Any = family.lone
        lone: Chunk | None = None
        # Names without rules make a family each: here one takes 0.3 us, by the calls of
        # _encode_lone 1.0 (python -m benchmarks, rows of shapes).
        if is_number and series is not None and not family.lone_labels:
            name = family.name
            constant = unlabelled or series.encoded or encoder.constant("", series)
            number = double(series.value)
            try:
                add((starts[len(name)], name.encode(), rest, constant, number))
                lines += more
                continue
            except KeyError:
                encoder.keep_start(name, constant)
        if series is not None:
            try:
                message = b"" if is_number else series.last_message(now)
            except Exception:
                # _encode_lone reports it.
                message = b""
            if message:
                pieces.append(message)
                lines += more
                continue
            lone = _encode_lone(family, series, encoder, bugs)
        if lone is None:
            yield b"".join(pieces), lines
            pieces.clear()
            lines = 0
            yield from _encode_table(family, encoder, bugs)
        else:
            pieces.append(lone[0])
            lines += lone[1]
    yield b"".join(pieces), lines


def _encode_lone(
    family: MetricFamily, series: Series, encoder: MetricEncoder, bugs: BugReporter
) -> Chunk | None:
    """Return the message of a family of one series, if that fits into a slice."""
    labels, lines = family.lone_labels, LINES_PER_SHORT_FAMILY
    if not isinstance(series, SingleValue):
        if exceeds_slice(family, labels):
            return None
        lines = only_lines(family, series, encoder.now)
    # With bugs.catch() it takes 1 us more.
    try:
        message = encoder.encode_only(family.name, labels, series)
    except Exception as error:
        bugs.report(error)
        return b"", 0
    return message, lines + len(message) // _bytes_per_line(series)


def _bytes_per_line(series: Series) -> int:
    """Return how many bytes of a message take as long as a line."""
    has_native = native_buckets(series) is not None
    return NATIVE_BYTES_PER_LINE if has_native else BYTES_PER_LINE


def _encode_table(
    family: MetricFamily, encoder: MetricEncoder, bugs: BugReporter
) -> Iterator[Chunk]:
    """Yield a family of several series."""
    if isinstance(encoder, NumberEncoder):
        yield from _encode_numbers(family, encoder, bugs)
    elif isinstance(encoder, RowsEncoder):
        yield from _encode_rows(family, encoder, bugs)


def _new_encoders(now: float, kept: Account) -> dict[MetricType, MetricEncoder]:
    """Return the encoders of a page, by type."""
    return {
        MetricType.COUNTER: CounterEncoder(now, kept),
        MetricType.GAUGE: NumberEncoder(now, kept),
        MetricType.SET: SetEncoder(now, kept),
        MetricType.HISTOGRAM: HistogramEncoder(now, kept),
        MetricType.SUMMARY: SummaryEncoder(now, kept),
    }


def _encode_numbers(
    family: MetricFamily, encoder: NumberEncoder, bugs: BugReporter
) -> Iterator[Chunk]:
    """Yield a family whose series have one number each."""
    if not family.series_count:
        return
    head = encoder.head(family.name)
    for _ in family.sort_in_steps():
        yield b"", MAX_SLICE_LINES
    # Those of all series that follow, whatever expires meanwhile.
    names = [each.names for each in family.all_label_names()]
    all_texts = family.label_texts()
    parts: list[tuple[Sequence[str], int]] = []
    for label_texts, lines in divide_family(family, encoder.now):
        parts.append((label_texts, lines))
        yield b"", len(label_texts) // SERIES_PER_LINE
    if len(parts) == 1:
        data = encoder.encode_all(family, parts[0][0], bugs)
        if data:
            yield varint(len(head) + len(data)) + head + data, parts[0][1]
        return
    table = family.table
    known_texts, length = ((), 0) if table is None else table.encoded_length
    if known_texts is not all_texts:
        length = 0
        for label_texts, _ in parts:
            length += encoder.length(family, names, label_texts)
            yield b"", len(label_texts) // SERIES_PER_LINE
        if table is not None:
            table.encoded_length = all_texts, length
    yield varint(len(head) + length) + head, 2
    for label_texts, lines in parts:
        data = encoder.encode_all(family, label_texts, bugs)
        length -= len(data)
        yield data, lines
    while length:
        # The rest must not be too short for another padding.
        size = length if length <= MAX_SLICE_BYTES else MAX_SLICE_BYTES // 2
        length -= size
        yield padding(size), 0


def _encode_rows(
    family: MetricFamily, encoder: RowsEncoder, bugs: BugReporter
) -> Iterator[Chunk]:
    """Yield a family of histograms or summaries."""
    head = encoder.head(family.name)
    is_large = family.max_page_lines > MAX_SLICE_LINES
    messages = {is_native: _Message(head) for is_native in (False, True)}
    for label_texts, lines in divide_family(family, encoder.now):
        native_bytes = 0
        for labels, series in _find(family, label_texts):
            try:
                # Before samples between two chunks may change it.
                is_native = native_buckets(series) is not None
                if is_large:
                    metric = yield from encoder.encode_in_chunks(labels, series)
                else:
                    metric = encoder.encode(labels, series)
            except Exception as error:
                bugs.report(error)
            else:
                messages[is_native].metrics.append(metric)
                native_bytes += len(metric) if is_native else 0
                if native_bytes > MAX_SLICE_LINES * NATIVE_BYTES_PER_LINE:
                    yield b"", MAX_SLICE_LINES
                    native_bytes = 0
        yield b"", lines + native_bytes // NATIVE_BYTES_PER_LINE
        for message in messages.values():
            message.join()
        if sum(each.length for each in messages.values()) > MAX_MESSAGE_BYTES:
            for message in messages.values():
                yield from message.take()
    for message in messages.values():
        yield from message.take()


def encode_message(
    name: str,
    help_text: str,
    rows: Iterable[tuple[Mapping[str, str], float]],
    *,
    is_counter: bool,
    created: float,
) -> bytes:
    """
    Encode counters or gauges that are no series; a row has labels and a value.

    `created` is the time of creation of counters.
    """
    metrics = []
    type_field, tag, time = GAUGE_FIELD, b"\x12", b""
    if is_counter:
        type_field, tag = COUNTER_FIELD, b"\x1a"
        time = b"\x1a" + encode_time(created)
    for labels, value in rows:
        pairs = [
            encode_label(key.encode(), labels[key].encode()) for key in sorted(labels)
        ]
        number = field(tag, b"\x09" + double(value) + time)
        metrics.append(field(METRIC_TAG, b"".join([*pairs, number])))
    head = encode_name(name) + encode_help(help_text) + type_field
    return field(b"", head + b"".join(metrics))


class _Message:
    """Metrics that wait for the length of their message."""

    def __init__(self, head: bytes) -> None:
        self.metrics: list[bytes] = []
        self.length = 0
        self._head = head
        self._parts: list[bytes] = []

    def join(self) -> None:
        """Join the metrics added since the last call, which takes less memory."""
        part = b"".join(self.metrics)
        self._parts.append(part)
        self.length += len(part)
        self.metrics.clear()

    def take(self) -> Iterator[Chunk]:
        """Yield the message, if it has metrics, and begin another one."""
        if self.length:
            yield varint(len(self._head) + self.length) + self._head, 2
        parts, self._parts, self.length = self._parts, [], 0
        for part in parts:
            yield part, 0


def _find(
    family: MetricFamily, label_texts: Sequence[str]
) -> Iterator[tuple[str, Series]]:
    """Yield the series that have not expired between two slices."""
    find = family.finder()
    for labels in label_texts:
        series = find(labels)
        if series is not None:
            yield labels, series
