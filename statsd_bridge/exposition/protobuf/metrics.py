"""
Encode one series as a Metric of a protobuf message: counters, gauges and sets.

    length | labels | counter: created_timestamp, value

What does not change of a metric is kept in its series (`Series.encoded`), within an
account; the value is last, so a number is eight bytes after what is kept.
distributions.py encodes histograms and summaries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from sys import getsizeof
from typing import Any, Final

from statsd_bridge.exposition.protobuf.columns import encode_columns
from statsd_bridge.exposition.protobuf.wire import (
    TIME_BYTES,
    double,
    encode_labels,
    encode_time,
    field,
    varint,
)
from statsd_bridge.log import BugReporter
from statsd_bridge.memory import Account
from statsd_bridge.series import MetricFamily, Series, SingleValue

METRIC_TAG: Final = b"\x22"

COUNTER_FIELD: Final = b"\x18\x00"
GAUGE_FIELD: Final = b"\x18\x01"
"""The type of a family."""

MAX_KNOWN_TIMES: Final = 10_000
"""Times of creation whose messages a page keeps in part, about 300 bytes each."""

MAX_KNOWN_LENGTH: Final = 120
"""Up to this length of a text of labels, each length in its message is one byte."""

Chunk = tuple[bytes, int]
"""Bytes of a page, and the lines of a page as text that take as long to make."""


class MetricEncoder:
    """
    Encodes the metrics of a type on a page.

    `now` is on the store's clock; `kept` is charged with what series keep.
    """

    type_field = b""
    """The field of a family with its type."""

    def __init__(self, now: float, kept: Account) -> None:
        self.now = now
        self._kept = kept
        self.known_help: str | None = None
        """The help text of the last family."""
        self.help_and_type = b""
        """The fields with this text and the type."""
        # Of messages with one metric of one number, without labels.
        self.ends: dict[float, bytes] = {}
        """What is between name and number, by the time of creation; of one length."""
        self.starts: dict[int, bytes] = {}
        """What precedes the name, by its length."""

    def head(self, family: MetricFamily) -> bytes:
        """Return the fields of a family before its metrics."""
        self.keep_help(family)
        return encode_name(family.name) + self.help_and_type

    def keep_help(self, family: MetricFamily) -> None:
        """Encode and keep the help text of a family, if the last one had another."""
        if family.help is not self.known_help:
            # Families without a rule share their help text.
            self.known_help = family.help
            self.help_and_type = encode_help(family.help) + self.type_field
            self.ends.clear()
            self.starts.clear()

    def encode_only(self, family: MetricFamily, labels: str, series: Series) -> bytes:
        """Return the message of a family of one series."""
        metric = self.encode(labels, series)
        # Names without rules: `head` and `field` would take 0.3 us more.
        if family.help is not self.known_help:
            self.keep_help(family)
        name, rest = family.name.encode(), self.help_and_type
        start = b"\x0a" + varint(len(name))
        length = len(start) + len(name) + len(rest) + len(metric)
        return b"".join((varint(length), start, name, rest, metric))

    def keep_end(self, series: Series) -> bytes:
        """Keep what is between name and number, which the series has; return it."""
        end = self.help_and_type + series.encoded
        if len(self.ends) < MAX_KNOWN_TIMES:
            self.ends[series.created] = end
        return end

    def encode_kept(self, name: str, series: SingleValue) -> bytes:
        """Return the message of a lone series that keeps all but its number."""
        end, encoded_name = self.help_and_type + series.encoded, name.encode()
        start = b"\x0a" + varint(len(encoded_name))
        length = varint(len(start) + len(encoded_name) + len(end) + 8)
        return b"".join((length, start, encoded_name, end, double(series.value)))

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
    Encodes metrics of one number: gauges.

    The number is last, so what precedes it is kept.  It is read without a call, which
    would take 70 ns more of 400.
    """

    type_field = GAUGE_FIELD

    def encode_only(self, family: MetricFamily, labels: str, series: Any) -> bytes:
        """Return the message of a family of one series; keep its parts for others."""
        self.keep_help(family)
        end = self.help_and_type + (series.encoded or self.constant(labels, series))
        name = family.name.encode()
        start = b"\x0a" + varint(len(name))
        start = varint(len(start) + len(name) + len(end) + 8) + start
        if not labels:
            self.starts[len(name)] = start
            if len(self.ends) < MAX_KNOWN_TIMES:
                self.ends[series.created] = end
        return b"".join((start, name, end, double(series.value)))

    def encode(self, labels: str, series: Any) -> bytes:
        """Return the field of a metric."""
        constant: bytes = series.encoded or self.constant(labels, series)
        return constant + double(series.value)

    def encode_all(
        self, family: MetricFamily, label_texts: Sequence[str], bugs: BugReporter
    ) -> bytes:
        """
        Return the metrics of those series that still exist.

        A series whose values raise is reported to `bugs` and skipped.
        """
        # The loops take most of the time of a large page: 0.5 us for a counter, as much
        # as in text.py (python -m benchmarks, rows of pages).
        found: list[Any] = list(map(family.finder(), label_texts))
        if all(found):
            # If one raises, the loop below finds out which one.
            with suppress(Exception):
                pieces: Sequence[bytes] = [each.encoded for each in found]
                if not all(pieces):
                    pieces = self._constants(family, label_texts, found)
                if pieces:
                    numbers = [double(each.value) for each in found]
                    merged = numbers * 2
                    merged[::2], merged[1::2] = pieces, numbers
                    return b"".join(merged)
        return self._encode_each(family, label_texts, bugs)

    def _encode_each(
        self, family: MetricFamily, label_texts: Sequence[str], bugs: BugReporter
    ) -> bytes:
        metrics = []
        for labels in label_texts:
            series = family.find(labels)
            if series is not None:
                # With bugs.catch() it takes 1 us more.
                try:
                    metrics.append(self.encode(labels, series))
                except Exception as error:
                    bugs.report(error)
        return b"".join(metrics)

    def _constants(
        self, family: MetricFamily, label_texts: Sequence[str], found: Sequence[Series]
    ) -> Sequence[bytes]:
        """Return what does not change of metrics; nothing if they are not alike."""
        all_names = family.all_label_names()
        new = [
            (each, text)
            for each, text in zip(found, label_texts, strict=True)
            if not each.encoded
        ]
        labels = None
        if len(all_names) == 1:
            labels = encode_columns(all_names[0].names, [text for _, text in new])
        if labels is None:
            return ()
        constants = [
            self._join_constant(each_labels, each)
            for each_labels, (each, _) in zip(labels, new, strict=True)
        ]
        rest = iter(constants)
        pieces = [each.encoded or next(rest) for each in found]
        if self._kept.reserve(sum(map(getsizeof, constants))):
            for constant, (each, _) in zip(constants, new, strict=True):
                each.encoded = constant
        return pieces

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
        series = family.find(labels)
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
        return self._join_constant(encode_labels(labels), series)

    def _join_constant(self, labels: bytes, series: Series) -> bytes:
        message = b"%b%b\x09" % (labels, self._start(series))
        return b"%b%b%b" % (METRIC_TAG, varint(len(message) + 8), message)


