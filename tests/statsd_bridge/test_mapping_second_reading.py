"""
Rules and series against a second, plain reading, on random rules and traffic.

The model here was written from what statsd_exporter 0.30.0 is known to do and from our
list of differences (docs/compatibility.md), not from the code: loops and dictionaries,
no cache, no trie, no RE2.  Where the two disagree, one of them has misread.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Rule = dict[str, Any]
Tags = dict[str, str]
Key = tuple[str, tuple[tuple[str, str], ...]]

EVENTS = {"c": "counter", "g": "gauge", "s": "set", "h": "observer"}
PRINTS = {
    "histogram": ("", "_bucket", "_sum", "_count"),
    "summary": ("", "_sum", "_count"),
}
WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"


class Event(NamedTuple):
    """One sample, and how it is written: `a.b:+1|g|@0.5|#k:v`."""

    name: str
    value: str
    type: str
    rate: str
    tags: tuple[tuple[str, str], ...]

    def line(self) -> str:
        """Write it."""
        tags = ",".join(f"{key}:{value}" for key, value in self.tags)
        rate = f"|@{self.rate}" if self.rate else ""
        return f"{self.name}:{self.value}|{self.type}{rate}" + f"|#{tags}" * bool(tags)


def _escaped(name: str) -> str:
    """Escape a name one character after the other."""
    out = "_" if name[:1] in tuple("0123456789") else ""
    before = ""
    for char in name:
        if char in WORD:
            out += char
        elif not (char == "-" and before == "-"):
            out += "_"
        before = char
    return out


def fill(template: str, captures: list[str], *, regex: bool) -> str:
    """Fill a template; captures[0] is the whole match."""
    out, i = "", 0
    while i < len(template):
        if template[i] != "$":
            out, i = out + template[i], i + 1
            continue
        if template[i + 1 : i + 2] == "$":
            out, i = out + "$" * regex, i + 2
            continue
        braces = template[i + 1 : i + 2] == "{"
        start = end = i + 1 + braces
        while end < len(template) and template[end] in WORD:
            end += 1
        closed = template[end : end + 1] == "}"
        token = template[start:end]
        if not token or (regex and braces and not closed):
            out, i = out + "$", i + 1
            continue
        lowest = 0 if regex else 1
        number = int(token) if token.isdigit() else -1
        out += captures[number] if lowest <= number < len(captures) else ""
        i = end + (closed and (braces or not regex))
    return out


class Model:
    """One bridge: events in; `series` and `own` are what it would show."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.defaults: Rule = document["defaults"]
        self.rules: list[Rule] = document["mappings"]
        self.own: Counter[str] = Counter()
        self.shapes: dict[str, str] = {}
        self.values: dict[Key, Any] = {}
        self.bounds: dict[Key, list[float]] = {}

    def take(self, event: Event) -> None:
        """Map one event and remember it."""
        tags = {_escaped(key): value for key, value in event.tags}
        self.own["udp_packets_total"] += 1
        self.own["lines_total"] += 1
        self.own["samples_total"] += 1
        self.own["tags_total"] += bool(tags)
        rate = float(event.rate or 1)
        value = float(event.value) / (rate if event.type == "c" else 1)
        repeat = int(1 / rate) if event.type == "h" else 1
        if repeat:
            self._event(event, tags, EVENTS[event.type], value, repeat)

    def _event(
        self, event: Event, tags: Tags, kind: str, value: float, repeat: int
    ) -> None:
        rule, captures = self._match(event.name, kind)
        if rule is None:
            self.own["events_unmapped_total"] += repeat
            new_name, rule = _escaped(event.name), {}
        elif rule.get("action") == "drop":
            self.own['events_actions_total{action="drop"}'] += repeat
            return
        else:
            is_regex = self._is_regex(rule)
            new_name = _escaped(fill(rule["name"], captures, regex=is_regex))
            for key, template in rule.get("labels", {}).items():
                if not (rule.get("honor_labels") and key in tags):
                    tags[key] = fill(template, captures, regex=is_regex)
            if new_name:
                self.own['events_actions_total{action="map"}'] += repeat
        value *= rule.get("scale", 1.0)
        wrong = self._wrong(new_name, tags, kind, value, rule)
        if wrong:
            self.own[wrong] += repeat
            return
        self.own[f'events_total{{type="{kind}"}}'] += repeat
        key = new_name, tuple(sorted(tags.items()))
        self._update(key, value, event.value, repeat)

    def _match(self, name: str, kind: str) -> tuple[Rule | None, list[str]]:
        segments = name.split(".")
        best, best_rank = None, None
        for index, rule in enumerate(self.rules):
            globs = rule["match"].split(".")
            if self._is_regex(rule) or not is_for(rule, kind):
                continue
            if len(globs) == len(segments) and all(
                glob in ("*", segment)
                for glob, segment in zip(globs, segments, strict=True)
            ):
                stars = [glob == "*" for glob in globs]
                is_free = self.defaults.get("glob_disable_ordering")
                rank = (stars, index) if is_free else ([], index)
                if best_rank is None or rank < best_rank:
                    found = [s for s, star in zip(segments, stars, strict=True) if star]
                    best, best_rank = (rule, [name, *found]), rank
        for rule in self.rules:
            if best is None and self._is_regex(rule) and is_for(rule, kind):
                hit = re.search(rule["match"], name, re.ASCII)
                best = (rule, [hit[0], *hit.groups("")]) if hit else None
        return best or (None, [])

    def _is_regex(self, rule: Rule) -> bool:
        return rule.get("match_type", self.defaults.get("match_type")) == "regex"

    def _shape(self, kind: str, rule: Rule) -> str:
        for said in (rule, self.defaults):
            for key in ("observer_type", "timer_type"):
                if kind == "observer" and key in said:
                    return said[key]
        return "summary" if kind == "observer" else kind

    def _wrong(self, name: str, tags: Tags, kind: str, value: float, rule: Rule) -> str:
        if not name:
            return 'events_error_total{reason="empty_metric_name"}'
        if kind == "counter" and value < 0:
            return 'events_error_total{reason="illegal_negative_counter"}'
        shape = self._shape(kind, rule)
        key = name, tuple(sorted(tags.items()))
        if key in self.values and self.shapes[name] == shape:
            return ""
        own = {"histogram": "le", "summary": "quantile"}.get(shape)
        if any(label == own or label.startswith("__") for label in tags):
            return 'events_error_total{reason="reserved_label"}'
        if self._conflicts(name, shape):
            return f'events_conflict_total{{metric_name="{name}",type="{kind}"}}'
        self.shapes[name] = shape
        if shape == "histogram":
            bounds = rule.get("buckets") or self.defaults.get("buckets")
            same = [k for k in self.bounds if k[0] == name and names(k) == names(key)]
            self.bounds[key] = self.bounds[same[0]] if same else bounds
        return ""

    def _conflicts(self, name: str, shape: str) -> bool:
        if name in self.shapes:
            return self.shapes[name] != shape
        prints = {name + end for end in PRINTS.get(shape, ("",))}
        others = {
            other + end
            for other, its in self.shapes.items()
            for end in PRINTS.get(its, ("",))
        }
        is_plain_bucket = shape not in PRINTS and name.endswith("_bucket")
        base = self.shapes.get(name.removesuffix("_bucket"))
        return bool(prints & others) or (is_plain_bucket and base == "summary")

    def _update(self, key: Key, value: float, text: str, repeat: int) -> None:
        match self.shapes[key[0]]:
            case "set":
                self.values.setdefault(key, set()).add(text)
            case "gauge" if text[0] not in "+-":
                self.values[key] = value
            case "gauge" | "counter":
                self.values[key] = self.values.get(key, 0.0) + value
            case _:
                self.values.setdefault(key, []).extend([value] * repeat)

    def series(self) -> Iterator[tuple[str, tuple[tuple[str, str], ...], float]]:
        """Yield what the page shows, quantiles aside."""
        for key, kept in self.values.items():
            name, labels = key
            shape = self.shapes[name]
            if shape not in PRINTS:
                yield name, labels, len(kept) if shape == "set" else kept
                continue
            if shape == "histogram":
                bounds = self.bounds[key]
                for bound in (*bounds, math.inf):
                    below = sum(value <= bound for value in kept)
                    count = len(kept) if bound == math.inf else below
                    pairs = tuple(sorted((*labels, ("le", str(float(bound))))))
                    yield f"{name}_bucket", pairs, count
            yield f"{name}_sum", labels, list(accumulate(kept))[-1]
            yield f"{name}_count", labels, len(kept)


