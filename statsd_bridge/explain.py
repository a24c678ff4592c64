"""
One line along the path, told step by step; nothing on the path changes.

    line --> samples, faults --> per sample: rule, near rules, series, refusal

It uses the stages themselves, so what it tells is what happens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from statsd_bridge import line
from statsd_bridge.line import Dialect
from statsd_bridge.mapping import MappingTable, Match, Rule, near_misses
from statsd_bridge.model import (
    Action,
    EventError,
    Labels,
    MetricOptions,
    MetricType,
    Parsed,
    Sample,
    SeriesSpec,
)

MAX_SAMPLES = 20
"""Samples of one line that are explained."""

MAX_NEAR_MISSES = 10
"""Rules that come close, per sample."""

Near = tuple[tuple[Rule, str], ...]
"""Rules that came close to taking a name, each with what was amiss."""

Refuses = Callable[[SeriesSpec, Sample], EventError | None]
"""Tells why the series would not take a sample, as if those before it were taken."""

WHY = {
    EventError.ILLEGAL_NEGATIVE_COUNTER: "a counter must not fall",
    EventError.EMPTY_METRIC_NAME: "the metric name is empty",
    EventError.RESERVED_LABEL: "Prometheus keeps one of the labels for itself",
    EventError.CONFLICT: "another type owns the name, or a name that it would print",
    EventError.SERIES_LIMIT: "there are as many series as --statsd.max-series",
}


@dataclass(frozen=True, slots=True)
class Step:
    """What becomes of one sample; a dropped one has no target."""

    sample: Sample
    match: Match
    near: Near
    target: SeriesSpec | None
    rejection: EventError | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """What becomes of a line.  `unsaid` samples more are not explained."""

    line: bytes
    parsed: Parsed
    steps: tuple[Step, ...]
    unsaid: int = 0


def explain(
    text: bytes, dialect: Dialect, table: MappingTable, refuses: Refuses
) -> Explanation:
    """Follow a line; any bytes will do."""
    parsed = line.parse(text, dialect)
    samples = parsed.samples[:MAX_SAMPLES]
    # All samples of a line have its name: rules are compared once per sample type.
    look_ups = {
        (sample.type, sample.name): _look_up(table, sample) for sample in samples
    }
    steps = tuple(
        [
            _step(sample, *look_ups[sample.type, sample.name], refuses)
            for sample in samples
        ]
    )
    return Explanation(text, parsed, steps, len(parsed.samples) - len(samples))


def _look_up(table: MappingTable, sample: Sample) -> tuple[Match, Near]:
    match = table.look_up_uncached(sample.type, sample.name)
    near = near_misses(table.rules, match.rule, sample.type, sample.name)
    return match, tuple(islice(near, MAX_NEAR_MISSES))


def _step(sample: Sample, match: Match, near: Near, refuses: Refuses) -> Step:
    if match.action is Action.DROP:
        return Step(sample, match, near, None, None)
    target = match.spec(sample.labels)
    return Step(sample, match, near, target, refuses(target, sample))


def as_text(told: Explanation) -> str:
    """Write an explanation for a terminal; what a sender chose is escaped."""
    return "".join(f"{row}\n" for row in _rows(told))


def _rows(told: Explanation) -> Iterator[str]:
    yield f"line      {_shown(told.line.decode('utf-8', 'backslashreplace'))}"
    parsed = told.parsed
    if parsed.dogstatsd:
        kind = parsed.dogstatsd
        yield f"dropped   a DogStatsD {kind}: Prometheus has no place for it"
    elif not (parsed.samples or parsed.errors):
        yield "nothing   the line is empty"
    for fault in parsed.errors:
        yield f"fault     {fault.reason}: {_shown(fault.detail)}"
    if parsed.tag_errors:
        yield f"fault     tags that could not be read, left out: {parsed.tag_errors}"
    for step in told.steps:
        yield ""
        yield from _step_rows(step)
    if told.unsaid:
        yield f"\nand {told.unsaid} samples more"


def _step_rows(step: Step) -> Iterator[str]:
    sample, match, target = step.sample, step.match, step.target
    yield f"sample    {_said(sample)}"
    if match.rule is None:
        yield "rule      none takes the name: it is unmapped"
    else:
        yield f"rule      {_place(match.rule)}"
        for number, capture in enumerate(match.captures, 1):
            yield f"capture   ${number} = {_shown(capture)}"
    for rule, reason in step.near:
        yield f"near      {_place(rule)}: {reason}"
    if target is None:
        yield "dropped   the rule says so"
        return
    yield f"series    {_series(target)}"
    yield f"kept as   {_kept(target.options)}"
    if step.rejection is None:
        yield "outcome   remembered"
    else:
        yield f"outcome   refused, {step.rejection}: {WHY[step.rejection]}"


def as_json(told: Explanation) -> dict[str, Any]:
    """Give an explanation as what JSON can hold."""
    parsed = told.parsed
    return {
        "line": told.line.decode("utf-8", "backslashreplace"),
        "dogstatsd": parsed.dogstatsd or None,
        "faults": [
            {"reason": str(fault.reason), "text": fault.detail}
            for fault in parsed.errors
        ],
        "tag_errors": parsed.tag_errors,
        "samples": [_step_json(step) for step in told.steps],
        "samples_left_out": told.unsaid,
    }


def _step_json(step: Step) -> dict[str, Any]:
    sample, match, target = step.sample, step.match, step.target
    return {
        "type": str(sample.type),
        "name": sample.name,
        "value": sample.member if sample.member else _number(sample.value),
        "relative": sample.relative,
        "weight": sample.weight,
        "tags": dict(sample.labels),
        "action": str(match.action),
        "rule": _rule_json(match.rule),
        "captures": list(match.captures),
        "near": [{**_rule_json(rule), "why": why} for rule, why in step.near],
        "series": _series(target) if target else None,
        "kept_as": _form_json(target.options) if target else None,
        "refused": str(step.rejection) if step.rejection else None,
        "why": WHY[step.rejection] if step.rejection else None,
    }


def _rule_json(rule: Rule | None) -> dict[str, Any]:
    if rule is None:
        return {}
    return {"index": rule.index, "line": rule.line, "match": rule.match}


def _form_json(form: MetricOptions) -> dict[str, Any]:
    kept: dict[str, Any] = {"shape": str(form.type), "help": form.help}
    kept |= {"ttl_seconds": form.ttl} if form.ttl else {}
    kept |= {"scale": form.scale} if form.scale is not None else {}
    if form.type is MetricType.HISTOGRAM:
        kept["buckets"] = list(form.buckets)
    if form.type is MetricType.SUMMARY:
        kept["quantiles"] = [each.quantile for each in form.quantiles]
    return kept


def _said(sample: Sample) -> str:
    value = _shown(sample.member) if sample.member else f"{sample.value:g}"
    if sample.relative:
        value = f"{sample.value:+g}"
    weight = f", stands for {sample.weight}" if sample.weight != 1 else ""
    tags = f", tags {_labels(sample.labels)}" if sample.labels else ""
    return f"{sample.type} {_shown(sample.name)} = {value}{weight}{tags}"


def _place(rule: Rule) -> str:
    return f"mappings[{rule.index}] (line {rule.line}) {_shown(rule.match)}"


def _series(target: SeriesSpec) -> str:
    return f"{target.name}{_labels(target.labels)}"


def _labels(labels: Labels) -> str:
    pairs = [f"{_plain(name)}={_shown(value)}" for name, value in labels]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _kept(form: MetricOptions) -> str:
    said = [str(form.type)]
    said += [f"ttl {form.ttl:g} s"] if form.ttl else []
    said += [f"scale {form.scale:g}"] if form.scale is not None else []
    if form.type is MetricType.HISTOGRAM:
        said += ["buckets " + " ".join(f"{bound:g}" for bound in form.buckets)]
    if form.type is MetricType.SUMMARY:
        shares = [f"{each.quantile:g}" for each in form.quantiles]
        said += ["quantiles " + " ".join(shares)]
    return ", ".join(said)


def _number(value: float) -> float | str:
    """Keep a number that JSON has; NaN and the infinities are text."""
    return value if abs(value) < float("inf") else str(value)


def _shown(text: str) -> str:
    return json.dumps(text)


def _plain(text: str) -> str:
    return text if text.isascii() and text.isprintable() else _shown(text)
