"""
Try a mapping file: what it would do to samples that were seen; nothing changes.

    samples and what they become now --\\
                                        >-- differences, by sample and by series
    the same samples, the other file --/

A running bridge does this in a child process, which `main` is: reading a file holds
Python's lock of threads for long.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from statsd_bridge import mapping
from statsd_bridge.errors import ConfigError
from statsd_bridge.mapping import MappingTable, Match
from statsd_bridge.memory import MemoryBudget
from statsd_bridge.model import (
    Action,
    Labels,
    MetricOptions,
    Rejection,
    RejectionReason,
    Sample,
    SampleType,
    SeriesSpec,
)
from statsd_bridge.recent import SeenSample
from statsd_bridge.series import SeriesStore, TextLimits

MAX_CHANGES = 500
"""Changes, and series, that a report lists; all of them are counted."""

MAX_MEMORY_BYTES = 1024 * 1024 * 1024
"""Address space of the child process."""

MAX_CPU_SECONDS = 15
"""CPU time of the child process, which its parent ends earlier."""

NICENESS = 10
"""The child process leaves the CPU to the bridge."""

KEEPS_TYPE: Final = "until its series expire or a restart, the name keeps its type"


@dataclass(frozen=True, slots=True)
class RuleRef:
    """A rule, for a report."""

    index: int
    line: int
    match: str


class Fate(NamedTuple):
    """What becomes of a sample; `spec` is None if a rule drops it."""

    spec: SeriesSpec | None
    rule: RuleRef | None
    rejected: RejectionReason | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a store refuses besides conflicts."""

    max_series: int = 1_000_000
    texts: TextLimits = TextLimits()  # noqa: RUF009
    reserved: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A file, and samples with what they become now."""

    text: bytes
    file: str
    strict: bool = False
    limits: Limits = Limits()
    samples: Sequence[tuple[SeenSample, Fate]] = ()


class Change(NamedTuple):
    """A sample that another mapping changes; the first of `kinds` says it best."""

    sample: SeenSample
    kinds: tuple[str, ...]
    before: Fate
    after: Fate
    note: str = ""


class Comparison(NamedTuple):
    """What differs: samples, series that are new, and series without samples."""

    changes: Sequence[Change] = ()
    appear: Sequence[SeriesSpec] = ()
    vanish: Sequence[SeriesSpec] = ()


def fate_of(match: Match, sample: SeenSample) -> Fate:
    """Return what a match makes of a sample."""
    rule = match.rule
    ref = None if rule is None else RuleRef(rule.index, rule.line, rule.match)
    spec = None if match.action is Action.DROP else match.spec(sample[2])
    return Fate(spec, ref)


def run(trial: Trial) -> dict[str, Any]:
    """Return what differs, as an object for JSON."""
    try:
        table = mapping.parse(trial.text, trial.file, strict=trial.strict, cache_size=0)
    except ConfigError as error:
        return _document(trial, Comparison(), error=str(error))
    return _document(trial, compare(trial, table), table=table)


def compare(trial: Trial, table: MappingTable) -> Comparison:
    """Return what the other rules change."""
    before, after = _Outcomes(trial.limits), _Outcomes(trial.limits)
    changes = []
    for sample, now in trial.samples:
        type, name, _ = sample
        then = fate_of(table.look_up(type, name), sample)
        change = _change(sample, before.judge(sample, now), after.judge(sample, then))
        if change is not None:
            changes.append(change)
    return Comparison(
        changes,
        [spec for key, spec in after.series.items() if key not in before.series],
        [spec for key, spec in before.series.items() if key not in after.series],
    )


class _Outcomes:
    """What becomes of all samples by one mapping, in their order."""

    def __init__(self, limits: Limits) -> None:
        self.series: dict[tuple[str, Labels], SeriesSpec] = {}
        self._store = SeriesStore(
            max_series=limits.max_series,
            text_limits=limits.texts,
            reserved=limits.reserved,
            memory=MemoryBudget(0),
            clock=float,
        )

    def judge(self, sample: SeenSample, fate: Fate) -> Fate:
        """Record a sample; return its fate with why it is refused, if it is."""
        spec = fate.spec
        if spec is None:
            return fate
        if fate.rule is not None and not spec.name:
            return fate._replace(rejected=RejectionReason.EMPTY_METRIC_NAME)
        type, name, labels = sample
        member = "x" if type is SampleType.SET else ""
        recorded = self._store.record(
            spec, Sample(type, name, 1.0, labels, member=member)
        )
        if isinstance(recorded, Rejection):
            return fate._replace(rejected=recorded.reason)
        self.series.setdefault((spec.name, spec.labels), spec)
        return fate


def _change(sample: SeenSample, before: Fate, after: Fate) -> Change | None:
    kinds = tuple(_kinds(before, after))
    if not kinds:
        return None
    note = KEEPS_TYPE if "type" in kinds and "renamed" not in kinds else ""
    return Change(sample, kinds, before, after, note)


def _kinds(before: Fate, after: Fate) -> Iterator[str]:
    """Yield what differs, what says it best first."""
    old, new = _series(before), _series(after)
    if after.rejected is not None:
        if after.rejected is not before.rejected:
            is_conflict = after.rejected is RejectionReason.CONFLICT
            yield "conflict" if is_conflict else "refused"
            if old is not None:
                yield "vanishes"
        return
    if new is None:
        if before.spec is not None:
            yield "dropped"
        if old is not None:
            yield "vanishes"
        return
    yield from ["appears"] if old is None else _series_kinds(old, new)
    if before.rule is not None and after.rule is None:
        yield "unmapped"


def _series_kinds(old: SeriesSpec, new: SeriesSpec) -> Iterator[str]:
    if old.name != new.name:
        yield "renamed"
    if old.labels != new.labels:
        yield "labels"
    if old.options.type is not new.options.type:
        yield "type"
    elif _without_help(old.options) != _without_help(new.options):
        yield "options"


def _series(fate: Fate) -> SeriesSpec | None:
    """Return the series that a sample is recorded in."""
    return fate.spec if fate.rejected is None else None


def _without_help(options: MetricOptions) -> MetricOptions:
    return replace(options, help="")


def _document(
    trial: Trial,
    found: Comparison,
    *,
    table: MappingTable | None = None,
    error: str | None = None,
) -> dict[str, Any]:
    changes, appear, vanish = found
    counts = Counter(kind for change in changes for kind in change.kinds)
    sizes = (len(changes), len(appear), len(vanish))
    return {
        "clean": error is None and not changes,
        "names": len(trial.samples),
        "changes": [_change_json(change) for change in changes[:MAX_CHANGES]],
        "changed": len(changes),
        "counts": dict(sorted(counts.items())),
        "appear": [_series_json(each) for each in appear[:MAX_CHANGES]],
        "appearing": len(appear),
        "vanish": [_series_json(each) for each in vanish[:MAX_CHANGES]],
        "vanishing": len(vanish),
        "truncated": max(sizes) > MAX_CHANGES,
        "rules": None if table is None else len(table),
        "warnings": [] if table is None else list(table.warnings),
        "error": error,
    }


def _change_json(change: Change) -> dict[str, Any]:
    type, name, tags = change.sample
    after = change.after
    return {
        "kind": change.kinds[0],
        "kinds": list(change.kinds),
        "statsd_name": name,
        "type": str(type),
        "tags": dict(tags),
        "before": _fate_json(change.before),
        "after": _fate_json(after),
        "reason": str(after.rejected) if after.rejected else None,
        "note": change.note or None,
    }


def _fate_json(fate: Fate) -> dict[str, Any] | None:
    """Return a series with its rule; None if a rule drops the sample."""
    if fate.spec is None:
        return None
    return {
        **_series_json(fate.spec),
        "rule": None if fate.rule is None else asdict(fate.rule),
        "refused": str(fate.rejected) if fate.rejected else None,
        "options": _options_json(fate.spec.options),
    }


def _series_json(spec: SeriesSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "labels": dict(spec.labels),
        "type": str(spec.options.type),
    }


def _options_json(options: MetricOptions) -> dict[str, Any]:
    found: dict[str, Any] = {"ttl_seconds": options.ttl, "scale": options.scale}
    if options.buckets:
        found["buckets"] = list(options.buckets)
    if options.native is not None:
        found["native"] = True
    if options.quantiles:
        found["quantiles"] = [each.quantile for each in options.quantiles]
        found["max_age_seconds"] = options.max_age
    return found


def encode_samples(samples: Sequence[tuple[SeenSample, Fate]]) -> bytes:
    """Return some samples for the child process."""
    return pickle.dumps(samples)


def encode_trial(trial: Trial, chunks: Iterable[bytes]) -> bytes:
    """Return the input of the child process: a trial, and its samples encoded."""
    return b"".join([pickle.dumps(trial), *chunks])


def main() -> None:
    """Read a trial and samples from standard input; write the document as JSON."""
    _limit_process()
    # Only the bridge that has started this process writes to it.
    stream = sys.stdin.buffer
    trial: Trial = pickle.load(stream)  # noqa: S301
    samples = [*trial.samples]
    with suppress(EOFError):
        while True:
            samples += pickle.load(stream)  # noqa: S301
    sys.stdout.write(json.dumps(run(replace(trial, samples=samples))))


def _limit_process() -> None:
    """Leave CPU and memory to the bridge."""
    import resource

    os.nice(NICENESS)
    memory, cpu = (MAX_MEMORY_BYTES,) * 2, (MAX_CPU_SECONDS,) * 2
    resource.setrlimit(resource.RLIMIT_AS, memory)
    resource.setrlimit(resource.RLIMIT_CPU, cpu)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        # Of all processes of a container this one is ended first.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
