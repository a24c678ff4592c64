"""All that senders make the bridge remember is charged, bounded and given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from statsd_bridge.memory import MemoryBudget
from statsd_bridge.series import set as sets
from tests.statsd_bridge.in_memory import InMemoryPath, MakePipeline, ReportedBugs

TTL = "defaults: {ttl: 1h}"
HISTOGRAMS = "defaults: {ttl: 1h, observer_type: histogram}"
COPIES = """
defaults: {ttl: 1h}
mappings:
- {match: c.*, name: c, labels: {a: $1$1$1$1, b: $1$1$1$1, c: $0$0$0$0}}
- {match: drop.*, name: x, action: drop}
"""

Flood = Callable[[int], bytes]

FLOODS: dict[str, tuple[str, Flood]] = {
    "names": (TTL, lambda n: b"n%d:1|c" % n),
    "long names": (TTL, lambda n: b"n" * 1_000 + b"%d:1|g" % n),
    "label values": (TTL, lambda n: b"a:1|c|#k:%d" % n),
    "long label values": (TTL, lambda n: b"a:1|c|#k:" + b"v" * 4_000 + b"%d" % n),
    "wide characters": (
        TTL,
        lambda n: b"a:1|c|#k:" + "\N{FIRE}".encode() * 900 + b"%d" % n,
    ),
    "label names": (TTL, lambda n: b"a:1|c|#k%d:v" % n),
    "many labels": (
        TTL,
        lambda n: b"a:1|c|#" + b",".join(b"k%d:%d" % (i, n) for i in range(200)),
    ),
    "timers": (TTL, lambda n: b"t:%d|ms|#k:%d" % (n, n)),
    "values of a timer": (TTL, lambda n: b"t:%d:%d|ms|@0.5" % (n, n + 1)),
    "histograms": (HISTOGRAMS, lambda n: b"t:%d|ms|#k:%d" % (n, n)),
    "native buckets": (
        "defaults: {ttl: 1h, observer_type: histogram, "
        "histogram_options: {native_histogram_max_buckets: 100000}}",
        lambda n: b"t%d:%de%d|h" % (n % 7, n, n % 77 - 37),
    ),
    "sets": (TTL, lambda n: b"s:x|s|#k:%d" % n),
    "members": (TTL, lambda n: b"s%d:x%d|s" % (n % 7, n)),
    "matches": (COPIES, lambda n: b"c." + b"x" * 700 + b"%d:1|c" % n),
    "dropped": (COPIES, lambda n: b"drop.x%d:1|c\ndrop.x%d:1|c" % (n, n)),
    "conflicts": (TTL, lambda n: b"n%d:1|c\nn%d:1|g" % (n, n)),
    "rates": (TTL, lambda n: b"a:1|c|@0.%d\na:1|c|@0.%d" % (n + 1, n + 1)),
    "mistakes": (TTL, lambda n: b"broken" * 30 + b"%d" % n),
}


def floods(flood: Flood) -> Iterator[bytes]:
    """Yield batches of lines."""
    for start in range(0, 2_000, 100):
        yield b"\n".join(map(flood, range(start, start + 100)))


@pytest.mark.parametrize("limit", [30_000, 300_000])
@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_stays_within_the_budget(
    make_pipeline: MakePipeline, name: str, limit: int
) -> None:
    """Old series go on, new ones are refused and counted; all of it is given back."""
    rules, flood = FLOODS[name]
    memory = InMemoryPath(rules, make_pipeline=make_pipeline, max_memory=limit)
    memory.feed(b"innocent:1|c")
    for batch in floods(flood):
        memory.feed(batch)
        assert memory.memory.used <= limit
        assert all(each.used <= each.limit for each in memory.memory.accounts)
    memory.feed(b"innocent:1|c")
    assert memory.values()["innocent"] == 2

    memory.now += 3_700
    memory.feed(b"innocent:1|c")
    memory.pass_seconds(1)
    assert memory.values().keys() == {"innocent"}
    memory.pass_seconds(4_000)
    assert memory.values() == {}
    assert memory.memory.series.used == 0


@pytest.mark.parametrize(
    "name", [name for name in FLOODS if name not in ("mistakes", "dropped", "rates")]
)
def test_what_is_refused_is_counted(name: str) -> None:
    """By the reason; what exists and cannot grow has counters of its own."""
    rules, flood = FLOODS[name]
    memory = InMemoryPath(rules, max_memory=40_000)
    for batch in floods(flood):
        memory.feed(batch)
    memory.pipeline.flush()
    refused = {reason for reason, _ in memory.stats.series_refused}

    coarsened = memory.memory.series.denied + memory.store.native.stats.halved
    assert refused == {"memory"} or coarsened > 0


@pytest.mark.parametrize("name", FLOODS)
def test_without_a_limit_nothing_is_refused(name: str) -> None:
    """0 is no limit, and what is remembered is charged nevertheless."""
    rules, flood = FLOODS[name]
    memory = InMemoryPath(rules)
    for batch in floods(flood):
        memory.feed(batch)

    assert not memory.stats.series_refused
    assert memory.memory.used > 0


def test_a_full_budget_keeps_the_caches() -> None:
    """Series never take the share of the caches: known lines stay quick."""
    memory = InMemoryPath(max_memory=100_000)
    for batch in floods(FLOODS["names"][1]):
        memory.feed(batch)
    before = memory.stats.series_refused.total()
    for _ in range(3):
        memory.feed(b"n1:1|c\nn2:1|c")

    assert memory.stats.series_refused.total() == before > 0
    assert memory.values()["n1"] == 4


def test_a_member_that_does_not_fit_is_refused() -> None:
    """The members before it are counted on, and it fits when they have expired."""
    memory = InMemoryPath(max_memory=40_000)
    members = [b"s:x%d|s" % number for number in range(500)]
    memory.feed(*members)
    counted = memory.values()["s"]
    refused = memory.stats.series_refused.total()
    assert refused > 0
    assert counted + refused == 500
    memory.feed(members[0])
    assert memory.stats.series_refused.total() == refused

    memory.pass_seconds(61)
    memory.feed(members[-1])
    assert memory.values()["s"] == 1


def test_a_reload_empties_the_mapping_cache() -> None:
    """The matches of the old table are given back."""
    memory = InMemoryPath(COPIES)
    memory.plain.feed([b"c.x:1|c", b"c.y:1|c"], "udp")
    before = memory.memory.matches.used
    memory.pipeline.replace_table(InMemoryPath(TTL).plain.table)

    assert before > memory.memory.matches.used == 0


@pytest.mark.parametrize("limit", [1, 1_000, 512 << 20, 1 << 40])
def test_the_shares_of_the_budget_add_up(limit: int) -> None:
    """Most of it is for series."""
    budget = MemoryBudget(limit)

    assert sum(each.limit for each in budget.accounts) == limit
    assert budget.series.limit >= 0.85 * limit


def test_members_expire_without_a_scrape() -> None:
    """Each set is looked at within some seconds, a part of the work at a time."""
    memory = InMemoryPath(bugs=ReportedBugs())
    for number in range(50):
        memory.feed(*[b"s%d:m%d|s" % (number, member) for member in range(400)])
    full = memory.memory.series.used
    memory.now += 61
    steps = 0
    for _ in range(15):
        memory.store.start_expiry()
        while not memory.store.expire_some():
            steps += 1
    empty = memory.memory.series.used

    assert full - empty == 50 * 400 * sets.MEMBER_BYTES
    assert steps == 0


def test_expiry_is_done_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many series and members expire at once."""
    monkeypatch.setattr("statsd_bridge.series.store.EXPIRY_STEPS", 100)
    memory = InMemoryPath(TTL)
    memory.feed(*[b"n%d:1|c" % number for number in range(1_000)])
    memory.feed(*[b"s%d:%d|s" % (n % 40, n) for n in range(2_000)])
    memory.now += 3_601
    memory.pipeline.flush()
    memory.store.start_expiry()
    sizes = [len(memory.store)]
    while not memory.store.expire_some():
        sizes.append(len(memory.store))

    assert len(sizes) > 10
    assert max(a - b for a, b in pairwise(sizes)) <= 100
    assert len(memory.store) == 0