def names(key: Key) -> list[str]:
    """List the label names of a series."""
    return [label for label, _ in key[1]]


def is_for(rule: Rule, kind: str) -> bool:
    """Tell whether a rule takes this type; a set goes where gauges go."""
    wanted = rule.get("match_metric_type", kind)
    return (
        wanted == kind
        or (wanted == "gauge" and kind == "set")
        or (wanted == "timer" and kind == "observer")
    )


def some(words: str, sizes: str = "1") -> st.SearchStrategy[str]:
    """Draw a few of these words, put together."""
    low, _, high = sizes.partition("-")
    drawn = st.lists(
        st.sampled_from(words.split(" ")), min_size=int(low), max_size=int(high or low)
    )
    return drawn.map("".join)


NAMES = st.one_of(
    st.lists(some("a b c a b c-d x1 *"), min_size=1, max_size=3).map(".".join),
    some("m n foo foo foo_sum foo_count foo_bucket foo_bucket_sum a..b 1x é ."),
)
TAGS = st.lists(
    st.tuples(some("k one two a.b a-b 1x __x le quantile"), some("v w é a=b")),
    max_size=2,
)
EVENT = st.builds(
    Event,
    NAMES,
    some("0 1 2 5 -1 +2 -0 1.5 1e3 nan inf"),
    some("c g h s"),
    some(" 0.5 0.1 0.25 2"),
    TAGS.map(tuple),
)
EVENTS_OF_A_RUN = st.one_of(
    st.lists(EVENT, max_size=30), st.lists(EVENT, min_size=20, max_size=40)
)

