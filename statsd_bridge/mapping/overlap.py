"""
Rules in, out comes what they are to each other and to a name that they do not take.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from statsd_bridge.document.diagnostics import quote
from statsd_bridge.mapping.glob import Trie
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.model import SampleType


def useless(
    rules: Sequence[Rule], globs: Mapping[SampleType, Trie]
) -> Iterator[tuple[Rule, Rule]]:
    """Yield the rules that can never match, each with the one that goes before it."""
    regexes: dict[tuple[str, SampleType], Rule] = {}
    for rule in rules:
        if rule.pattern:
            firsts = {regexes.setdefault((rule.match, k), rule) for k in rule.kinds}
        else:
            found = (globs[kind].find(rule.segments) for kind in rule.kinds)
            firsts = {rules[index] for index in found if index is not None}
        # Where it is the first for one kind at least, it has its use.
        if rule not in firsts:
            yield rule, min(firsts, key=lambda first: first.index)


def near_miss(rule: Rule, name: str) -> str | None:
    """Tell why a rule does not match: None when it does, "" when it is far from it."""
    if rule.pattern:
        return "" if rule.pattern.search(name) is None else None
    segments = name.split(".")
    pairs = zip(rule.segments, segments, strict=False)
    differing = [
        i for i, (glob, segment) in enumerate(pairs) if glob not in ("*", segment)
    ]
    if len(rule.segments) != len(segments):
        near = not differing and abs(len(rule.segments) - len(segments)) == 1
        said = f"has {len(rule.segments)} segments, the name has {len(segments)}"
        return said if near else ""
    if len(differing) == 1:
        at = differing[0]
        found, wanted = quote(segments[at]), quote(rule.segments[at])
        return f"segment {at + 1} is {found}, not {wanted}"
    return "" if differing else None
