"""
Which rule makes a series: found by the templates of the rules in force.

Series do not remember it, which would take 16 MB for a million of them.  A rule makes a
series if its templates of name and labels can give what the series has.  If several
can, it is the rule of the last line where that is known, else the first one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from statsd_bridge.inspection.steps import Json, Steps, parts
from statsd_bridge.mapping import MappingTable
from statsd_bridge.mapping.rule import Rule, Template
from statsd_bridge.model import Action
from statsd_bridge.series import MetricFamily, Series

MAX_TRIED = 200
"""Rules whose name fits that are compared with a series; others are not found."""


class RuleFinder:
    """The rules of one table by what they name; `build` must be done first."""

    def __init__(self, table: MappingTable) -> None:
        self.table = table
        self._exact: dict[str, list[Rule]] = {}
        self._by_start: dict[str, list[Rule]] = {}
        """Rules whose names have captures, by the literal text before the first."""
        self._lengths: list[int] = []

    def build(self) -> Steps[None]:
        """Look at all rules of the table."""
        for part in parts(self.table.search.rules):
            for rule in part:
                if rule.action is Action.DROP:
                    continue
                start = _start(rule.name)
                is_exact = len(rule.name.parts) == 1 and start != ""
                rules = self._exact if is_exact else self._by_start
                rules.setdefault(start, []).append(rule)
            yield
        self._lengths = sorted({len(start) for start in self._by_start})

    def find(
        self, family: MetricFamily, labels: Mapping[str, str], series: Series
    ) -> Json | None:
        """Return file line and match of the rule that makes a series, or None."""
        known = series.line_format
        if known is not None and known.action is Action.UNMAPPED:
            return None
        first: Rule | None = None
        for rule in islice(self._named(family.name), MAX_TRIED):
            if _makes(rule, family, labels):
                if known is None or rule.index == known.rule:
                    return _as_json(rule)
                first = first or rule
        return None if first is None else _as_json(first)

    def _named(self, name: str) -> Iterator[Rule]:
        """Yield the rules that can make a metric name: literal names first."""
        yield from self._exact.get(name, ())
        for length in reversed(self._lengths):
            if length <= len(name):
                yield from self._by_start.get(name[:length], ())


def _start(template: Template) -> str:
    """Return the literal text before the first capture."""
    first = template.parts[0] if template.parts else ""
    return first if isinstance(first, str) else ""


def _makes(rule: Rule, family: MetricFamily, labels: Mapping[str, str]) -> bool:
    types = {rule.options[each].type for each in rule.sample_types}
    if family.type not in types or not _fits(rule.name, family.name):
        return False
    for name, template in rule.labels:
        value = labels.get(name)
        if value is None or not (rule.honor_labels or _fits(template, value)):
            return False
    return True


def _fits(template: Template, text: str) -> bool:
    """Return whether a template can give a text: by its start and its end."""
    pieces = template.parts
    if not pieces:
        return not text
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1 and isinstance(first, str):
        return text == first
    starts = not isinstance(first, str) or text.startswith(first)
    return starts and (not isinstance(last, str) or text.endswith(last))


def _as_json(rule: Rule) -> Json:
    return {"line": rule.line, "match": rule.match, "index": rule.index}
