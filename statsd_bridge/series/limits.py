"""
What a new series may have: names and labels, their length, and its size in memory.

The sizes are the growth of the resident memory of CPython 3.11 to 3.13 on 64-bit Linux,
divided by the number of objects (`python -m benchmarks.memory`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from sys import getsizeof
from typing import Final

from statsd_bridge.model import (
    MetricOptions,
    MetricType,
    RejectionReason,
    SeriesSpec,
)
from statsd_bridge.syntax import is_reserved_label

LABEL_ADDED_BY_TYPE = {MetricType.HISTOGRAM: "le", MetricType.SUMMARY: "quantile"}
"""The label that a metric type adds itself."""


SERIES_BYTES: Final = {
    MetricType.COUNTER: 160,
    MetricType.GAUGE: 160,
    MetricType.HISTOGRAM: 220,
    MetricType.SUMMARY: 650,
    MetricType.SET: 430,
}
"""An empty series in a large family, without its labels."""

BUCKET_BYTES: Final = 24
"""A bucket of a histogram: 8 bytes while its count is small, 40 when it is large."""

EXPIRY_BYTES: Final = 240
"""The times of a series with a ttl, and its entry in the expiry heap."""

FAMILY_BYTES: Final = 400
"""A family, without its name and label names."""

LABEL_NAMES_BYTES: Final = 230
"""A combination of label names, without their text."""

LABEL_NAME_BYTES: Final = 8
"""The place of a label name in its combination."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLimits:
    """The longest texts that a new series may have, in bytes of UTF-8."""

    name: int = 1_024
    label_name: int = 256
    label_value: int = 4_096

    def rejection_reason(
        self, spec: SeriesSpec, label_text: str
    ) -> RejectionReason | None:
        """Return which kind of text is too long, or None."""
        if len(spec.name) > self.name:
            return RejectionReason.NAME_TOO_LONG
        # Few characters cannot be many bytes, and need no look at each label.
        if len(label_text) <= min(self.label_name, self.label_value // 4):
            return None
        for name, value in spec.labels:
            if len(name) > self.label_name or _exceeds(value, self.label_value):
                return RejectionReason.LABEL_TOO_LONG
        return None


DEFAULT_TEXT_LIMITS = TextLimits()


def _exceeds(text: str, limit: int) -> bool:
    """Return whether a text has more bytes of UTF-8 than a limit."""
    if len(text) > limit or text.isascii():
        return len(text) > limit
    return len(text.encode("utf-8", "surrogatepass")) > limit


def has_reserved_label(spec: SeriesSpec) -> bool:
    """Return whether Prometheus, or the type of the metric, reserves a label."""
    labels = spec.labels
    if not labels:
        return False
    # They are sorted, and a sender may send thousands with thousands of values.
    index = bisect_left(labels, ("__",))
    if index < len(labels) and is_reserved_label(labels[index][0]):
        return True
    added = LABEL_ADDED_BY_TYPE.get(spec.options.type)
    index = bisect_left(labels, (added,)) if added else len(labels)
    return index < len(labels) and labels[index][0] == added


def series_size(options: MetricOptions, label_text: str) -> int:
    """Return the size of a series without a ttl, members and values."""
    size = SERIES_BYTES[options.type] + getsizeof(label_text)
    if options.type is MetricType.HISTOGRAM:
        size += BUCKET_BYTES * (len(options.buckets) + 1)
    return size


def family_size(name: str) -> int:
    """Return the size of a family without series."""
    return FAMILY_BYTES + getsizeof(name)


def label_names_size(names: Iterable[str]) -> int:
    """Return the size of a combination of label names."""
    size = LABEL_NAMES_BYTES
    for name in names:
        size += LABEL_NAME_BYTES + getsizeof(name)
    return size
