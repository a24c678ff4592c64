"""
Read `defaults` and `mappings` of a file into rules.

The order of the checks is that of statsd_exporter: labels, name, match, options.
"""

from __future__ import annotations

import re
from typing import Final

from statsd_bridge.document.diagnostics import quote
from statsd_bridge.document.section import Section
from statsd_bridge.mapping import glob, options
from statsd_bridge.mapping.regex import Pattern
from statsd_bridge.mapping.rule import Defaults, Rule, Template
from statsd_bridge.mapping.template import parse_glob_template, parse_regex_template
from statsd_bridge.model import Action, SampleType
from statsd_bridge.syntax import is_reserved_label

# Possessive quantifiers: backtracking over digits would take exponential time.
_REFERENCE = r"\$\{?+[0-9]++\}?+"
_NAME = re.compile(rf"(?:[a-zA-Z_]|{_REFERENCE})(?:[a-zA-Z0-9_]|{_REFERENCE})*+")
# A difference: statsd_exporter refuses names of one letter.
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
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
        shared_options=options.SharedOptions(),
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
        options=defaults.shared_options.get(
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
        parsed = parse_glob_template(text, stars)
    else:
        captures = pattern.groups
        parsed = parse_regex_template(text, captures, pattern.names)
    for token in parsed.always_empty:
        glued = _MISSING_BRACES.fullmatch(token)
        hint = f"; did you mean ${{{glued[1]}}}{glued[2]}?" if glued else ""
        problem = f"{quote(token)} is always empty, the match captures {captures}{hint}"
        section.warn(key, problem)
    return parsed
