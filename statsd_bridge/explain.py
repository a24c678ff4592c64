"""
Explain one line: its samples, their rules and series, without any effect.

    line --> samples, errors --> per sample: rule, near misses, series, rejection

The explanation comes from the stages of the pipeline themselves.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from statsd_bridge.line import Dialect, parse_line
from statsd_bridge.mapping import MappingTable, Match, near_misses
from statsd_bridge.mapping.rule import Rule
from statsd_bridge.model import (
    Action,
    Labels,
    MetricOptions,
    MetricType,
    Parsed,
    Rejection,
    RejectionReason,
    Sample,
    SeriesSpec,
)
from statsd_bridge.relay import Rendezvous
from statsd_bridge.series import SeriesStore
from statsd_bridge.syntax import decode_escaped

MAX_SAMPLES = 20
"""Samples of one line that are explained."""

MAX_NEAR_MISSES = 10
"""Rules that come close, per sample."""

MAX_COMPARED_RULES = 10_000
"""Rules that are compared with a name to find near misses: 20 ms per sample type."""

NearMisses = tuple[tuple[Rule, str], ...]
"""Rules that come close to matching a name, each with what prevents it."""

REASONS = {
    RejectionReason.ILLEGAL_NEGATIVE_COUNTER: "a counter must not fall",
    RejectionReason.EMPTY_METRIC_NAME: "the metric name is empty",
    RejectionReason.RESERVED_LABEL: "Prometheus reserves one of the labels",
    RejectionReason.NAME_TOO_LONG: (
        "the metric name is longer than --statsd.max-name-length"
    ),
    RejectionReason.LABEL_TOO_LONG: (
        "a label is longer than --statsd.max-label-name-length or"
        " --statsd.max-label-value-length"
    ),
    RejectionReason.NAN: "a counter cannot count NaN",
    RejectionReason.CONFLICT: (
        "another type owns the name, or a name that it would print"
    ),
    RejectionReason.SERIES_LIMIT: "there are as many series as --statsd.max-series",
    RejectionReason.MEMORY_LIMIT: "the memory of --statsd.max-memory is used up",
    RejectionReason.QUOTA: (
        "the metric has as many series as --statsd.max-series-per-name or its quota in"
        " --statsd.quota-config"
    ),
}


@dataclass(frozen=True, slots=True)
class TrialStores:
    """
    The stores that decide whether a sample would be rejected.

    `scratch` records the samples, since those of one line can conflict with each other;
    `live`, the store of a running bridge, only checks them.
    """

    scratch: SeriesStore
    live: SeriesStore | None = None

    def try_record(self, spec: SeriesSpec, sample: Sample) -> RejectionReason | None:
        """Return why a sample would be rejected after those before it."""
        recorded = self.scratch.record(spec, sample)
        reason = self.live.rejection_reason(spec, sample) if self.live else None
        scratch_reason = recorded.reason if isinstance(recorded, Rejection) else None
        return reason or scratch_reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The path of one sample; it has no series if a rule drops it."""

    sample: Sample
    match: Match
    near: NearMisses
    spec: SeriesSpec | None
    rejected: RejectionReason | None
    target: str = ""
    """The address that mode `shard` sends the sample to; empty for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The path of a line and of its first samples."""

    line: bytes
    parsed: Parsed
    steps: tuple[Step, ...]

    @property
    def omitted(self) -> int:
        """Number of samples that are not explained."""
        return len(self.parsed.samples) - len(self.steps)


def explain(
    line: bytes,
    dialect: Dialect,
    table: MappingTable,
    stores: TrialStores,
    targets: Rendezvous | None = None,
) -> Explanation:
    """Explain a line, any bytes; `targets` are those of a sharding bridge."""
    parsed = parse_line(line, dialect)
    samples = parsed.samples[:MAX_SAMPLES]
    # All samples of a line have its name: rules are compared once per sample type.
    look_ups = {each.type: _look_up(table, each) for each in samples}
    steps = [
        _targeted(_step(each, *look_ups[each.type], stores), targets)
        for each in samples
    ]
    return Explanation(line=line, parsed=parsed, steps=tuple(steps))


def _targeted(step: Step, targets: Rendezvous | None) -> Step:
    if targets is None or step.spec is None:
        return step
    return replace(step, target=targets.target_of(step.spec.name))


def trace(
    line: bytes, dialect: Dialect, table: MappingTable, stores: TrialStores
) -> Explanation:
    """Explain all samples of a line, without near misses."""
    parsed = parse_line(line, dialect)
    search = table.search
    look_ups = {
        each: search.look_up(each, parsed.samples[0].name)
        for each in {sample.type for sample in parsed.samples}
    }
    steps = [_step(each, look_ups[each.type], (), stores) for each in parsed.samples]
    return Explanation(line=line, parsed=parsed, steps=tuple(steps))


def _look_up(table: MappingTable, sample: Sample) -> tuple[Match, NearMisses]:
    match = table.search.look_up(sample.type, sample.name)
    rules = table.search.rules[:MAX_COMPARED_RULES]
    near = near_misses(rules, match.rule, sample.type, sample.name)
    return match, tuple(islice(near, MAX_NEAR_MISSES))


def _step(sample: Sample, match: Match, near: NearMisses, stores: TrialStores) -> Step:
    spec = None if match.action is Action.DROP else match.spec(sample.labels)
    rejected = None
    if match.action is Action.MAP and not match.untagged.name:
        rejected = RejectionReason.EMPTY_METRIC_NAME
    elif spec:
        rejected = stores.try_record(spec, sample)
    return Step(sample=sample, match=match, near=near, spec=spec, rejected=rejected)


