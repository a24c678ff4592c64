"""The longest texts that a series may have, and the labels that it must not have."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from statsd_bridge.model import MetricType, RejectionReason, SeriesSpec
from statsd_bridge.syntax import is_reserved_label
from statsd_bridge.text_lengths import (
    MAX_LABEL_NAME_BYTES,
    MAX_LABEL_VALUE_BYTES,
    MAX_NAME_BYTES,
)

LABEL_ADDED_BY_TYPE = {MetricType.HISTOGRAM: "le", MetricType.SUMMARY: "quantile"}
"""The label that a metric type adds itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextLimits:
    """The longest texts that a new series may have, in bytes of UTF-8."""

    name: int = MAX_NAME_BYTES
    label_name: int = MAX_LABEL_NAME_BYTES
    label_value: int = MAX_LABEL_VALUE_BYTES

    @property
    def always_allowed(self) -> int:
        """Characters of all labels together that cannot be too many for any limit."""
        return min(self.label_name, self.label_value // 4)

    def rejection_reason(
        self, spec: SeriesSpec, label_text: str | None
    ) -> RejectionReason | None:
        """Return which kind of text is too long, or None; `label_text` may be open."""
        if len(spec.name) > self.name:
            return RejectionReason.NAME_TOO_LONG
        # Few characters cannot be many bytes, and need no look at each label.
        if label_text is not None and len(label_text) <= self.always_allowed:
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
