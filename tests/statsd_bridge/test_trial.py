"""What another mapping file would do to samples that were seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge import explain, mapping
from statsd_bridge.fastpath import seen
from statsd_bridge.inspection.seen import seen_samples
from statsd_bridge.inspection.steps import run_at_once
from statsd_bridge.line import DEFAULT_DIALECT
from statsd_bridge.memory import Account
from statsd_bridge.model import Sample, SampleType
from statsd_bridge.recent import MAX_RECENT_SAMPLES, RecentSamples
from statsd_bridge.trial import Fate, Trial, encode_samples, encode_trial, run
from tests.statsd_bridge.in_memory import BOTH_PATHS, InMemoryPath, MakePipeline

OLD = """
mappings:
- {match: app.req.*, name: app_requests_total, labels: {code: $1}}
- {match: app.secret, name: unused, action: drop}
- {match: app.time, name: app_seconds}
- {match: app.depth, name: app_depth, ttl: 60s}
"""

LINES = (
    *(b"app.req.200:1|c", b"app.req.404:1|c|#zone:eu", b"app.secret:1|c"),
    *(b"app.time:3|ms", b"app.depth:+1|g", b"users:bob|s", b"other:1|c:2|c"),
)


def tried(new: str, old: str = OLD, *lines: bytes, path: Any = None) -> Any:
    """Return the report for the lines of a bridge with the old file."""
    memory = path or InMemoryPath(old)
    memory.feed(*(lines or LINES))
    samples = run_at_once(seen_samples(memory.pipeline, memory.plain))
    return run(Trial(text=new.encode(), file="new.yml", samples=[*samples.items()]))


def kinds(report: Any) -> dict[str, list[str]]:
    """Return what changes, by statsd name."""
    return {each["statsd_name"]: each["kinds"] for each in report["changes"]}


@pytest.mark.parametrize(
    ("old", "new", "name", "expected"),
    [
        ("app_requests_total", "app_http_total", "app.req.200", ["renamed"]),
        ("code: $1", "status: $1", "app.req.404", ["labels"]),
        ("app_seconds", "app_seconds, observer_type: histogram", None, ["type"]),
        ("60s", "61s", "app.depth", ["options"]),
        ("app_depth", "app_depth, scale: 2", "app.depth", ["options"]),
        ("app_depth,", "app_depth, help: x,", "app.depth", None),
        ("name: app_seconds", "name: x, action: drop", None, ["dropped", "vanishes"]),
        (", action: drop", "", "app.secret", ["appears"]),
        ("match: app.secret", "match: a.b", "app.secret", ["appears", "unmapped"]),
        ("match: app.depth", "match: a.b", "app.depth", ["options", "unmapped"]),
        ("match: app.time", "match: a.b", "app.time", ["renamed", "unmapped"]),
        ("app_depth", "users", "app.depth", ["conflict", "vanishes"]),
        ("app_depth", "statsd_x", "app.depth", ["renamed"]),
        ("code: $1", "__code: $1", None, "error"),
    ],
)
def test_kinds_of_changes(old: str, new: str, name: str | None, expected: Any) -> None:
    """Each difference has its word; a help text is none."""
    report = tried(OLD.replace(old, new))
    if expected == "error":
        problem = "new.yml: mappings[0].labels: '__code' is not a label name"
        assert report["error"].startswith(problem)
        assert not report["clean"]
        return
    found = kinds(report).get(name or "app.time")
    if found == ["conflict", "vanishes"] or expected != ["conflict", "vanishes"]:
        assert found == expected
    else:
        # The first sample of a name wins, whichever that is.
        assert kinds(report)["users"] == expected
    assert report["clean"] == (expected is None)


def test_series_that_appear_and_vanish() -> None:
    """Two samples that become one series make two vanish and one appear."""
    report = tried(OLD.replace("labels: {code: $1}", "labels: {code: all, zone: all}"))
    assert [each["labels"] for each in report["appear"]] == [
        {"code": "all", "zone": "all"}
    ]
    assert len(report["vanish"]) == 2
    assert (report["appearing"], report["vanishing"]) == (1, 2)


def test_a_series_with_other_samples_does_not_vanish() -> None:
    """A rule of two that write to a series goes away: the series stays."""
    old = "mappings: [{match: a, name: s}, {match: b, name: s}]"
    new = "mappings: [{match: a, name: s}, {match: b, name: t}]"
    report = tried(new, old, b"a:1|c", b"b:1|c")
    assert kinds(report) == {"b": ["renamed"]}
    assert report["vanish"] == []


@pytest.mark.parametrize("make_pipeline", BOTH_PATHS)
@pytest.mark.parametrize("rounds", [1, 2, 9])
def test_what_was_seen(make_pipeline: MakePipeline, rounds: int) -> None:
    """Each path knows each sample, however often it came and whatever became of it."""
    memory = InMemoryPath(OLD, make_pipeline=make_pipeline, bugs=None)
    for _ in range(rounds):
        memory.feed(*LINES, b"users:1|c", b"a[b=c]:1|c", b"a:1|ms|@0.1|#d:e")
    samples = run_at_once(seen_samples(memory.pipeline, memory.plain))

    counter, observer = SampleType.COUNTER, SampleType.OBSERVER
    assert {*samples} == {
        (counter, "app.req.200", ()),
        (counter, "app.req.404", (("zone", "eu"),)),
        (counter, "app.secret", ()),
        (observer, "app.time", ()),
        (SampleType.GAUGE, "app.depth", ()),
        (SampleType.SET, "users", ()),
        (counter, "users", ()),
        (counter, "other", ()),
        (counter, "a", (("b", "c"),)),
        (observer, "a", (("d", "e"),)),
    }


def test_what_was_seen_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many lines the newest and the oldest are taken."""
    monkeypatch.setattr(seen, "MAX_SEEN_LINES", 100)
    memory = InMemoryPath("")
    memory.feed(*[f"tag{number}:1|c|#a:{number}".encode() for number in range(900)])
    memory.feed(*[f"name{number}:1|c".encode() for number in range(900)])
    lines = memory.pipeline.seen_lines()
    assert len(lines) == len({*lines}) == 100
    for end in (b"name899:1|c", b"name9:1|c", b"tag899:1|c|#a:899", b"tag9:1|c|#a:9"):
        assert end in lines

    account = Account(4 * 100_000)
    recent = RecentSamples(account)
    for number in range(2 * MAX_RECENT_SAMPLES):
        recent.add(Sample(SampleType.COUNTER, f"name{number}", 1.0))
    recent.add(Sample(SampleType.COUNTER, "x" * 2_000, 1.0))
    assert 0 < account.used <= 100_000
    assert next(iter(recent))[1] == f"name{2 * MAX_RECENT_SAMPLES - 1}"


