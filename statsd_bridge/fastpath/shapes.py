"""What follows from the parts of plain lines, for all that have them in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from statsd_bridge.mapping.pattern import LabelPattern, TextPattern
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.model import MetricOptions, Sample, SampleFormat
from statsd_bridge.series.family import LabelNames, SeriesKind
from statsd_bridge.syntax import escape_metric_name

NO_TAGS: tuple[str, ...] = ()


@final
class LineShape:
    """What follows from a rule, the text of a suffix and the names of its tags."""

    __slots__ = (
        "format",
        "kind",
        "label_names",
        "label_text",
        "labels",
        "metric",
        "name",
        "options",
    )

    def __init__(
        self,
        *,
        format: SampleFormat,
        options: MetricOptions,
        name: TextPattern | None,
        labels: LabelPattern,
        kind: SeriesKind | None,
    ) -> None:
        self.format = format
        self.kind = kind
        """That of the series, or None if the store refuses their labels."""
        self.options = options
        self.name = name
        """Of the metric, not escaped; None for the name of the line."""
        self.labels = labels
        self.label_text = labels.text.fill(()) if labels.text.is_constant else None
        """The labels as the page prints them, if they are always the same."""
        self.metric = ""
        """The name of the metric, if it is always the same."""
        if name is not None and name.is_constant:
            self.metric = escape_metric_name(name.fill(()))
        self.label_names: LabelNames | None = None
        """Those of the last series, if its metric is always the same."""


Shapes = dict[Rule | None, LineShape | None]
"""By rule; None for lines of the plain path."""


@final
class Reading:
    """What the grammar finds in the text after a value, tags aside."""

    __slots__ = (
        "last_shapes",
        "last_tags",
        "sample",
        "shapes",
        "source",
        "suffix",
        "type",
    )

    def __init__(self, sample: Sample, suffix: bytes, source: str) -> None:
        self.sample = sample
        self.type = sample.type
        self.suffix = suffix
        self.source = source
        self.last_tags = NO_TAGS
        self.last_shapes: Shapes = {}
        self.shapes: dict[tuple[str, ...], Shapes] = {NO_TAGS: self.last_shapes}
        """By names of tags."""

    def shapes_of(self, tags: tuple[str, ...]) -> Shapes:
        """Return the shapes of lines with these tags; most often those of the last."""
        if tags is not self.last_tags:
            shapes = self.shapes.get(tags)
            if shapes is None:
                return {}
            self.last_tags, self.last_shapes = tags, shapes
        return self.last_shapes


@final
class TaggedName:
    """The shape of the last line with a name and tags, and the values of the name."""

    __slots__ = ("label_names", "shape", "shapes", "values")

    def __init__(
        self,
        *,
        shapes: Shapes,
        shape: LineShape,
        values: Sequence[str],
        label_names: LabelNames,
    ) -> None:
        self.shapes = shapes
        """Those of the line's suffix and names of tags."""
        self.shape = shape
        self.values = values
        self.label_names = label_names
