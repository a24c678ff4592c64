"""A sharding bridge and those behind it show together what one bridge shows."""

from __future__ import annotations

import math
import socket
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from statsd_bridge.exposition import reserved_names
from statsd_bridge.line import Dialect
from statsd_bridge.model import HostPort, NativeMode, Stats
from statsd_bridge.relay import MAX_PACKET_BYTES
from statsd_bridge.relay.connected import ConnectedUdpTarget
from statsd_bridge.relay.shard_target import ShardTarget
from statsd_bridge.relay.udp import Resolver, SocketAddress
from tests.ports import HOST
from tests.statsd_bridge import fuzz
from tests.statsd_bridge.conftest import FLAGS
from tests.statsd_bridge.in_memory import InMemoryPath, native_buckets
from tests.statsd_bridge.recorded import CASES, NATIVE_CASES, Page, read_page
from tests.statsd_bridge.shards_in_memory import Sharding, summed

RESERVED = reserved_names()
LOADED = [case for case in CASES if case["want"]["started"]]

BY_TYPE = """
mappings:
- {match: t.*, match_metric_type: counter, name: counted, labels: {k: $1}}
- {match: t.*, match_metric_type: gauge, name: level, labels: {k: $1}}
- {match: t.*, match_metric_type: observer, name: duration, labels: {k: $1}}
- {match: d.*, match_metric_type: gauge, action: drop, name: dropped}
- {match: "n[.]([a-z]+)", match_type: regex, match_metric_type: counter, name: "${1}_x"}
- {match: gone.*, action: drop, name: dropped}
"""
"""Rules that give a name another family for another type of sample."""


def assert_same_page(one: Page, many: Page) -> None:
    """Compare pages; sums may differ in the last digits."""
    assert one.types == many.types
    assert one.helps == many.helps
    assert one.series.keys() == many.series.keys()
    for name, value in one.series.items():
        other = many.series[name]
        assert (math.isnan(value) and math.isnan(other)) or math.isclose(
            value, other, rel_tol=1e-9, abs_tol=1e-12
        ), name


def play(scenario: fuzz.Scenario, count: int) -> None:
    """Run the batches of a scenario through one bridge and through shards."""
    options: dict[str, Any] = {"dialect": scenario.dialect, "reserved": RESERVED}
    options["quota_file"] = scenario.quotas
    one = InMemoryPath(scenario.rules, **options)
    with Sharding(count, scenario.rules, **options) as many:
        for step in scenario.steps:
            if isinstance(step, fuzz.Batch):
                if step.transport in ("udp", "unixgram"):
                    one.pipeline.feed(step.texts, step.transport)
                else:
                    one.pipeline.feed_lines(step.texts, step.transport)
                many.feed(*step.texts, transport=step.transport)
            elif isinstance(step, fuzz.Wait):
                one.pass_seconds(step.seconds)
                many.pass_seconds(step.seconds)
        assert_same_page(read_page(one.page()), many.page())
        counted, expected = many.counted(), summed([one])
        # A name's malformed tags count once for each part of a divided line.
        assert counted.pop("tag_errors") >= expected.pop("tag_errors")
        assert counted == expected
        assert many.front.stats.lines == one.stats.lines
        assert many.front.stats.packets == one.stats.packets


@pytest.mark.parametrize("first", range(0, 150, 30))
def test_random_lines_of_all_dialects(first: int) -> None:
    """Sets, distributions, deltas of gauges, malformed lines, series that expire."""
    for seed in range(first, first + 30):
        play(fuzz.scenario(seed), 2 + seed % 7)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_recorded_traffic_of_statsd_exporter(count: int) -> None:
    """Each case by itself, packet by packet."""
    for case in LOADED:
        dialect = Dialect(**{FLAGS[flag]: False for flag in case["flags"]})
        options: dict[str, Any] = {"dialect": dialect, "reserved": RESERVED}
        rules = case["mapping"] or ""
        packets = [each.encode("latin-1") for each in case["packets"]]
        one = InMemoryPath(rules, **options)
        one.feed(*packets)
        with Sharding(count, rules, **options) as many:
            many.feed(*packets)
            assert_same_page(read_page(one.page()), many.page())
            assert many.counted() == summed([one]), case["name"]


@pytest.mark.parametrize("count", [2, 8])
def test_the_recorded_native_histograms(count: int) -> None:
    """Native buckets depend on the order of values, which a shard keeps."""
    found = 0
    for case in NATIVE_CASES:
        packets = [each.encode("latin-1") for each in case["packets"]]
        options: dict[str, Any] = {"native_mode": NativeMode.ON}
        one = InMemoryPath(case["mapping"] or "", **options)
        one.feed(*packets)
        with Sharding(count, case["mapping"] or "", **options) as many:
            many.feed(*packets)
            parts = [native_buckets(each) for each in many.paths]
        together = {key: value for each in parts for key, value in each.items()}

        assert together == native_buckets(one), case["name"]
        assert sum(map(len, parts)) == len(together)
        found += len(together)
    assert found > len(NATIVE_CASES)


