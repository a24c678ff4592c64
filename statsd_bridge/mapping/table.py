"""
A kind and a name in, a match out: the rules of a file, and what was looked up lately.

    globs first, by their order (or the best literal, if unordered)
        then regexes, by their order, wherever they stand in the file
            then nobody: the name is unmapped and the defaults hold

What a name matches depends on nothing else, so answers are kept, misses too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from statsd_bridge.document import node
from statsd_bridge.document.diagnostics import Diagnostics
from statsd_bridge.document.section import Section, non_null
from statsd_bridge.mapping import overlap, rule
from statsd_bridge.mapping.glob import Trie
from statsd_bridge.mapping.regex import First
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.model import Action, Labels, MetricOptions, SampleType, SeriesSpec
from statsd_bridge.text import escape_metric_name

# What has a longer name is not kept, so that the cache is bounded in bytes, too.
_LONGEST_KEPT = 1024


class Match(NamedTuple):
    """
    What the table says of a name.

    `bare` is the target of a sample that has no tags.  `captures` are in the order of
    the `*` or groups; a name that nothing takes has no rule.
    """

    action: Action
    bare: SeriesSpec
    honor_labels: bool = False
    rule: Rule | None = None
    captures: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The Prometheus name, escaped; it may be empty."""
        return self.bare.name

    @property
    def labels(self) -> Labels:
        """The labels that the rule gives."""
        return self.bare.labels

    @property
    def options(self) -> MetricOptions:
        """How the series is kept."""
        return self.bare.options

    def spec(self, tags: Labels) -> SeriesSpec:
        """Merge the tags of a sample in: the rule's labels win, unless it honors."""
        if not tags:
            return self.bare
        name, labels, options, _ = self.bare
        if not labels:
            return SeriesSpec(name, tags, options)
        winners, others = (tags, labels) if self.honor_labels else (labels, tags)
        merged = {**dict(others), **dict(winners)}
        return SeriesSpec(name, tuple(sorted(merged.items())), options)


class MappingTable:
    """The rules of one mapping file; nothing but its cache ever changes."""

    def __init__(
        self,
        rules: Sequence[Rule],
        globs: Mapping[SampleType, Trie],
        unmapped: Mapping[SampleType, MetricOptions],
        warnings: Sequence[str] = (),
        cache_size: int = 1000,
    ) -> None:
        self.rules = tuple(rules)
        self.globs = globs
        self.warnings = tuple(warnings)
        self._regexes = _regexes(rules)
        self._unmapped = unmapped
        self._kept = lru_cache(maxsize=max(cache_size, 0))(self._find)

    def __len__(self) -> int:
        return len(self.rules)

    def look_up(self, kind: SampleType, name: str) -> Match:
        """Tell what becomes of a name, which is as sent and without its tags."""
        if len(name) > _LONGEST_KEPT:
            return self._find(kind, name)
        return self._kept(kind, name)

    def peek(self, kind: SampleType, name: str) -> Match:
        """Tell the same, and leave the cache and its numbers alone."""
        return self._find(kind, name)

    @property
    def cache_length(self) -> int:
        """How many answers are kept."""
        return self._kept.cache_info().currsize

    @property
    def cache_gets(self) -> int:
        """How often the cache was asked."""
        info = self._kept.cache_info()
        return info.hits + info.misses

    @property
    def cache_hits(self) -> int:
        """How often the cache knew."""
        return self._kept.cache_info().hits

    def candidates(self, kind: SampleType, name: str) -> list[tuple[Rule, str]]:
        """List the rules that came close to taking a name, each with what was amiss."""
        taken = self._find(kind, name).rule
        near: list[tuple[Rule, str]] = []
        for each in self.rules:
            reason = overlap.near_miss(each, name)
            if reason is None and kind not in each.kinds:
                reason = "is for another metric type"
            elif reason is None and taken and each is not taken:
                reason = f"mappings[{taken.index}] goes first"
            if reason:
                near.append((each, reason))
        return near

    def _find(self, kind: SampleType, name: str) -> Match:
        segments = name.split(".")
        index = self.globs[kind].find(segments)
        if index is not None:
            found = self.rules[index]
            captures = [segments[star] for star in found.stars]
            return _match(found, kind, (name, *captures))
        if by_regex := self._regexes[kind].find(name):
            index, groups = by_regex
            return _match(self.rules[index], kind, groups)
        bare = SeriesSpec(escape_metric_name(name), (), self._unmapped[kind])
        return Match(Action.UNMAPPED, bare)


def load(path: str, *, strict: bool = False, cache_size: int = 1000) -> MappingTable:
    """Read a mapping file."""
    return parse(node.read_file(path), path, strict=strict, cache_size=cache_size)


def parse(
    text: str | bytes, file: str, *, strict: bool = False, cache_size: int = 1000
) -> MappingTable:
    """Read the text of a mapping file; `file` is what messages call it."""
    diagnostics = Diagnostics(file, strict=strict)
    section = Section(diagnostics, "", non_null(node.compose(text, file)))
    nothing = Section(diagnostics, "defaults", [])
    defaults = rule.read_defaults(section.section("defaults") or nothing)
    entries = section.sections("mappings") or []
    rules = [rule.read_rule(entry, i, defaults) for i, entry in enumerate(entries)]
    section.reject_unknown_keys()
    globs = _tries(rules, ordered=defaults.ordered)
    for each, first in overlap.useless(rules, globs):
        problem = f"never matches: mappings[{first.index}] takes all its names"
        diagnostics.warn(f"mappings[{each.index}]", each.line, problem)
    return MappingTable(
        rules, globs, defaults.forms, diagnostics.warnings(), cache_size
    )


def empty(*, cache_size: int = 1000) -> MappingTable:
    """Make the table of a bridge that has no mapping file."""
    return parse("", "", cache_size=cache_size)


def _tries(rules: Sequence[Rule], *, ordered: bool) -> Mapping[SampleType, Trie]:
    tries = {kind: Trie(ordered=ordered) for kind in SampleType}
    # Rules for gauges take sets.
    tries[SampleType.SET] = tries[SampleType.GAUGE]
    for each in rules:
        for kind in () if each.pattern else each.kinds - {SampleType.SET}:
            tries[kind].add(each.segments, each.index)
    return tries


def _regexes(rules: Sequence[Rule]) -> Mapping[SampleType, First]:
    firsts: dict[SampleType, First] = {}
    # Most rules are for every kind, and compiled regexes are large.
    shared: dict[tuple[int, ...], First] = {}
    for kind in (SampleType.COUNTER, SampleType.GAUGE, SampleType.OBSERVER):
        of_kind = [each for each in rules if kind in each.kinds]
        patterns = [(each.pattern, each.index) for each in of_kind if each.pattern]
        numbers = tuple([number for _, number in patterns])
        if numbers not in shared:
            shared[numbers] = First(patterns)
        firsts[kind] = shared[numbers]
    return {**firsts, SampleType.SET: firsts[SampleType.GAUGE]}


def _match(rule: Rule, kind: SampleType, captures: tuple[str, ...]) -> Match:
    """Expand the templates; the first capture is the whole match."""
    name = escape_metric_name(rule.name.expand(captures))
    labels = tuple([(key, each.expand(captures)) for key, each in rule.labels])
    target = SeriesSpec(name, labels, rule.forms[kind])
    return Match(rule.action, target, rule.honor_labels, rule, captures[1:])
