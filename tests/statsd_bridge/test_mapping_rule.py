"""An entry of `mappings` becomes a rule, or an error of one line."""

from __future__ import annotations

import pytest

from statsd_bridge import mapping
from statsd_bridge.errors import ConfigError
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.model import Action, SampleType


def rule(text: str) -> Rule:
    """Parse one entry."""
    return mapping.parse(f"mappings: [{{{text}}}]", "f").search.rules[0]


def test_a_rule_has_the_values_of_all_its_keys() -> None:
    """A rule has the values of all its keys."""
    text = """
    mappings:
    - match: x
      name: x
    - match: a.*.b.*
      name: ${1}_total
      labels: {z: $2, b: fixed}
      honor_labels: yes
      match_metric_type: gauge
      action: drop
    """
    read = mapping.parse(text, "f").search.rules[1]

    assert (read.index, read.line, read.match) == (1, 5, "a.*.b.*")
    assert (read.segments, read.stars) == (("a", "*", "b", "*"), (1, 3))
    assert read.pattern is None
    assert read.name.source == "${1}_total"
    assert [(key, label.source) for key, label in read.labels] == [
        ("b", "fixed"),
        ("z", "$2"),
    ]
    assert read.honor_labels is True
    assert read.sample_types == {SampleType.GAUGE, SampleType.SET}
    assert read.action is Action.DROP


NAMES = [
    ("a", True),
    ("A_9", True),
    ("_", True),
    ("$1", True),
    ("${1}", True),
    ("$0", True),
    ("${1", True),
    ("$1}", True),
    ("$1x", True),
    ("a$1$2_b", True),
    ("$99999999999999999999", True),
    ("9a", False),
    ("a.b", False),
    ("a-b", False),
    ("a:b", False),
    ("a b", False),
    ("$", False),
    ("${}", False),
    ("$a", False),
    ("${1}}", False),
    ("$$1", False),
    ("ä", False),
    ("$1" * 5000 + "!", False),
]


@pytest.mark.parametrize(("name", "accepted"), NAMES)
def test_a_name_has_letters_digits_underscores_and_references(
    name: str, accepted: bool
) -> None:
    """A name consists of letters, digits, underscores and numbered references."""
    text = f"match: a, name: '{name}'"
    if accepted:
        assert rule(text).name.source == name
        return
    with pytest.raises(ConfigError, match="is not a metric name"):
        rule(text)


LABELS = [
    ("a", True),
    ("_", True),
    ("_a", True),
    ("a9", True),
    ("job", True),
    ("le", False),
    ("quantile", False),
    ("__", False),
    ("__name__", False),
    ("9a", False),
    ("a-b", False),
    ("a.b", False),
    ("$1", False),
    ("", False),
    ("ä", False),
    ("a ", False),
]


@pytest.mark.parametrize(("key", "accepted"), LABELS)
def test_a_label_name_is_valid_and_not_reserved(key: str, accepted: bool) -> None:
    """A label name is valid in Prometheus and not reserved; one letter suffices."""
    text = f"match: a, name: a, labels: {{'{key}': x}}"
    if accepted:
        assert [label for label, _ in rule(text).labels] == [key]
        return
    with pytest.raises(ConfigError, match="is not a label name"):
        rule(text)


MATCH_TYPES = [
    ("", "", False),
    ("", "match_type: regex", True),
    ("match_type: regex", "", True),
    ("match_type: regex", "match_type: glob", False),
    # An empty word sets a type; a missing one is inherited.
    ("match_type: regex", "match_type: ''", False),
    ("match_type: regex", "match_type: ~", True),
    ("match_type: ''", "", False),
]


@pytest.mark.parametrize(("defaults", "text", "is_regex"), MATCH_TYPES)
def test_the_match_type_is_inherited(defaults: str, text: str, is_regex: bool) -> None:
    """The type of a match is the rule's, else the defaults', else glob."""
    file = f"defaults: {{{defaults}}}\nmappings: [{{match: a, name: a, {text}}}]"
    read = mapping.parse(file, "f").search.rules[0]

    assert (read.pattern is not None) is is_regex


def test_a_regex_may_be_empty() -> None:
    """A regex may be empty or missing."""
    assert rule("match: '', match_type: regex, name: a").pattern is not None
    assert rule("match_type: regex, name: a").pattern is not None


@pytest.mark.parametrize(
    ("word", "types"),
    [
        ("counter", {SampleType.COUNTER}),
        ("gauge", {SampleType.GAUGE, SampleType.SET}),
        ("observer", {SampleType.OBSERVER}),
        ("timer", {SampleType.OBSERVER}),
        ("~", set(SampleType)),
    ],
)
def test_a_rule_for_gauges_matches_sets_too(word: str, types: set[SampleType]) -> None:
    """A rule for gauges matches sets too; timer is the legacy word for observer."""
    assert rule(f"match: a, name: a, match_metric_type: {word}").sample_types == types


@pytest.mark.parametrize(
    ("word", "action"),
    [("map", Action.MAP), ("drop", Action.DROP), ("''", Action.MAP), ("", Action.MAP)],
)
def test_the_default_action_is_map(word: str, action: Action) -> None:
    """The default action is map."""
    assert rule(f"match: a, name: a, action: {word}").action is action


ALWAYS_EMPTY = [
    (
        "match: a.*, name: $2",
        "name: '$2' is always empty, the match captures 1",
    ),
    (
        "match: a.*, name: a, labels: {b: $1_x}",
        "labels.b: '$1_x' is always empty, the match captures 1; did you mean ${1}_x?",
    ),
    (
        "match: a, match_type: regex, name: $1",
        "name: '$1' is always empty, the match captures 0",
    ),
]


@pytest.mark.parametrize(("text", "warning"), ALWAYS_EMPTY)
def test_a_reference_that_is_always_empty_is_a_warning(text: str, warning: str) -> None:
    """A reference that is always empty is a warning."""
    table = mapping.parse(f"mappings: [{{{text}}}]", "f")

    assert table.warnings == (f"f: mappings[0].{warning} (line 1)",)
