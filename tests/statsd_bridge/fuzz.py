"""
Random scenarios through both paths, from a seed: `make fuzz`.

    seed --> mapping files, quotas, flags, bounds, steps --> plain path --.
                                               \\--> fast path  ----'--> the same?

A step is a batch of lines, time that passes, a reload or a comparison.  Lines are built
from the grammar and from the names of the rules, and then sometimes broken.  A seed
always gives the same scenario:

    python -m tests.statsd_bridge.fuzz --seconds 600            until a difference
    python -m tests.statsd_bridge.fuzz --seed 7 --show          one again, its steps
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from statsd_bridge import exposition, fastpath, mapping
from statsd_bridge.errors import ConfigError
from statsd_bridge.exposition import SelfMetrics, openmetrics, text
from statsd_bridge.fastpath import buffers, resolve, split
from statsd_bridge.line import Dialect
from statsd_bridge.memory import (
    EXPIRY_BYTES,
    series_size,
)
from statsd_bridge.series.histogram import Histogram
from statsd_bridge.series.set import MEMBER_BYTES, UniqueSet
from statsd_bridge.series.sketch import SKETCH_BYTES
from statsd_bridge.series.summary import Summary
from tests.statsd_bridge.in_memory import (
    BOTH_PATHS,
    FixedState,
    InMemoryPath,
    assert_same_results,
    quota_table,
)

MAX_STEPS = 15
STYLES = ("dogstatsd", "influxdb", "librato", "signalfx")
WORDS = ("api", "hits", "time", "db", "a", "b", "x-y", "9", "caf\u00e9", "_", "le", "")
VALUES = (
    *("1", "0", "-3", "+4", "-0", "2.5", "1e3", "1e400", "0x1p3", "1_0", "inf", "-inf"),
    *("nan", "", " 1", "x", "007", ".5", "5.", "1:2:3", "1|c:2"),
)
TYPES = ("c", "g", "ms", "h", "d", "s", "x", "")
SECTIONS = ("|c:ci-1", "|c:12", "|T1", "|e:it-no", "|card:low", "|c:a:b", "|c:", "|x")
RATES = ("|@0.1", "|@0.3", "|@1e-9", "|@0", "|@-1", "|@x", "|@nan")
TAG_VALUES = ("eu", "", "a:b", 'q"', "back\\slash", "x" * 300, "\u2028", "\x1b[31m")
TAG_NAMES = ("zone", "host", "le", "quantile", "__name__", "a-b", "9", "\u00e9", "")
RESOLUTIONS = ("counter", "gauge", "observer", "timer")


@dataclass(frozen=True, slots=True)
class Batch:
    """Datagrams, or the lines of a connection."""

    texts: tuple[bytes, ...]
    transport: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Seconds that pass; series whose ttl is over expire."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reload:
    """The text of another mapping file."""

    rules: str


@dataclass(frozen=True, slots=True)
class NewQuotas:
    """The text of another quota file."""

    quotas: str


@dataclass(frozen=True, slots=True)
class Compare:
    """The paths must show the same now."""


Step = Batch | Wait | Reload | NewQuotas | Compare


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Everything that a seed determines."""

    rules: str
    dialect: Dialect
    max_series: int
    quotas: str
    """A quota file."""
    max_memory: int
    """Bytes; 0 for no limit."""
    bounds: dict[str, int]
    steps: tuple[Step, ...]


def scenario(seed: int) -> Scenario:
    """Return the scenario of a seed."""
    random = Random(seed)
    rules = _rules(random)
    names = _names(random, rules)
    # Few names and types, so that the same series come again and again.
    types = random.choice((TYPES[:4], TYPES[:1], TYPES[1:2], TYPES[2:4]))
    return Scenario(
        rules=rules,
        dialect=Dialect(**{style: random.random() < 0.8 for style in STYLES}),
        max_series=random.choice((2, 20, 1000)),
        quotas=random.choice(("", _quotas(random))),
        max_memory=random.choice((0, 0, 0, 4_000, 20_000, 100_000)),
        bounds=_bounds(random),
        steps=tuple(_steps(random, names, types)),
    )


