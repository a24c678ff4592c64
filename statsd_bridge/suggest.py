r"""
Suggest rules for names that no rule matches.

    shop.fr.orders  counter  \
    shop.de.orders  counter   >-->  match: "shop.*.orders"   labels: {shop: "$1"}
    shop.uk.orders  counter  /

Names of one type and of as many segments are put together if they differ in one segment
only, or in segments that look like ids, numbers or hosts.  Such a segment becomes a `*`
and a label, but an id has no label: each of its values would be a series of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from statsd_bridge.mapping import is_glob
from statsd_bridge.model import MAX_TEXT_LENGTH, SampleType
from statsd_bridge.segments import (
    Kind,
    is_metric_word,
    is_unbounded_word,
    kind_of,
    label_name,
)
from statsd_bridge.syntax import escape_metric_name

MAX_NAMES = 1_000
"""Names that rules are suggested for at once: more take seconds."""

MAX_LABEL_VALUES = 50
"""Values of a segment from which on it is no label."""

MAX_SEGMENTS = 40
"""Segments of a name; one with more gets a rule of its own."""

MAX_SHOWN = 3
"""Names and values that a comment shows."""

MIN_VALUES_INSIDE: Final = 2
"""Values from which on a segment between others is a label."""

MIN_VALUES_AT_END: Final = 3
"""The same for the first and the last segment, which often are what is measured."""

MIN_VALUES_OF_SHORT: Final = 4
"""The same if only one other segment is no `*`: the rule matches many names."""

STAR: Final = "*"

_WORDS_OF_YAML = frozenset(
    ["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
)
_RULE_TYPES: Final = {
    SampleType.COUNTER: "counter",
    SampleType.GAUGE: "gauge",
    SampleType.SET: "gauge",
    SampleType.OBSERVER: "observer",
}
_OLD_SUFFIXES: Final = {
    "counter": re.compile(r"_(?:total|count|counter|counts)$"),
    "gauge": re.compile(r"_(?:total|gauge)$"),
    "observer": re.compile(r"_(?:ms|millis|milliseconds|msec|timer|sum|bucket|count)$"),
}
_BYTES = re.compile(r"(?:^|_)(?:bytes?|size)(?:_|$)")
_OTHER_UNIT = re.compile(r"_(?:seconds|bytes|ratio|percent|celsius)$")

Name = tuple[str, SampleType]
Pattern = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A rule for some names; `yaml` is an entry of `mappings`, with comments."""

    names: tuple[Name, ...]
    match: str
    metric: str
    labels: Mapping[str, str]
    yaml: str


@dataclass(slots=True)
class _Group:
    """Names with one pattern."""

    pattern: Pattern
    names: list[Name]


def suggest(names: Iterable[Name]) -> list[Suggestion]:
    """
    Return rules for names, most literal first; at most MAX_NAMES names are used.

    A name that was cut, since it is too long, gets none.
    """
    chosen: dict[str, dict[Name, None]] = {}
    for name, type in list(dict.fromkeys(names))[:MAX_NAMES]:
        if name and len(name) < MAX_TEXT_LENGTH:
            chosen.setdefault(_RULE_TYPES[type], {})[name, type] = None
    taken = _TakenNames()
    found = []
    for rule_type, alike in sorted(chosen.items()):
        groups = sorted(_groups(alike), key=lambda group: group.pattern.count(STAR))
        found += [_suggestion(rule_type, group, taken) for group in groups]
    return found


def read_names(document: Mapping[str, Any]) -> list[Name] | None:
    """Return the names of /debug/unmapped, or None if it has no such list."""
    try:
        return [
            (str(each["name"]), SampleType(each["type"]))
            for each in document["unmapped_names"]
        ]
    except (KeyError, TypeError, ValueError):
        return None


def by_name(suggestions: Iterable[Suggestion]) -> dict[Name, Suggestion]:
    """Return the suggestion of each name."""
    return {name: each for each in suggestions for name in each.names}


def as_yaml(suggestions: Sequence[Suggestion]) -> str:
    """Return a mapping file with all rules."""
    return "mappings:\n" + "".join(each.yaml for each in suggestions)


def as_json(suggestions: Sequence[Suggestion]) -> list[dict[str, object]]:
    """Return the rules as objects for JSON."""
    return [
        {
            "match": each.match,
            "metric": each.metric,
            "labels": dict(each.labels),
            "names": [{"name": name, "type": str(type)} for name, type in each.names],
            "yaml": each.yaml,
        }
        for each in suggestions
    ]


