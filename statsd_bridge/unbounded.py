"""
Which labels of a rule take ids or texts from names, so that their values have no bound.

    users.*.clicks, {who: $1}            the word before says it
    *.clicks, {user_id: $1}              the name of the label says it
    ^order\\.(\\d+)$, {of: $1}             the group matches any number
"""

from __future__ import annotations

import re
from typing import Final

from statsd_bridge.mapping.rule import Rule, Template
from statsd_bridge.regex_text import Group, groups
from statsd_bridge.segments import BOUNDED_LABELS, is_unbounded_word

MIN_ID_LENGTH: Final = 6
"""Letters or digits that an id has at least, if a group says how many."""

_NAMES_TEXT = """
account comment cookie device file filename ip phone search title transaction uid
visitor
"""
_NAMES: Final = frozenset(_NAMES_TEXT.split())
"""Further names of labels that are ids or texts; as a segment they may be a part."""

_COUNTED_TEXT = """
age attempt bucket core cpu day depth disk hour index level major minor month node
partition percentile port priority quantile queue retry shard size slot stage step
thread try version week worker year
"""
_COUNTED: Final = BOUNDED_LABELS.union(_COUNTED_TEXT.split())
"""Labels with few values, also if these are numbers."""

# `.`, \S or a set without dots, repeated: dots included, so any text.
_ANY_TEXT: Final = re.compile(r"(?<!\\)(?:\.|\\[SD]|\[\^(?![^\]]*\.)[^\]]*\])[*+]")
# Digits, hexadecimal digits or small letters with digits, repeated.
_DIGITS: Final = r"(?:\\d|\[(?:0-9|\\d|a-f|A-F|[_-])+\])"
_LETTERS: Final = r"(?:\\w|\[(?:0-9|\\d|a-z|A-Z|[_-])+\])"
_NUMBER: Final = re.compile(rf"{_DIGITS}(?:[*+]|\{{(\d+)(?:,\d*)?\}})")
_ID: Final = re.compile(rf"{_LETTERS}\{{(\d+)(?:,\d*)?\}}")
_WORD_BEFORE: Final = re.compile(r"([A-Za-z0-9_-]+)\\?[./:_-]$")


def unbounded_labels(rule: Rule) -> list[str]:
    """Return the labels whose values are likely without bound."""
    return [
        label for label, template in rule.labels if _is_unbounded(rule, label, template)
    ]


def has_unbounded_name(rule: Rule) -> bool:
    """Return whether an id is in the name of the metric, which is then one of many."""
    # Any text may be: with the suffix or prefix of a name removed it is what it was.
    return any(
        is_unbounded_word(_word_before(rule, number)) or _is_id(rule, number)
        for number in captures_of(rule.name)
    )


def captures_of(template: Template) -> set[int]:
    """Return the numbers of the captures in a template."""
    return {part for part in template.parts if isinstance(part, int)}


def _is_unbounded(rule: Rule, label: str, template: Template) -> bool:
    captures = captures_of(template)
    if not captures:
        return False
    if is_unbounded_word(label) or label.lower() in _NAMES:
        return True
    if any(_is_any_text(rule, number) for number in captures):
        return True
    if label not in _COUNTED and any(_is_id(rule, number) for number in captures):
        return True
    return label not in BOUNDED_LABELS and any(
        is_unbounded_word(_word_before(rule, number)) for number in captures
    )


def _word_before(rule: Rule, capture: int) -> str:
    """Return the segment before the `*` or the group of a capture."""
    if rule.pattern is not None:
        group = _group(rule, capture)
        found = group and _WORD_BEFORE.search(rule.match[: group.start])
        return found[1] if found else ""
    if not 0 < capture <= len(rule.stars):
        return ""
    star = rule.stars[capture - 1]
    return rule.segments[star - 1] if star else ""


def _group(rule: Rule, capture: int) -> Group | None:
    found = groups(rule.match) if rule.pattern is not None else ()
    return found[capture - 1] if 0 < capture <= len(found) else None


def _is_any_text(rule: Rule, capture: int) -> bool:
    """Return whether a group of a regex matches any text, dots included, as $0 does."""
    if rule.pattern is not None and capture == 0:
        return True
    group = _group(rule, capture)
    return group is not None and _ANY_TEXT.search(group.text) is not None


def _is_id(rule: Rule, capture: int) -> bool:
    """Return whether a group of a regex is for numbers or ids only."""
    group = _group(rule, capture)
    if group is None:
        return False
    found = _NUMBER.fullmatch(group.text) or _ID.fullmatch(group.text)
    return found is not None and int(found[1] or MIN_ID_LENGTH) >= MIN_ID_LENGTH
