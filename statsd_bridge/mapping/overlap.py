"""How rules relate: which can never match, and which come close to matching a name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from statsd_bridge.document.diagnostics import quote
from statsd_bridge.mapping.glob import Trie
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.model import SampleType


def unreachable(
    rules: Sequence[Rule], globs: Mapping[SampleType, Trie]
) -> Iterator[tuple[Rule, Rule]]:
    """Yield each rule that can never match, with the earlier rule that hides it."""
    regexes: dict[tuple[str, SampleType], Rule] = {}
    for rule in rules:
        if rule.pattern:
            winners = {
                regexes.setdefault((rule.match, each), rule)
                for each in rule.sample_types
            }
        else:
            found = (globs[each].find(rule.segments) for each in rule.sample_types)
            winners = {rules[index] for index in found if index is not None}
        # A rule that wins for one sample type is reachable.
        if rule not in winners:
            yield rule, min(winners, key=lambda winner: winner.index)


def near_misses(
    rules: Sequence[Rule], taken: Rule | None, sample_type: SampleType, name: str
) -> Iterator[tuple[Rule, str]]:
    """
    Yield the rules that come close to mapping a name, each with what prevents it.

    `taken` is the rule that maps the name.
    """
    for rule in rules:
        if not _matches(rule, name):
            reason = _difference(rule, name)
        elif sample_type not in rule.sample_types:
            reason = "is for another metric type"
        elif taken and rule is not taken:
            reason = f"mappings[{taken.index}] goes first"
        else:
            continue
        if reason:
            yield rule, reason


def _matches(rule: Rule, name: str) -> bool:
    if rule.pattern:
        return rule.pattern.search(name) is not None
    segments = name.split(".")
    return len(rule.segments) == len(segments) and not _differing(rule, segments)


def _differing(rule: Rule, segments: Sequence[str]) -> list[int]:
    """Return the indexes of the segments in which a name differs from a glob."""
    pairs = zip(rule.segments, segments, strict=False)
    return [i for i, (glob, segment) in enumerate(pairs) if glob not in ("*", segment)]


def _difference(rule: Rule, name: str) -> str:
    """Return the one segment in which a glob differs from a name, or ""."""
    if rule.pattern:
        return ""
    segments = name.split(".")
    differing = _differing(rule, segments)
    extra = abs(len(rule.segments) - len(segments))
    if extra == 1 and not differing:
        return f"has {len(rule.segments)} segments, the name has {len(segments)}"
    if extra or len(differing) != 1:
        return ""
    at = differing[0]
    found, wanted = quote(segments[at]), quote(rule.segments[at])
    return f"segment {at + 1} is {found}, not {wanted}"
