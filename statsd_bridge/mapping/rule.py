"""A rule of a mapping file, and the templates of its name and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from statsd_bridge.mapping.options import ObserverOptions, SharedOptions
from statsd_bridge.mapping.regex import Pattern
from statsd_bridge.model import Action, MetricOptions, SampleType


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
        """Insert the captures; captures[0] is the whole match."""
        return "".join(
            [captures[part] if isinstance(part, int) else part for part in self.parts]
        )


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