def _groups(names: Iterable[Name]) -> list[_Group]:
    """Put names together that one rule can map."""
    groups: dict[Pattern, _Group] = {}
    for name in names:
        pattern = _pattern(name[0])
        groups.setdefault(pattern, _Group(pattern, [])).names.append(name)
    by_length: dict[int, list[_Group]] = {}
    for group in groups.values():
        by_length.setdefault(len(group.pattern), []).append(group)
    return [group for alike in by_length.values() for group in _merge_all(alike)]


def _pattern(name: str) -> Pattern:
    """Return the segments of a name, a `*` in place of those that look variable."""
    segments = tuple(name.split("."))
    if len(segments) > MAX_SEGMENTS:
        return (name,)
    if len(segments) == 1:
        return segments
    pattern = tuple(
        STAR if kind_of(each) is not Kind.WORD else each for each in segments
    )
    has_text = any(kind_of(each) is Kind.TEXT for each in segments)
    return pattern if _literals(pattern) > has_text else (name,)


def _literals(pattern: Pattern) -> int:
    """Return the number of segments that are no `*`; 0 if it is no glob."""
    literals = sum(each != STAR for each in pattern)
    return literals if is_glob(".".join(pattern)) else 0


def _merge_all(groups: list[_Group]) -> list[_Group]:
    """Merge groups that differ in one segment, until none are left."""
    length = len(groups[0].pattern)
    if length == 1:
        return groups
    # The first and the last segment come last.
    order = [*range(1, length - 1), length - 1, 0]
    before = 0
    while len(groups) != before:
        before = len(groups)
        for index in order:
            groups = _merge(groups, index)
    return groups


def _merge(groups: Sequence[_Group], index: int) -> list[_Group]:
    """Merge groups that differ in the segment at an index only."""
    alike: dict[tuple[Pattern, Pattern], list[_Group]] = {}
    for group in groups:
        key = group.pattern[:index], group.pattern[index + 1 :]
        alike.setdefault(key, []).append(group)
    merged = []
    for (start, end), candidates in alike.items():
        if _is_label(candidates, index) and _literals((*start, STAR, *end)):
            names = [name for group in candidates for name in group.names]
            merged.append(_Group((*start, STAR, *end), names))
        else:
            merged += candidates
    return merged


def _is_label(groups: Sequence[_Group], index: int) -> bool:
    """Return whether the segments at an index are values of one label."""
    values = {group.pattern[index] for group in groups}
    pattern = groups[0].pattern
    is_inside = 0 < index < len(pattern) - 1
    # What is measured is a metric of its own: app.cpu, app.memory.
    if len(values) < 2 or (not is_inside and any(map(is_metric_word, values))):
        return False
    if index == len(pattern) - 1 and _are_words_of_an_id(pattern, index, values):
        return False
    literals = sum(each != STAR for each in (*pattern[:index], *pattern[index + 1 :]))
    if STAR in values:
        return True
    if literals == 1:
        return len(values) >= MIN_VALUES_OF_SHORT
    return len(values) >= (MIN_VALUES_INSIDE if is_inside else MIN_VALUES_AT_END)


def _are_words_of_an_id(pattern: Pattern, index: int, values: Collection[str]) -> bool:
    """Return whether words come last after one such as `users`: they are no ids."""
    label = label_name(pattern, index, [*values])
    return STAR not in values and is_unbounded_word(label)


