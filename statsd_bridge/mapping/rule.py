"""A rule of a mapping file, the templates of its name and labels, and its matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from statsd_bridge.mapping.options import ObserverOptions, SharedOptions
from statsd_bridge.mapping.regex import Pattern
from statsd_bridge.model import (
    MAX_EXPANDED_LENGTH,
    Action,
    Labels,
    MetricOptions,
    SampleType,
    SeriesSpec,
)


@dataclass(frozen=True, slots=True)
class Template:
    """
    A parsed template: a string part is literal, a number is a capture.

    `always_empty` are the tokens that refer to no capture.
    """

    source: str
    parts: tuple[str | int, ...]
    always_empty: tuple[str, ...] = ()

    def expand(self, captures: Sequence[str]) -> str:
        """
        Insert the captures; captures[0] is the whole match, which has all others.

        A text of more than MAX_EXPANDED_LENGTH characters is cut there.
        """
        parts = [
            captures[part] if isinstance(part, int) else part for part in self.parts
        ]
        longest = len(self.source) + len(parts) * len(captures[0])
        if longest > MAX_EXPANDED_LENGTH:
            return _join_start(parts)
        return "".join(parts)


def _join_start(parts: Sequence[str]) -> str:
    """Join texts up to MAX_EXPANDED_LENGTH characters."""
    start: list[str] = []
    length = 0
    for part in parts:
        start.append(part)
        length += len(part)
        if length > MAX_EXPANDED_LENGTH:
            break
    return "".join(start)[:MAX_EXPANDED_LENGTH]


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """The `defaults` of a file; they also apply to names that no rule matches."""

    observer: ObserverOptions
    match_type: str
    ordered: bool
    ttl_nanoseconds: int
    options: Mapping[SampleType, MetricOptions]
    shared_options: SharedOptions
    """Those of the rules."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Rule:
    """
    One entry of `mappings`; `index` is its place there, `line` its place in the file.

    A glob has `segments` and captures those at the indexes `stars`; a regex has a
    `pattern`.
    """

    index: int
    line: int
    match: str
    sample_types: frozenset[SampleType]
    action: Action
    name: Template
    labels: tuple[tuple[str, Template], ...]
    honor_labels: bool
    options: Mapping[SampleType, MetricOptions]
    segments: tuple[str, ...] = ()
    stars: tuple[int, ...] = ()
    pattern: Pattern | None = None


class Match(NamedTuple):
    """
    What the mapping does with a name.

    `untagged` is the series of a sample without tags; its name, which is escaped, may
    be empty.  `captures` are the texts of the `*` or groups, in order.  `rule` is None
    if the name is unmapped.
    """

    action: Action
    untagged: SeriesSpec
    honor_labels: bool = False
    rule: Rule | None = None
    captures: tuple[str, ...] = ()

    @property
    def rule_index(self) -> int:
        """The index of the rule; -1 if the name is unmapped."""
        return -1 if self.rule is None else self.rule.index

    def spec(self, tags: Labels) -> SeriesSpec:
        """Return the series of a sample; rule labels override tags unless honored."""
        if not tags:
            return self.untagged
        name, labels, options, _ = self.untagged
        if not labels:
            return SeriesSpec(name, tags, options)
        merged = dict(labels + tags if self.honor_labels else tags + labels)
        return SeriesSpec(name, tuple(sorted(merged.items())), options)