def run(played: Scenario) -> None:
    """Play a scenario on both paths; AssertionError if they differ."""
    tables = [mapping.parse(played.rules, "rules.yml") for _ in BOTH_PATHS]
    paths = [
        InMemoryPath(
            table,
            make_pipeline=make,
            dialect=played.dialect,
            max_series=played.max_series,
            quota_file=played.quotas,
            max_memory=played.max_memory,
            reserved=exposition.reserved_names(),
            sources=("api",),
        )
        for table, make in zip(tables, BOTH_PATHS, strict=True)
    ]
    before = _set_bounds(played.bounds)
    try:
        totals = [_totals(path) for path in paths]
        for step in (*played.steps, Compare()):
            for path in paths:
                _take(path, step)
            if isinstance(step, Compare):
                # The paths fill a budget in different ways: in bulk and one by one.
                if not played.max_memory:
                    assert_same_results(paths[1], paths[0])
                for path in paths:
                    _check_page(path)
            for path in paths:
                _check_memory(path)
            now = [_totals(path) for path in paths]
            for old, new in zip(totals, now, strict=True):
                fallen = {name for name, value in old.items() if new[name] < value}
                assert not fallen, f"counters fell: {fallen}"
            totals = now
    finally:
        _set_bounds(before)


def _take(path: InMemoryPath, step: Step) -> None:
    match step:
        case Batch(texts, "udp" | "unixgram" as transport):
            path.pipeline.feed(texts, transport)
        case Batch(texts, transport):
            path.pipeline.feed_lines(texts, transport)
        case Wait(seconds):
            path.pass_seconds(seconds)
        case Reload(rules):
            path.pipeline.replace_table(mapping.parse(rules, "rules.yml"))
        case NewQuotas(quotas):
            path.store.quotas.replace(quota_table(quotas))
        case Compare():
            pass


def _check_page(path: InMemoryPath) -> None:
    """Check that the parsers of prometheus_client read both formats to their end."""
    page = path.page()
    list(text_string_to_metric_families(page))
    names = [row.rpartition(" ")[0] for row in page.split("\n") if row[:1] != "#"]
    names.remove("")
    assert len(names) == len(set(names)), "a series is on the page twice"
    reserved = exposition.reserved_names()
    chunks = openmetrics.format_families(
        path.store.families(), path.now, path.bugs, reserved=reserved
    )
    body = b"".join(text.join_slices(chunks)).decode()
    list(openmetrics_families(f"{body}# EOF\n"))  # type: ignore[no-untyped-call]


def _check_memory(path: InMemoryPath) -> None:
    """Check that what is charged is within its limit, and is the size of all series."""
    series, *others = path.memory.accounts
    assert all(each.used <= each.limit for each in others)
    # Ttls that a reload adds may exceed the limit.
    assert series.used <= series.limit + EXPIRY_BYTES * len(path.store)
    size = 0
    for family in path.store.families():
        size += family.size()
        for labels, each in family.series.items():
            size += series_size(each.options, labels)
            size += EXPIRY_BYTES if each.ttl else 0
            if isinstance(each, UniqueSet):
                size += MEMBER_BYTES * len(each.members)
            elif isinstance(each, Summary) and each.sketches:
                # The size of a summary includes an empty sketch.
                size += sum(part.size for part in each.sketches) - SKETCH_BYTES
            elif isinstance(each, Histogram) and each.native is not None:
                size += each.native.size
    assert series.used == size


def _totals(path: InMemoryPath) -> dict[str, float]:
    """Return all counters of the self-metrics."""
    metrics = SelfMetrics(FixedState(stats=path.stats))
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in metrics.collect()
        if family.type == "counter"
        for sample in family.samples
    }