TEMPLATES = some("m n $1 ${1}_x $2 m_$1 $9 ${2}${1} m_${1}_$2 foo foo_sum foo_bucket")
VALUE_TEMPLATES = some("$1 ${2} $1-$2 $1_x $0 $$ ${1}x fixed 100%_$1 $1.$9 $- ${} $")
GLOBS = st.lists(some("a b c * * x1 c-d"), min_size=1, max_size=3).map(".".join)
REGEXES = some(r"a\.(.+) ^(\w+)\.b .* (a|b)\.?(c)? ^c(-d)?$ ^([^.]+)\.([^.]+)$")
COMMON = {
    "observer_type": some("summary histogram"),
    "timer_type": some("summary histogram"),
}
RULES = st.one_of(
    *(
        st.fixed_dictionaries(
            {"match": matches, "match_type": st.just(kind), "name": TEMPLATES},
            optional={
                "labels": st.dictionaries(some("k one two"), VALUE_TEMPLATES),
                "honor_labels": st.booleans(),
                "action": some("map map drop"),
                "match_metric_type": some("counter gauge observer timer"),
                "scale": st.sampled_from([0.5, 2, -1, 0]),
                **COMMON,
            },
        )
        for kind, matches in (("glob", GLOBS), ("regex", REGEXES))
    )
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "defaults": st.fixed_dictionaries(
            {"buckets": st.just([0.001, 1.0, 5.0])},
            optional={"glob_disable_ordering": st.booleans(), **COMMON},
        ),
        "mappings": st.lists(RULES, max_size=6),
    }
)


def is_near(one: float, other: float) -> bool:
    """Compare two sums that were added in different orders."""
    return math.isclose(one, other, rel_tol=1e-9) or (one != one and other != other)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(DOCUMENTS, EVENTS_OF_A_RUN)
def test_both_readings_agree(
    play: Callable[..., Any], document: dict[str, Any], events: list[Event]
) -> None:
    """Series, values and own counters are the model's, whatever comes in."""
    model = Model(document)
    for event in events:
        model.take(event)
    outcome = play([event.line().encode() for event in events], json.dumps(document))

    want = {shown_name(*row[:2]): row[2] for row in model.series()}
    found = {k: v for k, v in outcome.series.items() if 'quantile="0.' not in k}
    assert sorted(found) == sorted(want)
    assert {k: (v, want[k]) for k, v in found.items() if not is_near(v, want[k])} == {}
    assert outcome.own == {name: count for name, count in model.own.items() if count}


def shown_name(name: str, labels: tuple[tuple[str, str], ...]) -> str:
    """Write a series as the page of the tests has it."""
    pairs = ",".join(f'{key}="{value}"' for key, value in labels)
    return f"{name}{{{pairs}}}" if pairs else name