NAMES = (
    "t.a",
    "t.b",
    "d.a",
    "n.hits",
    "n.time",
    "gone.a",
    "plain",
    "plain_count",
    "\r",
)
TAGS = ("", ",zone=eu", "#zone=eu", "[zone=eu]", ",zone", ",zone=a,host=b")
SAMPLES = (
    *("1|c", "2|g", "+3|g", "-1|g", "250|ms", "7|h|@0.5", "ann|s", "5|d", "nan|c"),
    *("1|c|c:ci-1", "4|g|c:ci-2", "9|ms|c:ci-3", "1|c|@0.1|c:ci-1|T12", "1|c|e:x"),
    *("x|c", "1|zz", "5", "", "|", "1|c|c", "1|c|c:", "1|", "1|c|@zz", "-1|c"),
    *("1:2|ms", "1:x:3|h", "1|c|#k:v", "1|g|#k:v,j:w|c:ci-1", "6|g\r"),
)


@settings(max_examples=100, deadline=None)
@example([("t.a", "", ["1|c"]), ("d.a", "", ["-1|c", "250|ms", "1|c", "2|g"])], 2)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(NAMES),
            st.sampled_from(TAGS),
            st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=6),
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([2, 3, 8]),
)
def test_lines_with_samples_of_several_types(
    parts: list[tuple[str, str, list[str]]], count: int
) -> None:
    """They are divided where rules give each type another family."""
    lines = [
        f"{name}{tags}:{':'.join(samples)}".encode() for name, tags, samples in parts
    ]
    one = InMemoryPath(BY_TYPE)
    one.feed(*lines)
    with Sharding(count, BY_TYPE) as many:
        many.feed(*lines)
        assert_same_page(read_page(one.page()), many.page())
        counted, expected = many.counted(), summed([one])
        for name in ("tag_errors", "tags", "samples"):
            del counted[name], expected[name]
        assert counted == expected


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b":1|c", b"\xff:1|c", b"gone.a:1|c", b"gone.a:1|c:2|g:x|h"),
        *(b"_e{5,4}:title|text", b"_sc|name|0", b"d.a:1|g"),
    ],
)
def test_lines_that_stay_in_the_sharding_bridge(line: bytes) -> None:
    """Dropped ones, DogStatsD's events, and those without a name, counted once."""
    one = InMemoryPath(BY_TYPE)
    one.feed(line)
    with Sharding(3, BY_TYPE) as many:
        many.feed(line)
        assert [each.packets for each in many.shards] == [[], [], []]
        assert summed([many.front]) == summed([one])
        assert many.front.stats.lines == 1


@pytest.mark.parametrize(
    "line", [b"nonsense", b"a:x|c", b"a:1", b"a:1|c|#k\xff", b"a,k=v:1|c|#j:w"]
)
def test_a_malformed_line_is_counted_by_one_target(line: bytes) -> None:
    """That of its name; its page shows the line."""
    with Sharding(3) as many:
        many.feed(line)
        received = [each for each in many.shards if each.packets]
        assert [each.packets for each in received] == [[line + b"\n"]]
        [((shown, _), _)] = received[0].path.plain.failed_lines.newest_first()
        assert shown == line
        assert not many.front.stats.sample_errors


def test_all_lines_of_a_family_go_to_one_target() -> None:
    """Whatever names, tags and types lead to it; so do names that it prints."""
    rules = "mappings: [{match: 'a.*', name: shared}, {match: 'b.*', name: shared_sum}]"
    lines = [
        *(b"a.x:1|c", b"a.y,zone=eu:1|g", b"a.z:1|ms|#k:v", b"b.x:1|c", b"shared:1|s"),
        *(b"shared_count:1|c", b"shared.bucket:1|c", b"shared-total:1|c"),
    ]
    with Sharding(8, rules) as many:
        many.feed(*lines)
        assert [len(each.packets) for each in many.shards if each.packets] == [1]


def test_a_reload_moves_families_and_frees_the_routes() -> None:
    """From the next line on; the series that exist stay where they are."""
    with Sharding(8, "mappings: [{match: 'a.*', name: first_$1}]") as many:
        lines = [b"a.%d:1|c" % number for number in range(50)]
        many.feed(*lines)
        charged = many.account.used
        many.reload("mappings: [{match: 'a.*', name: all, labels: {n: $1}}]")
        assert many.account.used == 0
        for each in many.shards:
            each.packets.clear()
        many.feed(*lines)

        assert [len(each.packets) for each in many.shards if each.packets] == [1]
        assert many.account.used == charged > 0
        assert len(many.page().series) == 100


def test_the_routes_are_bounded_in_bytes() -> None:
    """Names that come once go, and huge ones are not kept."""
    with Sharding(2, routes_bytes=1_000_000) as many:
        for start in range(0, 10_000, 2_000):
            many.feed(
                b"known:1|c",
                *[b"n.%d:1|c" % number for number in range(start, start + 2_000)],
                *[b"%d%s:1|c" % (number, b"x" * 2_000) for number in range(3)],
            )
            assert many.account.used <= many.account.limit
        assert len(many.relay.routes) < 5_000
        assert max(map(len, many.relay.routes)) < 10


