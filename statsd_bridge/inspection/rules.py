"""
The rules of the mapping file: how often each matched, and which never can.

A page is of consecutive rules of the file; a file has up to 100,000 rules, so rules are
looked at in steps, and a bounded number of them for a page.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from statsd_bridge.inspection.examples import example_name
from statsd_bridge.inspection.steps import Json, Steps
from statsd_bridge.mapping import MappingTable
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.model import SampleType

DEFAULT_RULES = 50

MAX_LOOKED_AT = 20_000
"""Rules that are looked at for one page."""

STEP_RULES = 200
"""Rules of a step, of about a microsecond each."""

MAX_PAGE_BYTES = 512 * 1024
"""Bytes of a page of rules, about; beyond it the page ends early."""

MAX_SHOWN_LENGTH = 1_024
"""Characters of a text of a rule that are shown."""

ROW_BYTES = 300
"""A rule besides its texts."""

NEVER_MATCHED: Final = "never_matched"
CANNOT_MATCH: Final = "cannot_match"
ONLY: Final = (NEVER_MATCHED, CANNOT_MATCH)
"""What the rules of a page can have in common."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesQuery:
    """A page of rules from the one with an index on; `only` is empty or of ONLY."""

    limit: int = DEFAULT_RULES
    start: int = 0
    only: str = ""


def parse_start(token: str) -> int:
    """Read a token of a page of rules; raise ValueError if it is not one."""
    digits = token.removeprefix("r")
    if digits == token or not (digits.isascii() and digits.isdigit()) or digits[8:]:
        raise ValueError("is not a token of a page before")
    return int(digits)


def rules_page(table: MappingTable, query: RulesQuery) -> Steps[Json]:
    """Return a page of rules, in the order of the file."""
    rules = table.search.rules
    found: list[Json] = []
    size, end = 0, min(len(rules), query.start + MAX_LOOKED_AT)
    index = query.start
    while index < end and len(found) < query.limit and size < MAX_PAGE_BYTES:
        rule = rules[index]
        index += 1
        if _is_wanted(table, rule.index, query.only):
            found.append(_row(table, rule))
            size += ROW_BYTES + len(str(found[-1]))
        # An example of a regular expression takes 20 to 300 us.
        if index % STEP_RULES == 0 or rule.pattern is not None:
            yield
            if table.search.rules is not rules:
                # A reload has replaced them.
                break
    has_more = index < len(rules)
    return {
        "rules": found,
        "next": f"r{index}" if has_more else None,
        "complete": not has_more or len(found) >= query.limit,
        "total": len(rules),
        NEVER_MATCHED: table.hits.count(0),
        CANNOT_MATCH: len(table.unreachable),
        "counted_since": table.in_use_since,
    }


def _is_wanted(table: MappingTable, index: int, only: str) -> bool:
    if only == NEVER_MATCHED:
        return not table.hits[index]
    return only != CANNOT_MATCH or index in table.unreachable


def _row(table: MappingTable, rule: Rule) -> Json:
    hits = table.hits[rule.index]
    return {
        "index": rule.index,
        "file_line": rule.line,
        "match": rule.match[:MAX_SHOWN_LENGTH],
        "match_type": "regex" if rule.pattern else "glob",
        "name": rule.name.source[:MAX_SHOWN_LENGTH],
        "action": str(rule.action),
        "type": _type_of(rule),
        "example": example_name(rule),
        "hits": hits,
        NEVER_MATCHED: not hits,
        CANNOT_MATCH: _obstacle(table, rule),
    }


def _type_of(rule: Rule) -> str | None:
    """Return match_metric_type, or None for all types."""
    if len(rule.sample_types) == len(SampleType):
        return None
    return min(map(str, rule.sample_types))


def _obstacle(table: MappingTable, rule: Rule) -> str | None:
    """Return why a rule can never match, or None."""
    index = table.unreachable.get(rule.index)
    if index is None:
        return None
    line = table.search.rules[index].line
    return f"the rule of line {line} (mappings[{index}]) matches all its names first"
