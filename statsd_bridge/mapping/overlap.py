"""How rules relate: which can never match, and which come close to matching a name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from statsd_bridge.document.diagnostics import quote
from statsd_bridge.document.pace import NO_PACE, Pace
from statsd_bridge.mapping.glob import Trie
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.model import SampleType

MAX_VISITS = 10_000_000
"""
Nodes of tries that the search for unreachable rules visits: a few seconds.

Of n globs that each consist of n literals or stars, a search visits up to 2 ** n.
"""


_CATCH_ALL = re.compile(r"\^?(?:\.[*+]|\(\.[*+]\))\$?")
"""A regex that matches all names: .*, ^(.+)$."""


class UnreachableRules:
    """The search for rules that can never match; `is_complete` if it saw all rules."""

    def __init__(
        self,
        rules: Sequence[Rule],
        globs: Mapping[SampleType, Trie],
        pace: Pace = NO_PACE,
    ) -> None:
        self._pace = pace
        self.is_complete = True
        self._rules = rules
        self._globs = globs
        self._visits = 0
        self._regexes: dict[tuple[str, SampleType], Rule] = {}
        self._catch_alls: dict[SampleType, Rule] = {}
        """The first regex that matches all names, by type."""

    def __iter__(self) -> Iterator[tuple[Rule, Rule]]:
        """Yield each rule that can never match, with the rule that matches first."""
        for rule in self._rules:
            self._pace.step()
            hidden_by = self._hidden_by_regex if rule.pattern else self._hidden_by_glob
            winner = hidden_by(rule)
            if self._visits > MAX_VISITS:
                self.is_complete = False
                return
            if winner is not None:
                yield rule, winner

    def _hidden_by_regex(self, rule: Rule) -> Rule | None:
        winners = set()
        for each in rule.sample_types:
            catch_all = self._catch_alls.get(each)
            if catch_all is not None and _has_all_names(catch_all, rule):
                winners.add(catch_all)
                continue
            winners.add(self._regexes.setdefault((rule.match, each), rule))
            if _CATCH_ALL.fullmatch(rule.match):
                self._catch_alls.setdefault(each, rule)
        return _first_winner(winners, rule)

    def _hidden_by_glob(self, rule: Rule) -> Rule | None:
        winners = set()
        # Sample types with the same rules share a trie.
        for trie in {self._globs[each] for each in rule.sample_types}:
            index = self._covering(trie, rule)
            winners.add(rule if index is None else self._rules[index])
        return _first_winner(winners, rule)

    def _covering(self, trie: Trie, rule: Rule) -> int | None:
        """Return the first rule before another that matches all its names."""
        segments, best = rule.segments, rule.index
        pending = [(trie.root, 0)]
        while pending:
            node, depth = pending.pop()
            self._visits += 1
            if node.first >= best:
                continue
            if depth == len(segments):
                best = min(best, node.rule)
                continue
            segment = segments[depth]
            # Unordered, a literal goes before a star.
            if node.star and (trie.ordered or segment == "*"):
                pending.append((node.star, depth + 1))
            literal = node.literals.get(segment)
            if literal:
                pending.append((literal, depth + 1))
        return None if best == rule.index else best


def _has_all_names(catch_all: Rule, rule: Rule) -> bool:
    """Return whether a regex for all names has those of another one, too."""
    if "*" in catch_all.match:
        return True
    # `.+` leaves the empty name.
    return rule.pattern is not None and rule.pattern.search("") is None


def _first_winner(winners: set[Rule], rule: Rule) -> Rule | None:
    # A rule that wins for one sample type is reachable.
    if rule in winners:
        return None
    return min(winners, key=lambda winner: winner.index)


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