def test_a_reload_forgets_no_names() -> None:
    """Lines that were buffered are known afterwards, a bounded part of them."""
    memory = InMemoryPath(OLD)
    memory.feed(*LINES * 3)
    before = {*run_at_once(seen_samples(memory.pipeline, memory.plain))}
    for _ in range(3):
        memory.pipeline.replace_table(mapping.parse(OLD, "rules.yml"))
    assert {*run_at_once(seen_samples(memory.pipeline, memory.plain))} == before

    for start in range(0, 20_000, 5_000):
        numbers = range(start, start + 5_000)
        memory.feed(*[f"{'x' * 99}{number}:1|c".encode() for number in numbers])
    used = memory.memory.buffers.used
    memory.pipeline.replace_table(mapping.parse(OLD, "rules.yml"))
    assert 1_000 < len(memory.pipeline.seen_lines()) < 5_000
    assert 100_000 < memory.memory.buffers.used < min(used, seen.MAX_FORMER_BYTES + 1)


MATCHES = ["a.*", "a.b", "*.b", "a.*.c", "*"]
NAMES = ["a.b", "a.c", "b.b", "a.b.c", "x", "a"]
RULES = st.lists(
    st.fixed_dictionaries(
        {"match": st.sampled_from(MATCHES), "name": st.sampled_from(["x", "y", "x$1"])},
        optional={
            "action": st.sampled_from(["map", "drop"]),
            "match_metric_type": st.sampled_from(["counter", "gauge", "observer"]),
            "labels": st.sampled_from([{"one": "$1"}, {"t": "r"}]),
            "honor_labels": st.booleans(),
            "observer_type": st.sampled_from(["histogram", "summary"]),
        },
    ),
    max_size=4,
).map(lambda rules: json.dumps({"mappings": rules}))
SEEN = st.lists(
    st.builds(
        lambda name, kind, tags: f"{name}:1|{kind}{tags}".encode(),
        st.sampled_from(NAMES),
        st.sampled_from(["c", "g", "ms", "s"]),
        st.sampled_from(["", "|#t:v", "|#t:v,u:w"]),
    ),
    min_size=1,
    max_size=8,
)


@given(RULES, RULES, SEEN)
def test_reports_agree_with_explain(old: str, new: str, lines: list[bytes]) -> None:
    """What comes after is what explain says; the same file changes nothing."""
    assert tried(old, old, *lines)["clean"]

    table = mapping.parse(new, "new.yml")
    for change in tried(new, old, *lines)["changes"]:
        kind = {"counter": "c", "gauge": "g", "observer": "ms", "set": "s"}
        tags = ",".join(f"{name}:{value}" for name, value in change["tags"].items())
        line = f"{change['statsd_name']}:1|{kind[change['type']]}|#{tags}"
        stores = explain.TrialStores(InMemoryPath().store)
        explained = explain.as_json(
            explain.explain(line.encode(), DEFAULT_DIALECT, table, stores)
        )
        (step,) = explained["samples"]
        after = change["after"]
        assert (after is None) == (step["action"] == "drop")
        if after is not None:
            labels = [f'{k}="{v}"' for k, v in sorted(after["labels"].items())]
            shown = f"{{{','.join(labels)}}}" if labels else ""
            assert step["series"] == after["name"] + shown
            assert step["kept_as"]["shape"] == after["type"]
            assert (step["rule"] or None) == after["rule"]


def test_the_child_process() -> None:
    """It reads a trial and writes the report as JSON."""
    sample = SampleType.COUNTER, "a", ()
    trial = Trial(text=b"mappings: [{match: a, name: b}]", file="new.yml")
    done = subprocess.run(
        [sys.executable, "-c", "from statsd_bridge.trial import main; main()"],
        input=encode_trial(trial, [encode_samples([(sample, Fate(None, None))])] * 2),
        capture_output=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    document = json.loads(done.stdout)
    assert (document["rules"], document["counts"]) == (1, {"appears": 2})