class SetEncoder(NumberEncoder):
    """Encodes sets, whose members are counted for each page."""

    def encode_only(self, family: MetricFamily, labels: str, series: Series) -> bytes:
        """Return the message of a family of one series."""
        return MetricEncoder.encode_only(self, family, labels, series)

    def encode(self, labels: str, series: Series) -> bytes:
        """Return the field of a metric."""
        return self.constant(labels, series) + double(series.values(self.now)[0])

    def encode_all(
        self, family: MetricFamily, label_texts: Sequence[str], bugs: BugReporter
    ) -> bytes:
        """Return the metrics of those series that still exist."""
        return self._encode_each(family, label_texts, bugs)


class CounterEncoder(NumberEncoder):
    """Encodes counters, with the time of creation."""

    type_field = COUNTER_FIELD

    def _message_length(self) -> int:
        return 12 + TIME_BYTES

    def __init__(self, now: float, kept: Account) -> None:
        super().__init__(now, kept)
        self._created = -1.0
        self._last_start = b""

    def _start(self, series: Series) -> bytes:
        created = series.created
        if created != self._created:
            # Series that are made together have the same time.
            self._created, time = created, encode_time(created)
            self._last_start = b"\x1a" + varint(10 + TIME_BYTES) + b"\x1a" + time
        return self._last_start


def encode_name(name: str) -> bytes:
    """Return the field of a family with its name."""
    return field(b"\x0a", name.encode())


def encode_help(help_text: str) -> bytes:
    """Return the field of a family with its help text."""
    return field(b"\x12", help_text.encode())
