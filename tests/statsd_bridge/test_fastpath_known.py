"""Known lines and shapes of lines: what they are charged, and what is given back."""

from __future__ import annotations

import pytest

from statsd_bridge.fastpath import FastPipeline, resolve, seen
from statsd_bridge.fastpath.known import MAX_KEY_BYTES, KnownLines, tagged_key
from statsd_bridge.memory import NO_LIMIT, Account
from statsd_bridge.model import (
    Action,
    MetricOptions,
    MetricType,
    SampleFormat,
    SampleType,
)
from statsd_bridge.series.counter_gauge import Counter
from tests.statsd_bridge.in_memory import InMemoryPath, ReportedBugs

UNTAGGED = SampleFormat(type=SampleType.COUNTER, action=Action.MAP, suffix=b"c")
TAGGED = SampleFormat(type=SampleType.COUNTER, action=Action.MAP, is_tagged=True)
RULES = """
mappings:
- {match: brief.*, name: brief, labels: {name: $1}, ttl: 5s}
- {match: same.*, name: same, ttl: 9s}
- {match: other.*, name: same, ttl: 5s}
"""


def new_counter() -> Counter:
    """Return a counter without samples."""
    return Counter(MetricOptions(MetricType.COUNTER, "a counter"))


def test_a_line_goes_with_its_series() -> None:
    """All that was charged is given back, in any order."""
    account = Account()
    known = KnownLines(account)
    series = [new_counter() for _ in range(4)]
    tagged = tagged_key(b"a", b"c|#k:v")
    for each, key, format in zip(
        series, (b"a", b"b", tagged), (UNTAGGED, UNTAGGED, TAGGED), strict=False
    ):
        assert known.add(each, key, format)

    assert known.find(b"a", b"c") is series[0]
    assert known.find(b"a", b"c|#k:v") is series[2]
    assert known.find(b"a", b"g") is None
    assert [known.has(each) for each in series] == [True, True, True, False]
    for each in series:
        known.remove(each)
        known.remove(each)
    assert account.used == 0
    assert known.find(b"a", b"c") is None


def test_lines_have_no_room_beyond_their_account() -> None:
    """What is refused is not charged, and a series of cleared lines may be added."""
    account = Account(limit=550)
    known = KnownLines(account)
    series = [new_counter() for _ in range(9)]
    added = [known.add(each, b"%d" % n, UNTAGGED) for n, each in enumerate(series)]
    assert added == [True, True] + [False] * 7
    known.clear()
    assert account.used == 0
    assert not known.has(series[0])
    assert known.add(series[0], b"a", UNTAGGED)


def charged(memory: InMemoryPath) -> int:
    """Return what is charged for lines, their shapes included."""
    return memory.memory.buffers.used


def test_known_lines_expire_with_their_series() -> None:
    """After that only the shapes of the lines are left."""
    memory = InMemoryPath(RULES)
    memory.feed(b"brief.first:1|c")
    memory.pass_seconds(6)
    shapes = charged(memory)
    memory.feed(*[b"brief.a%d:1|c" % number for number in range(100)])
    assert charged(memory) > shapes + 100 * 50
    assert len(memory.values()) == 100
    memory.pass_seconds(6)

    assert memory.values() == {}
    assert charged(memory) == shapes


def test_a_series_of_two_ttls_has_no_known_line() -> None:
    """Each sample sets that of its own rule."""
    memory = InMemoryPath(RULES)
    memory.feed(b"same.a:1|c\nother.a:1|c")
    memory.feed(b"same.a:1|c")
    memory.pass_seconds(6)
    assert memory.values() == {"same": 3}
    memory.feed(b"same.a:1|c", b"other.a:1|c")
    memory.pass_seconds(6)
    assert memory.values() == {}


@pytest.mark.parametrize("name", [b"n%d:1|c", b"n:1|c|#k:%d", b"n:1|c|@0.%d"])
def test_without_room_lines_are_recorded_nevertheless(name: bytes) -> None:
    """Each is looked up again; nothing is charged beyond the limit."""
    memory = InMemoryPath(bugs=ReportedBugs())
    memory.memory.buffers.limit = 3_000
    for _ in range(2):
        memory.feed(*[name % number for number in range(1, 100)])
        assert charged(memory) <= 3_000
    memory.pipeline.flush()

    assert not memory.bugs
    assert memory.stats.events == {"counter": 198}


def test_shapes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond MAX_SHAPES lines go without, until all are made again."""
    monkeypatch.setattr(resolve, "MAX_SHAPES", 10)
    monkeypatch.setattr(resolve, "MAX_LINES_WITHOUT_SHAPE", 20)
    monkeypatch.setattr(seen, "MAX_FORMER_BYTES", 0)
    memory = InMemoryPath()
    sizes = []
    for number in range(1, 200):
        memory.feed(b"a:1|c|@0.%d" % number, b"a:1|c|#key%d:v" % number)
        sizes.append(charged(memory))
    assert isinstance(memory.pipeline, FastPipeline)
    memory.pipeline.replace_table(InMemoryPath().plain.table)

    assert max(sizes) < 11 * (resolve.SHAPE_BYTES + resolve.TAG_BYTES) + 399 * 900
    assert charged(memory) == 0


@pytest.mark.parametrize("limit", [NO_LIMIT, 9_000])
def test_names_of_lines_with_tags_are_bounded(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Beyond MAX_TAGGED_NAMES all are forgotten, and what they were charged, too."""
    monkeypatch.setattr(resolve, "MAX_TAGGED_NAMES", 10)
    memory = InMemoryPath(RULES)
    memory.memory.buffers.limit = limit
    lines = [b"brief." + b"x" * 200 + b"%d:1|g|#zone:eu" % n for n in range(50)]
    sizes = []
    for line in lines * 2:
        memory.feed(line)
        memory.pass_seconds(6)
        sizes.append(charged(memory))
    assert isinstance(memory.pipeline, FastPipeline)
    memory.pipeline.replace_table(InMemoryPath().plain.table)

    assert resolve.TAGGED_NAME_BYTES * 10 < max(sizes) <= min(limit, 20_000)
    assert charged(memory) == 0


def test_a_name_with_tags_follows_its_family() -> None:
    """After the last series has expired, the name may get another type."""
    memory = InMemoryPath(RULES)
    for kind, value in (("c", 2), ("g", 1), ("c", 2)):
        line = f"brief.a:1|{kind}|#zone:".encode()
        memory.feed(line + b"eu", line + b"us", line + b"eu")
        assert memory.values() == {
            'brief{name="a",zone="eu"}': value,
            'brief{name="a",zone="us"}': 1,
        }
        memory.pass_seconds(6)
    assert memory.values() == {}


def test_lines_with_a_time_are_not_known() -> None:
    """No other line is like them; they are recorded without being remembered."""
    memory = InMemoryPath()
    memory.feed(b"a:1|c|#zone:eu|T0", b"b:1|c|T0")
    before = charged(memory)
    for second in range(1, 100):
        memory.feed(b"a:1|c|#zone:eu|T%d" % second, b"b:1|c|T%d" % second)

    assert memory.values() == {'a{zone="eu"}': 100, "b": 100}
    assert charged(memory) == before


def test_long_lines_are_not_known() -> None:
    """They are left to the plain path."""
    memory = InMemoryPath()
    memory.feed(*[b"a:1|c|#k:%d" % n + b"v" * MAX_KEY_BYTES for n in range(9)])

    assert len(memory.values()) == 9
    assert charged(memory) == 0