def as_text(explanation: Explanation) -> str:
    """Return an explanation for a terminal; text from the sender is escaped."""
    return "".join(f"{row}\n" for row in _rows(explanation))


def _rows(explanation: Explanation) -> Iterator[str]:
    parsed = explanation.parsed
    yield f"line      {json.dumps(decode_escaped(explanation.line))}"
    if parsed.dogstatsd:
        message = f"a DogStatsD {parsed.dogstatsd}"
        yield f"dropped   {message}: Prometheus cannot store it"
    elif not (parsed.samples or parsed.errors):
        yield "nothing   the line is empty"
    for error in parsed.errors:
        yield f"fault     {error.reason}: {json.dumps(error.detail)}"
    if parsed.tag_errors:
        yield f"fault     tags that could not be parsed, left out: {parsed.tag_errors}"
    for step in explanation.steps:
        yield ""
        yield from _step_rows(step)
    if explanation.omitted:
        yield f"\nand {explanation.omitted} samples more"


def _step_rows(step: Step) -> Iterator[str]:
    match, spec = step.match, step.spec
    yield f"sample    {_describe_sample(step.sample)}"
    if match.rule is None:
        yield "rule      none matches: the name is unmapped"
    else:
        yield f"rule      {_describe_rule(match.rule)}"
        for number, capture in enumerate(match.captures, 1):
            yield f"capture   ${number} = {json.dumps(capture)}"
    for rule, reason in step.near:
        yield f"near      {_describe_rule(rule)}: {reason}"
    if spec is None:
        yield "dropped   by the rule"
        return
    yield f"series    {_describe_series(spec)}"
    yield f"kept as   {_describe_options(spec.options)}"
    if step.target:
        yield f"target    {step.target}"
    if step.rejected is None:
        yield "outcome   recorded"
    else:
        yield f"outcome   refused, {step.rejected}: {REASONS[step.rejected]}"


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as an object for JSON."""
    parsed = explanation.parsed
    return {
        "line": decode_escaped(explanation.line),
        "dogstatsd": parsed.dogstatsd or None,
        "faults": [
            {"reason": str(error.reason), "text": error.detail}
            for error in parsed.errors
        ],
        "tag_errors": parsed.tag_errors,
        "samples": [_step_json(step) for step in explanation.steps],
        "samples_left_out": explanation.omitted,
    }


def _step_json(step: Step) -> dict[str, Any]:
    sample, match, spec = step.sample, step.match, step.spec
    # JSON has neither NaN nor the infinities: they are text.
    is_finite = abs(sample.value) < float("inf")
    target = {"target": step.target} if step.target else {}
    return target | {
        "type": str(sample.type),
        "name": sample.name,
        "value": sample.member or (sample.value if is_finite else str(sample.value)),
        "relative": sample.relative,
        "weight": sample.weight,
        "tags": dict(sample.labels),
        "action": str(match.action),
        "rule": _rule_json(match.rule) if match.rule else {},
        "captures": list(match.captures),
        "near": [{**_rule_json(rule), "why": reason} for rule, reason in step.near],
        "series": _describe_series(spec) if spec else None,
        "kept_as": _options_json(spec.options) if spec else None,
        "refused": str(step.rejected) if step.rejected else None,
        "why": REASONS[step.rejected] if step.rejected else None,
    }


def _rule_json(rule: Rule) -> dict[str, Any]:
    return {"index": rule.index, "line": rule.line, "match": rule.match}


def _options_json(options: MetricOptions) -> dict[str, Any]:
    found: dict[str, Any] = {"shape": str(options.type), "help": options.help}
    found |= {"ttl_seconds": options.ttl} if options.ttl else {}
    found |= {"scale": options.scale} if options.scale is not None else {}
    if options.type is MetricType.HISTOGRAM:
        found["buckets"] = list(options.buckets)
    if options.type is MetricType.SUMMARY:
        found["quantiles"] = [each.quantile for each in options.quantiles]
    return found


def _describe_options(options: MetricOptions) -> str:
    words = {"ttl_seconds": "ttl {:g} s", "scale": "scale {:g}"}
    found = _options_json(options)
    shown = [str(options.type)]
    shown += [text.format(found[key]) for key, text in words.items() if key in found]
    for key in ("buckets", "quantiles"):
        if key in found:
            shown.append(" ".join([key, *(f"{number:g}" for number in found[key])]))
    return ", ".join(shown)


def _describe_sample(sample: Sample) -> str:
    value = json.dumps(sample.member) if sample.member else f"{sample.value:g}"
    if sample.relative:
        value = f"{sample.value:+g}"
    weight = f", stands for {sample.weight}" if sample.weight != 1 else ""
    tags = f", tags {_describe_labels(sample.labels)}" if sample.labels else ""
    return f"{sample.type} {json.dumps(sample.name)} = {value}{weight}{tags}"


def _describe_rule(rule: Rule) -> str:
    return f"mappings[{rule.index}] (line {rule.line}) {json.dumps(rule.match)}"


def _describe_series(spec: SeriesSpec) -> str:
    return f"{spec.name}{_describe_labels(spec.labels)}"


def _describe_labels(labels: Labels) -> str:
    pairs = [f"{_escape(name)}={json.dumps(value)}" for name, value in labels]
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escape(text: str) -> str:
    return text if text.isascii() and text.isprintable() else json.dumps(text)