def _set_bounds(bounds: dict[str, int]) -> dict[str, int]:
    """Set bounds of the fast path, and return what they were."""
    before = {}
    for name, bound in bounds.items():
        module = next(
            each for each in (fastpath, buffers, resolve, split) if hasattr(each, name)
        )
        before[name] = getattr(module, name)
        setattr(module, name, bound)
    return before


def _bounds(random: Random) -> dict[str, int]:
    bounds: dict[str, int] = {}
    if random.random() < 0.5:
        bounds |= {"MAX_BUFFERS": 3, "FLUSH_THRESHOLD": 2, "MAX_PIECE_BYTES": 40}
        bounds |= {"MAX_SHAPES": 3, "MAX_TAGGED_NAMES": 2}
    if random.random() < 0.5:
        bounds |= {"MIN_GROUPED_BYTES": 0, "MAX_SKIPPED_PIECES": 0}
        bounds |= {"MIN_LINES_PER_GROUP": 1}
    return bounds


def _rules(random: Random) -> str:
    """Return a mapping file that is accepted; JSON is YAML."""
    while True:
        document: dict[str, Any] = {}
        if random.random() < 0.5:
            document["defaults"] = _options(random)
        document["mappings"] = [_rule(random) for _ in range(random.randrange(6))]
        rules = json.dumps(document)
        try:
            mapping.parse(rules, "rules.yml")
        except ConfigError:
            continue
        return rules


def _quotas(random: Random) -> str:
    """Return a quota file; JSON is YAML."""
    matches = ("shared", "mapped_*", "*", "?", "api_*", "*_hits", "*_?", "a*_b")
    entries = [
        {"match": random.choice(matches), "max_series": random.choice((0, 1, 2, 5))}
        for _ in range(random.randrange(4))
    ]
    return json.dumps({"quotas": entries})


def _rule(random: Random) -> dict[str, Any]:
    rule = _options(random)
    if random.random() < 0.2:
        rule["match_type"] = "regex"
        rule["match"] = random.choice((r"api\.(.*)", r"(\w+)\.(\w+)", "^a", r"time$"))
    else:
        segments = [
            random.choice((*WORDS[:7], "*")) for _ in range(random.randint(1, 3))
        ]
        rule["match"] = ".".join(segments)
    rule["name"] = random.choice(("shared", "shared", "mapped_$1", "${1}_${2}"))
    if random.random() < 0.4:
        rule["labels"] = {random.choice(("zone", "route")): random.choice(("$1", "eu"))}
    for key, values in (
        ("match_metric_type", RESOLUTIONS),
        ("action", ("drop", "map")),
        ("honor_labels", (True, False)),
        ("scale", (0.5, -1, 1000)),
    ):
        if random.random() < 0.2:
            rule[key] = random.choice(values)
    return rule


def _options(random: Random) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if random.random() < 0.5:
        options["ttl"] = random.choice(("1s", "3s", "10s"))
    if random.random() < 0.4:
        options["observer_type"] = "histogram"
        options["histogram_options"] = {"buckets": [0.01, 1, 50]}
    elif random.random() < 0.3:
        options["observer_type"] = "summary"
        options["summary_options"] = {
            "quantiles": [{"quantile": 0.5, "error": 0.05}],
            "max_age": random.choice(("2s", "10m")),
            "age_buckets": random.choice((1, 2, 5)),
        }
    return options


def _names(random: Random, rules: str) -> list[str]:
    """Return the names of a scenario: few, so that they come again and again."""
    matches = [rule["match"] for rule in json.loads(rules)["mappings"]]
    names = [
        re.sub(r"\*", lambda _: random.choice(WORDS), random.choice(matches))
        for _ in range(random.randint(0, 5) if matches else 0)
    ]
    return names + [
        ".".join(random.choices(WORDS, k=random.randint(1, 3)))
        for _ in range(random.randint(1, 2))
    ]


