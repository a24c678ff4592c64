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
    rules: Sequence[Rule], matched_rule: Rule | None, sample_type: SampleType, name: str
) -> Iterator[tuple[Rule, str]]:
    """
    Yield the rules that come close to mapping a name, each with what prevents it.

    `matched_rule` is the rule that maps the name, if any.
    """
    segments = name.split(".")
    for rule in rules:
        if rule.pattern and rule.pattern.search(name) is None:
            # A regex has no near misses.
            continue
        differences = [] if rule.pattern else _differences(rule.segments, segments)
        if differences:
            reason = differences[0]
        elif sample_type not in rule.sample_types:
            reason = "is for another metric type"
        elif matched_rule and rule is not matched_rule:
            reason = f"mappings[{matched_rule.index}] goes first"
        else:
            continue
        if len(differences) <= 1:
            yield rule, reason


def _differences(glob: Sequence[str], segments: Sequence[str]) -> list[str]:
    """Describe the differences of a name from a glob, two or more if it is far."""
    pairs = enumerate(zip(glob, segments, strict=False), 1)
    found = [
        f"segment {number} is {quote(segment)}, not {quote(wanted)}"
        for number, (wanted, segment) in pairs
        if wanted not in ("*", segment)
    ]
    lengths = f"has {len(glob)} segments, the name has {len(segments)}"
    return found + [lengths] * min(abs(len(glob) - len(segments)), 2)