@pytest.mark.parametrize(
    ("length", "sent"),
    [(1_399, 1), (1_400, 1), (60_000, 1), (MAX_PACKET_BYTES, 1), (70_000, 0)],
)
def test_a_line_that_is_longer_than_a_packet_has_its_own(
    length: int, sent: int
) -> None:
    """It would be missing on the page; only UDP's own bound is kept, and counted."""
    line = b"a:1|c|#k:" + b"v" * (length - 9)
    with Sharding(2) as many:
        many.feed(b"a:1|c", line, b"a:1|g", transport="unixstream")
        packets = [each for shard in many.shards for each in shard.packets]
        assert len(packets) == (3 if sent else 2)
        assert b"".join(packets).count(line) == sent
        assert many.outcomes().get("long_lines", 0) == 1 - sent


def test_a_gone_target_keeps_its_share() -> None:
    """Its lines are lost and counted, until it returns."""
    with Sharding(2) as many:
        lines = [b"n.%d:1|g" % number for number in range(20)]
        many.feed(*lines)
        share = many.shards[0].packets[0]
        many.shards[0].close()
        many.feed(*lines)
        targets = many.relay.targets
        assert [each.is_up for each in targets] == [False, True]
        assert many.outcomes()["lost_refused"] == share.count(b"\n")
        many.shards[0].reopen()
        many.feed(*lines)

        assert many.shards[0].packets == [share, share]
        assert len(many.shards[1].packets) == 3
        many.wait(5)
        assert [each.is_up for each in targets] == [True, True]


def test_an_idle_target_that_is_gone_is_noticed_within_a_minute() -> None:
    """By a packet without a sample, which nothing counts as a loss."""
    with Sharding(2) as many:
        many.shards[0].close()
        many.wait(61)
        assert [each.is_up for each in many.relay.targets] == [False, True]
        assert many.outcomes() == {}


def test_failover_sends_the_share_of_a_gone_target_to_the_others() -> None:
    """No line is lost on one host; the share returns with the target."""
    with Sharding(3, failover=True) as many:
        lines = [b"n.%d:1|c" % number for number in range(60)]
        many.feed(*lines)
        share = many.shards[0].packets[0]
        others = [each.packets[0] for each in many.shards[1:]]
        many.shards[0].close()
        many.feed(*lines)
        many.feed(*lines)

        assert many.outcomes()["lines_moved"] == share.count(b"\n")
        assert "lost_refused" not in many.outcomes()
        total = sum(sum(each.path.values().values()) for each in many.shards)
        assert total == 3 * len(lines)

        many.shards[0].reopen()
        many.wait(5)
        for each in many.shards:
            each.receive()
            each.packets.clear()
        many.feed(*lines)
        assert [each.packets[0] for each in many.shards] == [share, *others]


def test_failover_without_a_target_left_loses_lines_and_counts_them() -> None:
    """Each target keeps its share, and nothing goes round in circles."""
    with Sharding(3, failover=True) as many:
        for each in many.shards:
            each.close()
        many.feed(*[b"n.%d:1|c" % number for number in range(60)])
        many.feed(*[b"n.%d:1|c" % number for number in range(60)])

        assert many.outcomes()["lost_refused"] == 120


class OneHost(Resolver):
    """Resolves every name by the result that a test gives."""

    def __init__(self) -> None:
        self.result: Deferred[SocketAddress] = Deferred()

    def resolve(self, address: HostPort) -> Deferred[SocketAddress]:
        """Return the result."""
        return self.result


def named_target(resolver: OneHost) -> tuple[ShardTarget, Stats]:
    """Return a target with a name, and its counters."""
    address, stats = HostPort("shard-0.shards", 9125), Stats()
    udp = ConnectedUdpTarget(address, resolver)
    target = ShardTarget(address, udp, packet_length=1400, stats=stats)
    udp.refresh(0)
    return target, stats


def test_packets_wait_for_the_first_look_up_of_a_name() -> None:
    """With socket activation many arrive in the first moment; 4 MiB wait at most."""
    resolver = OneHost()
    target, stats = named_target(resolver)
    lines = [b"a:%d|g" % number for number in range(1_000)]
    for _ in range(2):
        target.add(lines)
        target.send()
    assert stats.relay["lost_unresolved", target.name] == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HOST, 0))
        server.setblocking(False)
        resolver.result.callback((socket.AF_INET, server.getsockname()))
        target.send()
        received = b""
        while received.count(b"\n") < 2_000:
            received += server.recv(2_000)
    target.udp.close()

    assert received.split() == lines * 2
    assert target.is_up


def test_packets_do_not_wait_for_a_name_that_does_not_exist() -> None:
    """They are lost and counted, and so are those beyond the bound."""
    resolver = OneHost()
    target, stats = named_target(resolver)
    line = b"a:1|c|#k:" + b"v" * 60_000
    for _ in range(80):
        target.add([line])
    lost = stats.relay["lost_unresolved", target.name]
    resolver.result.errback(OSError("unknown"))
    target.send()
    target.probe()

    assert 0 < lost < 20
    assert stats.relay["lost_unresolved", target.name] == 80
    assert not target.is_up
