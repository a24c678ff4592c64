"""Texts of a rule with places for values, beside its templates."""

from __future__ import annotations

import pytest

from statsd_bridge import mapping
from statsd_bridge.mapping.pattern import (
    LabelPattern,
    TextPattern,
    label_parts,
    template_parts,
)
from statsd_bridge.model import SampleType
from statsd_bridge.syntax import format_labels

RULES = r"""
mappings:
- match: api.*.*
  name: api_${2}
  labels: {zone: $2, route: "100%-$1-$1", kind: 'a "b" \c', gone: $7}
- {match: one.*, name: one_total, labels: {a: $1}}
- {match: none.at.all, name: none}
- {match: '(\w+)\.re\.(\w*)', match_type: regex, name: re_$1, labels: {a: "$2$0"}}
- {match: honor.*, name: honor, labels: {a: $1}, honor_labels: true}
- {match: other.*, name: other, labels: {a: $1}}
"""
TABLE = mapping.parse(RULES, "rules.yml")


@pytest.mark.parametrize("tags", [(), (("a", "tag"), ("z", "9"))])
@pytest.mark.parametrize(
    "name",
    "api.x.y one. one.a none.at.all b.re.c b.re. honor.x other.x unmapped".split(),
)
def test_patterns_give_what_templates_give(
    name: str, tags: tuple[tuple[str, str], ...]
) -> None:
    """Names, labels and their text, merged with tags in the same way."""
    match = TABLE.look_up(SampleType.COUNTER, name)
    spec = match.spec(tags)
    rule, values = TABLE.find_rule(SampleType.COUNTER, name)
    assert rule is match.rule
    parts = label_parts(rule, [key for key, _ in tags], 100)
    assert parts is not None
    labels, values = LabelPattern(parts), [*values, *[value for _, value in tags]]

    assert labels.names == tuple(key for key, _ in spec.labels)
    assert labels.text.fill(values) == format_labels(spec.labels)
    if rule is not None:
        name_parts = template_parts(rule, rule.name, 100)
        assert name_parts is not None
        assert TextPattern(name_parts).fill(values) == spec.name


@pytest.mark.parametrize(
    ("rules", "max_length"),
    [
        ("mappings: [{match: a.*, name: a, labels: {k: $0}}]", 100),
        ("mappings: [{match: a.*, name: a, labels: {k: $1}}]", 65_536),
    ],
)
def test_some_templates_have_no_pattern(rules: str, max_length: int) -> None:
    """Those with the whole name of a glob, and those that may become too long."""
    (rule,) = mapping.parse(rules, "rules.yml").search.rules

    assert label_parts(rule, [], max_length) is None
