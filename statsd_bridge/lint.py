"""
Look at a mapping file for what loads and yet is likely a mistake.

    file --> MappingTable --> rules that cannot match, that share names, whose labels
                              have no bound, whose series stay, whose type cannot be
                              added up  -->  Finding
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from statsd_bridge.document.diagnostics import quote
from statsd_bridge.errors import escaped
from statsd_bridge.mapping import MappingTable
from statsd_bridge.mapping.glob import Node, Trie
from statsd_bridge.mapping.regex import Pattern
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.mapping.table import RuleSearch
from statsd_bridge.model import Action, MetricType, SampleType
from statsd_bridge.regex_text import examples
from statsd_bridge.unbounded import captures_of, has_unbounded_name, unbounded_labels

MAX_FINDINGS = 1_000
"""Findings that are listed; further ones are not looked for."""

MAX_VISITS = 2_000_000
"""Nodes that the search for rules with common names visits: a second or two."""

MAX_LABELS_WITHOUT_TTL = 3
"""Labels from a name from which on series are many, so that they should expire."""

REFUSED_LATER = "; the next release of statsd_exporter refuses the file"

_WARNING = re.compile(r"([\w.\[\]]+): (.*) \(line (\d+)\)", re.DOTALL)
_TIMES = re.compile(r"(?:^|[._-])(?:time|timer|latency|duration|elapsed|ms)(?:$|[._-])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is likely wrong, where, and what would be right."""

    kind: str
    line: int
    key: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The findings about a file; `is_complete` unless there are too many."""

    file: str
    rules: int
    findings: tuple[Finding, ...]
    is_complete: bool

    def as_text(self) -> str:
        """Return one line for each finding."""
        rows = [
            escaped(f"{self.file}: {each.key}: {each.text} (line {each.line})")
            if each.line
            else escaped(each.text)
            for each in self.findings
        ]
        if not self.is_complete:
            rows.append(f"{escaped(self.file)}: has more findings; mend these first")
        return "".join(f"{row}\n" for row in rows)

    def as_json(self) -> dict[str, Any]:
        """Return the report as an object for JSON."""
        return {
            "file": self.file,
            "rules": self.rules,
            "findings": [asdict(each) for each in self.findings],
            "complete": self.is_complete,
        }


def lint(table: MappingTable, file: str) -> Report:
    """Return the findings about a file."""
    found = list(islice(_findings(table, file), MAX_FINDINGS + 1))
    return Report(
        file=file,
        rules=len(table),
        findings=tuple(found[:MAX_FINDINGS]),
        is_complete=len(found) <= MAX_FINDINGS,
    )


def _findings(table: MappingTable, file: str) -> Iterator[Finding]:
    for warning in table.warnings:
        yield _warning_finding(warning, file)
    rules = table.search.rules
    yield from _common_names(table)
    yield from _hidden_regexes(table)
    for rule in rules:
        if rule.action is not Action.DROP:
            unbounded = unbounded_labels(rule)
            yield from _name_findings(rule)
            yield from _label_findings(rule, unbounded)
            yield from _ttl_findings(rule, unbounded)
            yield from _summary_findings(rule)
    yield from _default_summary_findings(rules)


def _warning_finding(warning: str, file: str) -> Finding:
    """Return a warning of the file, "file: key: text (line 3)", as a finding."""
    kind = _kind_of(warning)
    more = REFUSED_LATER if kind == "unknown_key" else ""
    found = _WARNING.fullmatch(warning.removeprefix(f"{file}: "))
    if found is None:
        return Finding(kind=kind, line=0, key="", text=warning + more)
    key, text, line = found.groups()
    return Finding(kind=kind, line=int(line), key=key, text=text + more)


def _kind_of(warning: str) -> str:
    if "never matches" in warning:
        return "unreachable"
    if "legacy key" in warning:
        return "legacy"
    if "always empty" in warning:
        return "empty"
    return "unknown_key" if "unknown" in warning else "warning"


def _common_names(table: MappingTable) -> Iterator[Finding]:
    """Yield rules that share names with an earlier one, of which neither has all."""
    search, budget = table.search, _Visits()
    for rule in search.rules:
        if rule.pattern is not None or rule.index in table.unreachable:
            continue
        tries = {search.globs[each] for each in rule.sample_types}
        found = [_earlier(trie, rule, search.rules, budget) for trie in tries]
        other = min(filter(None, found), key=lambda each: each.index, default=None)
        if other is not None:
            example = ".".join(map(_either, rule.segments, other.segments))
            yield _finding(
                *("overlap", rule, "match"),
                f"shares names such as {quote(example)} with mappings[{other.index}]"
                f" (line {other.line}), which gets them",
            )
    yield from budget.problem()


class _Visits:
    """Nodes that may still be visited."""

    def __init__(self) -> None:
        self._left = MAX_VISITS

    def spend(self, nodes: int = 1) -> bool:
        """Count nodes; return whether there are any left."""
        self._left -= nodes
        return self._left > 0

    def problem(self) -> Iterator[Finding]:
        """Yield a finding if there were too few."""
        if self._left <= 0:
            text = "overlap so much that not all of them are compared"
            yield Finding(kind="incomplete", line=1, key="mappings", text=text)


def _earlier(
    trie: Trie, rule: Rule, rules: Sequence[Rule], budget: _Visits
) -> Rule | None:
    """Return an earlier glob that shares some names with a rule, but not all."""
    pending: list[tuple[Node, int]] = [(trie.root, 0)]
    while pending and budget.spend():
        node, depth = pending.pop()
        if node.first >= rule.index:
            continue
        if depth == len(rule.segments):
            is_earlier = node.rule < rule.index
            if is_earlier and _is_crossing(rules[node.rule].segments, rule.segments):
                return rules[node.rule]
            continue
        children = _children(node, rule.segments[depth])
        budget.spend(len(children))
        pending += [(child, depth + 1) for child in children]
    return None


def _children(node: Node, segment: str) -> list[Node]:
    """Return the nodes below one whose segment has names in common with another."""
    if segment == "*":
        return [child for _, child in node.edges()]
    found = (node.literals.get(segment), node.star)
    return [child for child in found if child is not None]


def _is_crossing(first: Sequence[str], second: Sequence[str]) -> bool:
    """Return whether each of two globs with common names has names of its own."""
    pairs = list(zip(first, second, strict=True))
    has_more = any(a == "*" != b for a, b in pairs)
    return has_more and any(b == "*" != a for a, b in pairs)


def _either(first: str, second: str) -> str:
    literal = second if first == "*" else first
    return "x" if literal == "*" else literal


def _hidden_regexes(table: MappingTable) -> Iterator[Finding]:
    """Yield regexes of which a glob, or an earlier regex, gets names."""
    rules = table.search.rules
    globs = [each for each in rules if each.pattern is None]
    budget = _Visits()
    for rule in rules:
        if rule.pattern is None or rule.index in table.unreachable:
            continue
        found = _later_glob(rule, rule.pattern, globs, budget)
        found = found or _winner(rule, rule.pattern, table.search)
        if found is None:
            continue
        name, other = found
        text = (
            f"names such as {quote(name)} go to mappings[{other.index}] (line"
            f" {other.line})"
        )
        if other.pattern is None:
            text += ": globs go before regexes, wherever they stand"
        else:
            text += ", which comes first"
        yield _finding("overlap", rule, "match", text)
    yield from budget.problem()


def _later_glob(
    rule: Rule, pattern: Pattern, globs: Iterable[Rule], budget: _Visits
) -> tuple[str, Rule] | None:
    """Return a name of a regex and the glob after it that gets the name."""
    for glob in globs:
        if glob.index < rule.index or not budget.spend():
            continue
        name = ".".join("x" if each == "*" else each for each in glob.segments)
        if rule.sample_types & glob.sample_types and pattern.search(name) is not None:
            return name, glob
    return None


def _winner(
    rule: Rule, pattern: Pattern, search: RuleSearch
) -> tuple[str, Rule] | None:
    """Return a name of a regex and the rule that gets all its usual names."""
    names = [each for each in examples(rule.match) if pattern.search(each) is not None]
    found = [
        (name, search.look_up(sample_type, name).rule)
        for name in names
        for sample_type in rule.sample_types
    ]
    if not all(other is not None and other is not rule for _, other in found):
        return None
    return next(((name, other) for name, other in found if other is not None), None)


def _label_findings(rule: Rule, unbounded: Sequence[str]) -> Iterator[Finding]:
    """Yield labels whose values are likely without bound."""
    for label in unbounded:
        yield _finding(
            *("free_text", rule, f"labels.{label}"),
            "takes an id or a text from the name: each value is a series of its own;"
            " leave it out, or limit it by a quota",
        )


def _name_findings(rule: Rule) -> Iterator[Finding]:
    """Yield a name with an id in it."""
    if has_unbounded_name(rule):
        yield _finding(
            *("free_text", rule, "name"),
            "has an id from the name: each value is a metric of its own; leave it out",
        )


def _ttl_findings(rule: Rule, unbounded: Sequence[str]) -> Iterator[Finding]:
    if any(options.ttl for options in rule.options.values()):
        return
    labels = [label for label, template in rule.labels if captures_of(template)]
    if len(labels) >= MAX_LABELS_WITHOUT_TTL or unbounded:
        yield _finding(
            *("no_ttl", rule, "ttl"),
            f"is missing: labels take their values from the name ({', '.join(labels)}),"
            " and series stay when names are not sent any more; write ttl: 1h",
        )


def _summary_findings(rule: Rule) -> Iterator[Finding]:
    if _is_summary(rule) and _is_of_timings(rule):
        yield _finding(
            *("summary", rule, "observer_type"),
            "is summary, whose quantiles cannot be added up over instances; write"
            " observer_type: histogram",
        )


def _default_summary_findings(rules: Iterable[Rule]) -> Iterator[Finding]:
    """Yield one finding about all rules that would make a summary of a timing."""
    found = [
        each
        for each in rules
        if _is_summary(each)
        and not _is_of_timings(each)
        # The name says that it is for counters.
        and not each.name.source.endswith("_total")
    ]
    if found:
        yield Finding(
            kind="summary",
            line=found[0].line,
            key="defaults.observer_type",
            text="is summary, also for timings that this rule matches (rules like it:"
            f" {len(found)}): quantiles cannot be added up over instances; write"
            " observer_type: histogram, or match_metric_type",
        )


def _is_summary(rule: Rule) -> bool:
    return (
        rule.action is not Action.DROP
        and SampleType.OBSERVER in rule.sample_types
        and rule.options[SampleType.OBSERVER].type is MetricType.SUMMARY
    )


def _is_of_timings(rule: Rule) -> bool:
    """Return whether a rule is for timings only, or looks like it."""
    return len(rule.sample_types) == 1 or _TIMES.search(rule.match.lower()) is not None


def _finding(kind: str, rule: Rule, key: str, text: str) -> Finding:
    return Finding(
        kind=kind, line=rule.line, key=f"mappings[{rule.index}].{key}", text=text
    )
