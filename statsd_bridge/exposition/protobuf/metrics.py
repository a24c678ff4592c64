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
    MAX_KNOWN_TIMES,
    TIME_BYTES,
    double,
    encode_labels,
    encode_time,
    field,
    varint,
)
from statsd_bridge.log import BugReporter
from statsd_bridge.memory import Account
from statsd_bridge.series import MetricFamily, Series

NAME_TAG: Final = b"\x0a"
METRIC_TAG: Final = b"\x22"

COUNTER_FIELD: Final = b"\x18\x00"
GAUGE_FIELD: Final = b"\x18\x01"
"""The type of a family."""

MAX_SHORT_NAME: Final = 500
"""Characters of a name whose message has no more bytes than a page counts."""

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
    unlabelled = b""
    """What does not change of a metric without labels, if all have the same."""

    def __init__(self, now: float, kept: Account) -> None:
        self.now = now
        self._kept = kept
        self._help: str | None = None
        self._help_and_type = b""
        # What does not change of metrics without labels, by their time of creation.
        self._of_time: dict[float, bytes] = {}
        self.starts: dict[int, bytes] = {}
        """What precedes a short name, by its length, before a number without labels."""

    def use_help(self, help_text: str) -> bytes:
        """Return the fields with the help text of the next family and its type."""
        if help_text is not self._help:
            # Families without a rule share their help text.
            self._help = help_text
            self._help_and_type = encode_help(help_text) + self.type_field
            self.starts.clear()
        return self._help_and_type

    def head(self, name: str) -> bytes:
        """Return the fields of a family before its metrics."""
        return encode_name(name) + self._help_and_type

    def message(self, name: str, metric: bytes) -> bytes:
        """Return the message of a family of one metric."""
        size, rest = len(name), self._help_and_type
        if size < 0x80:
            # By `field` and `encode_name` it would take 0.4 us more.
            length = varint(2 + size + len(rest) + len(metric))
            return b"%b\x0a%c%b%b%b" % (length, size, name.encode(), rest, metric)
        return field(b"", encode_name(name) + rest + metric)

    def keep_start(self, name: str, constant: bytes) -> None:
        """Keep what precedes a short name, if a number without labels follows."""
        if len(name) <= MAX_SHORT_NAME:
            metric = constant + bytes(8)
            rest = len(name) + len(self._help_and_type) + len(metric)
            self.starts[len(name)] = self.message(name, metric)[:-rest]

    def encode_only(self, name: str, labels: str, series: Series) -> bytes:
        """Return the message of a family of one series."""
        return self.message(name, self.encode(labels, series))

    def encode(self, labels: str, series: Series) -> bytes:
        """Return the field of a metric."""
        raise NotImplementedError

    def constant(self, labels: str, series: Series) -> bytes:
        """Return what does not change of a metric; keep it if there is memory."""
        if not labels and self.unlabelled:
            return self.unlabelled
        constant = series.encoded
        if constant:
            return constant
        known = None if labels else self._of_time.get(series.created)
        constant = known or self._encode_constant(labels, series)
        if not labels and len(self._of_time) < MAX_KNOWN_TIMES:
            self._of_time[series.created] = constant
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
    unlabelled = METRIC_TAG + b"\x0b\x12\x09\x09"

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
        join = self._join_constant
        constants = [join(each, of) for each, (of, _) in zip(labels, new, strict=True)]
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

    def _number_start(self, _series: Series) -> bytes:
        """Return tag and length of the message, and what precedes the number."""
        return b"\x12\x09\x09"

    def _encode_constant(self, labels: str, series: Series) -> bytes:
        return self._join_constant(encode_labels(labels), series)

    def _join_constant(self, labels: bytes, series: Series) -> bytes:
        start = self._number_start(series)
        length = varint(len(labels) + len(start) + 8)
        return b"".join((METRIC_TAG, length, labels, start))


class SetEncoder(NumberEncoder):
    """Encodes sets, whose members are counted for each page."""

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
    unlabelled = b""

    def _message_length(self) -> int:
        return 12 + TIME_BYTES

    def _number_start(self, series: Series) -> bytes:
        return b"\x1a\x17\x1a%b\x09" % encode_time(series.created)


def encode_name(name: str) -> bytes:
    """Return the field of a family with its name."""
    return field(NAME_TAG, name.encode())


def encode_help(help_text: str) -> bytes:
    """Return the field of a family with its help text."""
    return field(b"\x12", help_text.encode())