def _steps(
    random: Random, names: Sequence[str], types: Sequence[str]
) -> Iterator[Step]:
    for _ in range(random.randint(1, MAX_STEPS)):
        kind = random.random()
        if kind < 0.6:
            yield _batch(random, names, types)
        elif kind < 0.8:
            yield Wait(random.choice((0.1, 0.9, 2.0, 2.0, 4.0, 700.0)))
        elif kind < 0.9:
            yield Reload(_rules(random))
        elif kind < 0.93:
            yield NewQuotas(_quotas(random))
        else:
            yield Compare()


def _batch(random: Random, names: Sequence[str], types: Sequence[str]) -> Batch:
    lines = [_line(random, names, types) for _ in range(random.randint(1, 12))]
    lines *= random.choice((1, 1, 1, 5, 60))
    if random.random() < 0.5:
        random.shuffle(lines)
    if random.random() < 0.3:
        return Batch(tuple(lines), random.choice(("tcp", "unixstream")))
    datagrams = []
    while lines:
        size = random.randint(1, 20)
        end = random.choice((b"", b"", b"\n", b"\n\n", b"\r\n"))
        datagrams.append(b"\n".join(lines[:size]) + end)
        del lines[:size]
    return Batch(tuple(datagrams), random.choice(("udp", "unixgram")))


def _line(random: Random, names: Sequence[str], types: Sequence[str]) -> bytes:
    name, tags = random.choice(names), ""
    style = random.random()
    if style < 0.05:
        name += random.choice((",", "#")) + _tags(random, "=", ",")
    elif style < 0.08:
        name += f"[{_tags(random, '=', ',')}]"
    elif style < 0.2:
        tags = f"|#{_tags(random, ':', ',')}"
    value = (
        random.choice(VALUES) if random.random() < 0.2 else str(random.randrange(99))
    )
    type_ = random.choice(TYPES if random.random() < 0.1 else types)
    rate = random.choice(RATES) if random.random() < 0.3 else ""
    more = [rate, tags]
    if random.random() < 0.2:
        more += random.sample(SECTIONS, random.randint(1, 3))
    if random.random() < 0.1:
        random.shuffle(more)
    line = f"{name}:{value}|{type_}{''.join(more)}".encode()
    return _broken(random, line) if random.random() < 0.05 else line


def _tags(random: Random, is_sign: str, separator: str) -> str:
    return separator.join(
        random.choice(TAG_NAMES) + is_sign + random.choice(TAG_VALUES)
        for _ in range(random.randint(1, 3))
    )


def _broken(random: Random, line: bytes) -> bytes:
    """Cut a line, or insert, repeat or replace a few bytes."""
    position = random.randrange(len(line) + 1)
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: line[:position],
        lambda: line[:position] + random.randbytes(2) + line[position:],
        lambda: line[:position] + line[position // 2 :],
        lambda: line[:position] + random.choice((b":", b"|", b"#", b"]", b"\0")),
    )
    # A newline would make two lines of it in one path only: lines are already split.
    return random.choice(changes)().replace(b"\n", b" ")


def main() -> int:
    """Run scenarios; return 1 at the first that fails, after its seed and its error."""
    parser = argparse.ArgumentParser(prog="python -m tests.statsd_bridge.fuzz")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, help="run only this scenario")
    parser.add_argument("--first", type=int, default=int(time.time()), metavar="SEED")
    parser.add_argument("--show", action="store_true", help="print the scenarios")
    args = parser.parse_args()
    seeds = count(args.first) if args.seed is None else [args.seed]
    end, done = time.monotonic() + args.seconds, 0
    for seed in seeds:
        if time.monotonic() > end:
            break
        played = scenario(seed)
        if args.show:
            print(played)
        try:
            run(played)
        except Exception as error:
            print(f"seed {seed}: {type(error).__name__}: {error}", file=sys.stderr)
            print(f"again: python -m tests.statsd_bridge.fuzz --seed {seed} --show")
            return 1
        done += 1
    print(f"{done} scenarios from seed {args.first}, no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