class _TakenNames:
    """Names of the metrics that are suggested, each with the type of its rule."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {}

    def choose(self, name: str, rule_type: str) -> str:
        """Return a name that no other metric has, or prints."""
        number, chosen = 1, name
        while self._is_taken(chosen, rule_type):
            number += 1
            base, unit = _split_unit(name)
            chosen = f"{base}_{number}{unit}"
        self._taken[chosen] = rule_type
        return chosen

    def _is_taken(self, name: str, rule_type: str) -> bool:
        if name in self._taken:
            return True
        suffixes = ("_bucket", "_count", "_sum")
        if rule_type == "observer":
            return any(name + suffix in self._taken for suffix in suffixes)
        base = name.rpartition("_")[0] if name.endswith(suffixes) else ""
        return self._taken.get(base) == "observer"


def _split_unit(name: str) -> tuple[str, str]:
    base, bar, unit = name.rpartition("_")
    return (base, bar + unit) if unit in ("total", "seconds", "bytes") else (name, "")


def _suggestion(rule_type: str, group: _Group, taken: _TakenNames) -> Suggestion:
    pattern = group.pattern
    # The whole name, or a glob.
    is_regex = len(pattern) == 1 and (STAR in pattern[0] or not is_glob(pattern[0]))
    labels: dict[str, str] = {}
    comments = [f"{_shown([name for name, _ in group.names])} ({rule_type})"]
    if len(pattern) > 1:
        comments += _add_labels(group, labels)
    metric = taken.choose(_metric_name(pattern, rule_type, comments), rule_type)
    match = _regex(pattern[0]) if is_regex else ".".join(pattern)
    rows = [f"# {comment}" for comment in comments]
    rows.append(f"- match: {json.dumps(match)}")
    rows += ["  match_type: regex"] * is_regex
    rows.append(f"  match_metric_type: {rule_type}")
    rows.append(f"  name: {_quoted(metric)}")
    if rule_type == "observer":
        rows += _observer_rows(metric)
    if labels:
        rows.append("  labels:")
        rows += [f'    {_quoted(name)}: "{value}"' for name, value in labels.items()]
    return Suggestion(
        names=tuple(group.names),
        match=match,
        metric=metric,
        labels=labels,
        yaml="".join(f"{row}\n" for row in rows),
    )


def _observer_rows(metric: str) -> list[str]:
    rows = ["  observer_type: histogram"]
    if metric.endswith("_bytes"):
        buckets = "[100, 1000, 10000, 100000, 1000000, 10000000]"
        rows += ["  histogram_options:", f"    buckets: {buckets}"]
    return rows


def _add_labels(group: _Group, labels: dict[str, str]) -> list[str]:
    """Add a label for each `*`, and return a comment about each."""
    comments = []
    stars = [index for index, each in enumerate(group.pattern) if each == STAR]
    for number, index in enumerate(stars, 1):
        values = [name.split(".")[index] for name, _ in group.names]
        distinct = list(dict.fromkeys(values))
        shown = f"segment {index + 1} ({_shown(distinct)})"
        label = label_name(group.pattern, index, distinct)
        is_id = any(kind_of(value) is Kind.ID for value in distinct)
        if is_id or is_unbounded_word(label):
            comments.append(
                f"{shown} looks like an id: no label, or series are without bound"
            )
        elif len(distinct) > MAX_LABEL_VALUES:
            comments.append(f"{shown} has {len(distinct)} values: no label")
        else:
            label = _free(label, labels)
            labels[label] = f"${number}"
            comments.append(f"{shown} is the label {label}")
    return comments


def _free(name: str, labels: Mapping[str, str]) -> str:
    """Return a name that no label has yet."""
    number, chosen = 1, name
    while chosen in labels:
        number += 1
        chosen = f"{name}_{number}"
    return chosen


def _metric_name(pattern: Pattern, rule_type: str, comments: list[str]) -> str:
    literal = "_".join(each for each in pattern if each != STAR)
    name = re.sub(r"_+", "_", escape_metric_name(literal)).strip("_")
    name = _OLD_SUFFIXES[rule_type].sub("", name).strip("_") or "metric"
    if name[0].isdigit():
        name = f"_{name}"
    if rule_type == "counter":
        return f"{name}_total"
    if rule_type == "gauge" or _OTHER_UNIT.search(name):
        return name
    if _BYTES.search(name):
        return f"{name}_bytes"
    comments.append("timings (ms) are in seconds; choose another unit for h and d")
    return f"{name}_seconds"


def _regex(name: str) -> str:
    """Return a regular expression of ASCII that matches one name only."""
    escaped = [
        each
        if each.isascii() and (each.isalnum() or each in "_ ")
        else f"\\x{{{ord(each):x}}}"
        if not each.isascii() or not each.isprintable()
        else f"\\{each}"
        for each in name
    ]
    return f"^{''.join(escaped)}$"


def _quoted(word: str) -> str:
    """Return a word for YAML, in quotes if it would be something else than text."""
    return json.dumps(word) if word.lower() in _WORDS_OF_YAML else word


def _shown(texts: Sequence[str]) -> str:
    """Return some texts for a comment; senders choose them, so they are escaped."""
    shown = ", ".join(json.dumps(each) for each in texts[:MAX_SHOWN])
    more = len(texts) - MAX_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
