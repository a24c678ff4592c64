"""
From a plain line to its series, without the grammar: for lines that come first.

    svc.hits     : 3 |  c|@0.1|#zone:eu
    name              type, rate, tags
      |                    |
      |                    '-- read once for all lines with the same text (`Reading`)
      '-- rule or unmapped --- one `LineShape` for a rule, a reading and names of tags

What the grammar of line.py, the rules and the store find out for one such line holds
for all lines of its shape, so it is found out once, by them.  A line that is not plain,
or whose series the store refuses, is left to the plain path.  A new counter of a rule
costs 6 us this way, and 24 by the plain path (python -m benchmarks, shapes).

Lines with tags often have the same name, whose rule is kept with them (`TaggedName`).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from sys import getsizeof
from typing import Final, final

from statsd_bridge.fastpath.known import MAX_KEY_BYTES
from statsd_bridge.fastpath.shapes import (
    NO_TAGS,
    LineShape,
    Reading,
    TaggedName,
)
from statsd_bridge.fastpath.tags import TagReader, split_sections
from statsd_bridge.line import parse_line
from statsd_bridge.mapping import MappingTable
from statsd_bridge.mapping.pattern import (
    LabelPattern,
    TextPattern,
    label_parts,
    template_parts,
)
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.memory import Account
from statsd_bridge.model import (
    Action,
    Sample,
    SampleFormat,
    SampleType,
)
from statsd_bridge.pipeline import Pipeline
from statsd_bridge.series import Series
from statsd_bridge.syntax import escape_metric_name

SHAPE_BYTES = 1_500
"""A shape or a reading, about, besides its tags."""

TAG_BYTES = 500
"""A tag in a shape, besides its name."""

MAX_SHAPES = 4_000
"""Shapes and readings; without room for more, lines take the plain path."""

MAX_LINES_WITHOUT_SHAPE = 40_000
"""
Lines without room for a shape until all are made again.  To make one takes longer than
the plain path, so lines that are never alike must not make one each.
"""

MAX_TAGGED_NAMES = 1_000
"""Names of lines with tags that are remembered; beyond it they are looked up again."""

TAGGED_NAME_BYTES = 500
"""A name of lines with tags, about, besides its text and its segments."""

# Printable ASCII, without the characters that have a meaning in the grammar of a name,
# and without those that are escaped in a label.
_PLAIN_NAME = bytes(set(range(0x20, 0x7F)) - set(b'#,:[]{|}"\\'))
_PLAIN_SUFFIX = bytes(set(range(0x20, 0x7F)) - set(b":#"))

# To look up a member in its Enum takes 0.1 us.
_DROP: Final = Action.DROP


Resolved = tuple[Series | None, SampleFormat]
"""A series for the number of a line; None if the mapping drops its name."""


_UNREADABLE = Reading(Sample(SampleType.SET, "", 0.0), b"", "")
"""For text that only the plain path reads."""


@final
class Readings(dict[bytes, Reading]):
    """Readings by suffix."""

    __slots__ = ("source",)

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source


@final
class LineResolver:
    """Finds and creates the series of plain lines; `account` is for what it keeps."""

    def __init__(self, plain: Pipeline, account: Account) -> None:
        self._plain = plain
        self._store = plain.store
        self._account = account
        self.saved_look_ups = 0
        """Lines whose names were not looked up."""
        self.is_timed = False
        """Whether the last line had its time, so that hardly any other is like it."""
        self._charged = self._shapes = self._without_shape = 0
        self._names_charged = 0
        self._names: dict[bytes, TaggedName] = {}
        self._table: MappingTable = plain.table
        self._readings: dict[str, Readings] = {}
        self._default_readings = Readings("")
        self._has_sources = plain.has_sources
        self._tags = TagReader()
        self._dogstatsd = plain.dialect.dogstatsd
        self.clear()

    def clear(self) -> None:
        """Forget all shapes; use the rules that the plain path has now."""
        self._account.release(self._charged)
        self._charged = self._shapes = self._without_shape = 0
        self._forget_names()
        self._table = self._plain.table
        self._default_readings = Readings("")
        self._readings = {"": self._default_readings}

    def resolve(self, name: bytes, suffix: bytes, now: float) -> Resolved | None:
        """
        Return the series of a line with a plain number, created if necessary.

        None if only the plain path can tell.
        """
        self.is_timed = False
        if len(name) + len(suffix) > MAX_KEY_BYTES:
            return None
        readings = self._default_readings
        if self._has_sources:
            readings = self._readings_of(name)
        reading = readings.get(suffix)
        if reading is not None:
            return self._look_up(reading, name, NO_TAGS, NO_TAGS, now)
        head, _, tag_text = suffix.partition(b"|#")
        reading = readings.get(head)
        if reading is None or not tag_text or tag_text.find(b"|") >= 0:
            sections = split_sections(suffix)
            if sections is None:
                return None
            head, tag_text, self.is_timed = sections
            reading = readings.get(head) or self._read(readings, head)
        if not tag_text:
            return self._look_up(reading, name, NO_TAGS, NO_TAGS, now)
        return self._resolve_tagged(reading, name, tag_text, now)

    def _resolve_tagged(
        self, reading: Reading, name: bytes, tag_text: bytes, now: float
    ) -> Resolved | None:
        """Return the series of a line with tags."""
        tag_values = self._tags.read(tag_text) if self._dogstatsd else None
        if tag_values is None:
            return None
        tags, shapes = self._tags.names, reading.last_shapes
        if tags is not reading.last_tags:
            shapes = reading.shapes_of(tags)
        known = self._names.get(name)
        if (
            known is None
            or known.shapes is not shapes
            or not known.label_names.use_count
        ):
            return self._look_up(reading, name, tags, tag_values, now)
        # Few names have many combinations of tags: this takes 2 us less.
        shape = known.shape
        values = [*known.values, *tag_values] if known.values else tag_values
        label_text = shape.labels.text.fill(values)
        series = self._store.series_like(
            known.label_names, label_text, shape.options.ttl, now
        )
        if series is None:
            return None
        self.saved_look_ups += 1
        return series, shape.format

    def _look_up(
        self,
        reading: Reading,
        name: bytes,
        tags: tuple[str, ...],
        tag_values: Sequence[str],
        now: float,
    ) -> Resolved | None:
        """Return the series of a line whose name is looked up."""
        if reading is _UNREADABLE or not name or name.translate(None, _PLAIN_NAME):
            return None
        text = name.decode()
        rule, values = self._table.find_rule(reading.type, text)
        shapes = reading.last_shapes
        if tags is not reading.last_tags:
            shapes = reading.shapes_of(tags)
        shape = shapes.get(rule)
        if shape is None:
            shape = self._shape_of(reading, rule, tags)
            if shape is None:
                return None
        if not tags:
            return self._find(shape, text, values, now)
        all_values = [*values, *tag_values] if values else tag_values
        resolved = self._find(shape, text, all_values, now)
        if resolved is not None and resolved[0] is not None:
            found = TaggedName(
                shapes=reading.shapes_of(tags),
                shape=shape,
                values=values,
                label_names=resolved[0].label_names,
            )
            self._remember(name, found)
        return resolved

    def _remember(self, name: bytes, found: TaggedName) -> None:
        """Remember a name of lines with tags, if there is room."""
        names = self._names
        if name not in names:
            if len(names) >= MAX_TAGGED_NAMES:
                self._forget_names()
            size = TAGGED_NAME_BYTES + len(name) + sum(map(getsizeof, found.values))
            if not self._account.reserve(size):
                return
            self._names_charged += size
        names[name] = found

    def _forget_names(self) -> None:
        self._account.release(self._names_charged)
        self._names_charged = 0
        self._names.clear()

    def _readings_of(self, name: bytes) -> Readings:
        """Return the readings for lines of a source: their counts are separate."""
        source = self._plain.source_of(name) if b"." in name else ""
        readings = self._readings.get(source)
        if readings is None:
            readings = self._readings[source] = Readings(source)
        return readings

    def _read(self, readings: Readings, suffix: bytes) -> Reading:
        """Read the text after a value, and keep what was found."""
        if not self._charge(SHAPE_BYTES + len(suffix)):
            return _UNREADABLE
        reading = readings[suffix] = self._parse(suffix, readings.source)
        return reading

    def _parse(self, suffix: bytes, source: str) -> Reading:
        if suffix.translate(None, _PLAIN_SUFFIX):
            return _UNREADABLE
        parsed = parse_line(b"x:1|" + suffix, self._plain.dialect)
        if parsed.attempted != 1 or parsed.errors or len(parsed.samples) != 1:
            return _UNREADABLE
        sample = parsed.samples[0]
        if sample.type is SampleType.SET or not 0 < sample.divisor < inf:
            return _UNREADABLE
        return Reading(sample, suffix, source)

    def _find(
        self, shape: LineShape, text: str, values: Sequence[str], now: float
    ) -> Resolved | None:
        """Return the series of a name with these values."""
        label_names, options = shape.label_names, shape.options
        if shape.format.action is _DROP:
            return None, shape.format
        label_text = shape.label_text
        if label_text is None:
            label_text = shape.labels.text.fill(values)
        if label_names is None or not label_names.use_count:
            metric = shape.metric
            if not metric:
                name = text if shape.name is None else shape.name.fill(values)
                metric = escape_metric_name(name)
            store = self._store
            family = store.by_name.get(metric)
            if family is None:
                if shape.kind is None:
                    return None
                series = store.new_family(metric, shape.kind, label_text, now)
                return None if series is None else (series, shape.format)
            if family.type is not options.type:
                return None
            label_names = family.find_label_names(shape.labels.names)
            if label_names is None:
                return None
            if shape.metric:
                shape.label_names = label_names
        series = self._store.series_like(label_names, label_text, options.ttl, now)
        return None if series is None else (series, shape.format)

    def _shape_of(
        self, reading: Reading, rule: Rule | None, tags: tuple[str, ...]
    ) -> LineShape | None:
        """Return a new shape and keep it; None if there is none."""
        shapes = reading.shapes.get(tags)
        if shapes is not None and rule in shapes:
            return None
        size = SHAPE_BYTES + sum([TAG_BYTES + len(tag) for tag in tags])
        if not self._charge(size):
            return None
        shape = self._new_shape(reading, rule, tags)
        if shapes is None:
            shapes = reading.shapes[tags] = {}
        shapes[rule] = shape
        return shape

    def _new_shape(
        self, reading: Reading, rule: Rule | None, tags: tuple[str, ...]
    ) -> LineShape | None:
        sample, action, name = reading.sample, Action.UNMAPPED, None
        options = self._table.search.unmapped_options(sample.type)
        if rule is not None:
            parts = template_parts(rule, rule.name, MAX_KEY_BYTES)
            if parts is None:
                return None
            action, name = rule.action, TextPattern(parts)
            options = rule.options[sample.type]
        names = [escape_metric_name(tag) for tag in tags]
        labels = label_parts(rule, names, MAX_KEY_BYTES)
        scale = None if action is Action.DROP else options.scale
        if labels is None or len({*names}) < len(names):
            return None
        if scale is not None and not 0 < scale < inf:
            return None
        format = SampleFormat(
            type=sample.type,
            action=action,
            divisor=sample.divisor,
            scale=scale,
            weight=sample.weight,
            is_tagged=bool(tags),
            source=reading.source,
            suffix=b"" if tags else reading.suffix,
            rule=-1 if rule is None else rule.index,
        )
        pattern = LabelPattern(labels)
        kind = self._store.allow_labels(
            tuple([(each, "") for each in pattern.names]), options
        )
        return LineShape(
            format=format, options=options, name=name, labels=pattern, kind=kind
        )

    def _charge(self, size: int) -> bool:
        """Charge a shape if there is room; forget all if too many lines had none."""
        if self._shapes >= MAX_SHAPES or not self._account.has_room(size):
            self._without_shape += 1
            if self._without_shape <= MAX_LINES_WITHOUT_SHAPE:
                return False
            self.clear()
        if not self._account.reserve(size):
            return False
        self._shapes += 1
        self._charged += size
        return True
