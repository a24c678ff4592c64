"""How often each rule matched, on both paths; names and lines that were seen."""

from __future__ import annotations

import pytest

from statsd_bridge import mapping
from statsd_bridge.memory import Account
from statsd_bridge.recent import MAX_RECENT, RECENT_BYTES, Occurrences, Recent
from tests.statsd_bridge.in_memory import BOTH_PATHS, InMemoryPath, MakePipeline

RULES = r"""
mappings:
- {match: app.req.*, name: app_requests_total, labels: {code: $1}}
- {match: app.req.200, name: never}
- {match: app.secret, name: unused, action: drop}
- {match: 'app\.(.*)\.time', match_type: regex, name: app_seconds, labels: {of: $1}}
- {match: clash, name: app_seconds, match_metric_type: gauge}
"""

LINES: list[tuple[bytes, list[int]]] = [
    # A line, and the samples that each rule takes of it.
    (b"app.req.200:1|c", [1, 0, 0, 0, 0]),
    (b"app.req.500:2|c|#zone:eu", [1, 0, 0, 0, 0]),
    (b"app.req.500,zone=us:2|c", [1, 0, 0, 0, 0]),
    (b"app.req.404:1|c|@0.1", [1, 0, 0, 0, 0]),
    (b"app.req.1:1|c:2|c:3|c", [3, 0, 0, 0, 0]),
    (b"app.secret:1|c", [0, 0, 1, 0, 0]),
    (b"app.secret:12|ms|@0.1", [0, 0, 10, 0, 0]),
    (b"app.db.time:12|ms", [0, 0, 0, 1, 0]),
    (b"app.db.time:12|ms|@0.25", [0, 0, 0, 4, 0]),
    (b"clash:1|g", [0, 0, 0, 0, 1]),
    (b"clash:+1|g", [0, 0, 0, 0, 1]),
    (b"clash:1|c", [0, 0, 0, 0, 0]),
    (b"no.rule:1|c", [0, 0, 0, 0, 0]),
    (b"app.req.200:x|c", [0, 0, 0, 0, 0]),
]


@pytest.mark.parametrize("make_pipeline", BOTH_PATHS)
def test_samples_are_counted_by_rule(make_pipeline: MakePipeline) -> None:
    """They are, whether lines come first, again, or so often that they are buffered."""
    memory = InMemoryPath(RULES, make_pipeline=make_pipeline)
    rounds = 5
    for _ in range(rounds):
        memory.feed(*[line for line, _ in LINES])
    memory.feed(b"\n".join([b"app.req.200:1|c"] * 2_000))
    memory.pipeline.flush()

    hits = memory.plain.table.hits
    expected = [sum(of_rule) for of_rule in zip(*[n for _, n in LINES], strict=True)]
    assert hits == [
        n * rounds + 2_000 * (not index) for index, n in enumerate(expected)
    ]
    assert sum(hits) == sum(memory.stats.actions.values())


@pytest.mark.parametrize("make_pipeline", BOTH_PATHS)
def test_counts_begin_again_with_other_rules(make_pipeline: MakePipeline) -> None:
    """Those of the old rules do not go to the new ones, which have other places."""
    memory = InMemoryPath(RULES, make_pipeline=make_pipeline)
    lines = [b"app.req.200:1|c", b"app.secret:1|c", b"app.req.200:1|c|#a:b"]
    memory.feed(*lines * 3)
    old = memory.plain.table
    new = mapping.parse("mappings: [{match: app.secret, name: app_secret}]", "new.yml")
    memory.pipeline.replace_table(new)
    memory.feed(*lines * 3)
    memory.pipeline.flush()

    assert old.hits == [6, 0, 3, 0, 0]
    assert new.hits == [3]


def test_unreachable_rules_are_known() -> None:
    """Each with the rule that matches all its names first."""
    assert mapping.parse(RULES, "rules.yml").unreachable == {1: 0}


def test_recent_names_have_count_and_time() -> None:
    """The newest come first, and the oldest go."""
    now, account = 1_700_000_000.0, Account()
    names: Recent[tuple[str, str]] = Recent(account, lambda: now)
    for _ in range(2):
        for index in range(MAX_RECENT + 1):
            now += 1
            names.add((f"name{index}", "counter"), 2)
    names.add(("name5", "counter"))
    shown = list(names.newest_first())

    assert len(shown) == MAX_RECENT
    assert shown[0] == (("name5", "counter"), Occurrences(3, now))
    assert shown[1] == ((f"name{MAX_RECENT}", "counter"), Occurrences(2, now))
    assert account.used == MAX_RECENT * RECENT_BYTES
