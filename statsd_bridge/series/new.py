"""A series that may be created, and what the store must know of a sample for that."""

from __future__ import annotations

from typing import final

from statsd_bridge.memory import family_size, series_size
from statsd_bridge.model import RejectionReason, Sample, SeriesSpec
from statsd_bridge.series.base import Series
from statsd_bridge.series.family import LabelNames, MetricFamily
from statsd_bridge.series.limits import TextLimits, has_reserved_label
from statsd_bridge.syntax import format_labels


@final
class NewSeries:
    """A series that is to be created, in its family if there is one."""

    __slots__ = ("family", "label_names", "label_text", "names", "size", "spec")

    def __init__(
        self, family: MetricFamily | None, spec: SeriesSpec, label_text: str
    ) -> None:
        self.family = family
        self.spec = spec
        self.label_text = label_text
        self.names: tuple[str, ...] = ()
        if spec.labels:
            self.names = tuple([name for name, _ in spec.labels])
        self.label_names: LabelNames | None = None
        options = spec.options
        self.size = 0
        """Bytes to charge, its ttl aside."""
        if family is None:
            self.size = family_size(spec.name, self.names)
        else:
            self.size = family.growth(self.names)
            self.label_names = family.find_label_names(self.names)
            if self.label_names is not None:
                options = self.label_names.kind.options
        self.size += series_size(options, label_text)

    def text_rejection(self, limits: TextLimits) -> RejectionReason | None:
        """Return why a series must not have such a name or label, or None."""
        if not self.spec.name:
            return RejectionReason.EMPTY_METRIC_NAME
        if too_long := limits.rejection_reason(self.spec, self.label_text):
            return too_long
        if has_reserved_label(self.spec):
            return RejectionReason.RESERVED_LABEL
        return None


def scaled(spec: SeriesSpec, sample: Sample) -> float:
    """Return the value of a sample after the scale of its rule."""
    scale = spec.options.scale
    return sample.value if scale is None else sample.value * scale


def counter_rejection(increment: float) -> RejectionReason:
    """Return why a counter cannot take an increment that is negative or NaN."""
    if increment < 0:
        return RejectionReason.ILLEGAL_NEGATIVE_COUNTER
    return RejectionReason.NAN


def text_of_labels(spec: SeriesSpec) -> str:
    """Return the labels of a series as the page prints them."""
    return format_labels(spec.labels) if spec.label_text is None else spec.label_text


def find_series(
    family: MetricFamily | None, spec: SeriesSpec, label_text: str
) -> Series | None:
    """Return the series of a spec, if there is one of its type."""
    if family is None or family.type is not spec.options.type:
        return None
    return family.find(label_text)
