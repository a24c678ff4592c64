"""
Read `defaults` and `mappings` of a file into rules.

The order of the checks is that of statsd_exporter: labels, name, match, options.

Templates of names and labels: text with references to captures.

    crocbot_${1}_total        $1 is the text that the first * (or group) matched

Two grammars, like in statsd_exporter; the match type of the rule selects one.

    glob    token = "$" ["{"] 1*( A-Z a-z 0-9 "_" ) ["}"]
            a number is a capture, any other token is empty; two "$" begin a token
            that ends with the last of A-Z a-z 0-9 "_" "$" and is empty
    regex   token = "$$" | "$" name | "${" name "}"      (Go's regexp.Expand)
            name  = 1*( letter | digit | "_" ), a group's number or name
            "$$" is one "$", an unknown group is empty, $0 is the whole match

Any other "$" stands for itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from statsd_bridge.document.diagnostics import quote
from statsd_bridge.document.section import Section
from statsd_bridge.mapping import glob, options
from statsd_bridge.mapping.regex import Pattern
from statsd_bridge.mapping.rule import Defaults, Rule, Template
from statsd_bridge.model import Action, SampleType
from statsd_bridge.syntax import is_reserved_label

MAX_NUMBER_DIGITS = 9
"""Digits of the number of a capture."""

# Possessive quantifiers: backtracking over digits would take exponential time.
_REFERENCE = r"\$\{?+[0-9]++\}?+"
_NAME = re.compile(rf"(?:[a-zA-Z_]|{_REFERENCE})(?:[a-zA-Z0-9_]|{_REFERENCE})*+")
# A difference: statsd_exporter refuses names of one letter.
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_GLOB_TOKEN = re.compile(r"\$\{?(\$[A-Za-z0-9_$]*|[A-Za-z0-9_]+)\}?")
_MISSING_BRACES = re.compile(r"\$([0-9]+)([A-Za-z_][A-Za-z0-9_]*)")
_REGEX_SYNTAX = re.compile(r"[\\^$()\[\]+?|{}]|\.\*[^.]|\.\*$")

# An empty word sets a type; a missing one is inherited.
_MATCH_TYPES: Final = {"glob": "glob", "regex": "regex", "": "glob"}
_ACTIONS: Final = {"map": Action.MAP, "drop": Action.DROP, "": Action.MAP}
_ALL_TYPES: Final = frozenset(SampleType)
# A set is shown as a gauge.
_SAMPLE_TYPES: Final = {
    "counter": frozenset({SampleType.COUNTER}),
    "gauge": frozenset({SampleType.GAUGE, SampleType.SET}),
    "observer": frozenset({SampleType.OBSERVER}),
    "timer": frozenset({SampleType.OBSERVER}),
}


def read_defaults(section: Section) -> Defaults:
    """Read the `defaults` of a file."""
    observer = options.read_default_observer(section)
    ttl = section.nanoseconds("ttl")
    defaults = Defaults(
        observer=observer,
        match_type=section.choice("match_type", _MATCH_TYPES) or "glob",
        ordered=not section.boolean("glob_disable_ordering"),
        ttl_nanoseconds=ttl,
        options=options.metric_options(observer, options.DEFAULT_HELP, ttl, None),
    )
    section.reject_unknown_keys()
    return defaults


def read_rule(section: Section, index: int, defaults: Defaults) -> Rule:
    """Read one entry of `mappings`."""
    labels = _read_labels(section)
    name = _read_name(section)
    match = section.text("match")
    match_type = section.choice("match_type", _MATCH_TYPES) or defaults.match_type
    pattern = _compile(section, match) if match_type == "regex" else None
    segments = () if pattern else _split(section, match)
    stars = glob.stars(segments)
    rule = Rule(
        index=index,
        line=section.line,
        match=match,
        sample_types=section.choice("match_metric_type", _SAMPLE_TYPES) or _ALL_TYPES,
        action=section.choice("action", _ACTIONS) or Action.MAP,
        name=_read_template(section, "name", name, len(stars), pattern),
        labels=tuple(
            (key, _read_template(section, f"labels.{key}", text, len(stars), pattern))
            for key, text in sorted(labels.items())
        ),
        honor_labels=section.boolean("honor_labels"),
        options=options.metric_options(
            options.read_observer(section, defaults.observer),
            section.text("help"),
            section.nanoseconds("ttl") or defaults.ttl_nanoseconds,
            section.number("scale"),
        ),
        segments=segments,
        stars=stars,
        pattern=pattern,
    )
    section.reject_unknown_keys()
    return rule


def _read_labels(section: Section) -> dict[str, str]:
    labels = section.text_map("labels")
    for key in labels:
        if not _LABEL.fullmatch(key):
            problem = "write letters, digits and _, and no digit first"
        elif key in ("le", "quantile") or is_reserved_label(key):
            problem = "Prometheus reserves it; choose another name"
        else:
            continue
        raise section.error("labels", f"{quote(key)} is not a label name; {problem}")
    return labels


def _read_name(section: Section) -> str:
    name = section.text("name")
    if not name:
        raise section.error("name", "is missing; every rule needs one, even to drop")
    if not _NAME.fullmatch(name):
        problem = "write letters, digits, _ and references such as ${1}"
        raise section.error("name", f"{quote(name)} is not a metric name; {problem}")
    return name


def _split(section: Section, match: str) -> tuple[str, ...]:
    if glob.is_glob(match):
        return tuple(match.split("."))
    problem = "between dots, write a * or letters, digits, _ and -"
    if _REGEX_SYNTAX.search(match):
        problem += "; or set match_type: regex"
    raise section.error("match", f"{quote(match)} is not a glob; {problem}")


def _compile(section: Section, match: str) -> Pattern:
    try:
        return Pattern(match)
    except ValueError as error:
        problem = f"{quote(match)} is not a regular expression: {error}"
        raise section.error("match", problem) from error


def _read_template(
    section: Section, key: str, text: str, stars: int, pattern: Pattern | None
) -> Template:
    if pattern is None:
        captures = stars
        parsed = parse_glob(text, stars)
    else:
        captures = pattern.groups
        parsed = parse_regex(text, captures, pattern.names)
    for token in parsed.always_empty:
        glued = _MISSING_BRACES.fullmatch(token)
        hint = f"; did you mean ${{{glued[1]}}}{glued[2]}?" if glued else ""
        problem = f"{quote(token)} is always empty, the match captures {captures}{hint}"
        section.warn(key, problem)
    return parsed


def parse_glob(source: str, stars: int) -> Template:
    """Parse a template of a glob rule whose match has `stars` captures."""
    parts: list[str | int] = []
    always_empty: list[str] = []
    end = 0
    for token in _GLOB_TOKEN.finditer(source):
        parts.append(source[end : token.start()])
        end = token.end()
        number = _number(token[1], leading_zeros=True)
        if number is not None and 1 <= number <= stars:
            parts.append(number)
        else:
            always_empty.append(token[0])
    return _template(source, [*parts, source[end:]], always_empty)


def parse_regex(source: str, groups: int, names: Mapping[str, int]) -> Template:
    """Parse a template of a regex rule; `names` are the numbers of named groups."""
    parts: list[str | int] = []
    always_empty: list[str] = []
    end = 0
    while (dollar := source.find("$", end)) >= 0:
        parts.append(source[end:dollar])
        name, end = _go_token(source, dollar + 1)
        number = _number(name, leading_zeros=False)
        group = names.get(name, groups + 1) if number is None else number
        if name in ("", "$"):
            parts.append("$")
        elif group <= groups:
            parts.append(group)
        else:
            always_empty.append(source[dollar:end])
    return _template(source, [*parts, source[end:]], always_empty)


def _go_token(source: str, start: int) -> tuple[str, int]:
    """Return the name after a "$" and the end of the token; "" if it is no token."""
    if source.startswith("$", start):
        return "$", start + 1
    braces = source.startswith("{", start)
    first = last = start + braces
    while last < len(source) and _is_go_letter(source[last]):
        last += 1
    if first == last or (braces and not source.startswith("}", last)):
        return "", start
    return source[first:last], last + braces


def _is_go_letter(char: str) -> bool:
    # \w includes numerals such as one half, which are neither letter nor digit in Go.
    return char == "_" or char.isalpha() or char.isdecimal()


def _number(name: str, *, leading_zeros: bool) -> int | None:
    if not (name.isascii() and name.isdigit()):
        return None
    digits = name.lstrip("0") or "0"
    if len(digits) > MAX_NUMBER_DIGITS or not (leading_zeros or digits == name):
        return None
    return int(digits)


def _template(source: str, parts: list[str | int], always_empty: list[str]) -> Template:
    present = tuple(part for part in parts if part != "")
    return Template(source, present, tuple(always_empty))
