"""Real bridges behind a sharding one: together they show what one bridge shows."""

from __future__ import annotations

import random
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.end_to_end.programs import TIMEOUT_SECONDS, BridgeProcess, Run, Start
from tests.end_to_end.test_recorded_cases import without_self_metrics
from tests.ports import HOST, free_port
from tests.statsd_bridge.recorded import CASES, Page, is_same, read_page

SHARDS = [2, 3, 8]

RULES = """
defaults:
  observer_type: histogram
  histogram_options: {buckets: [0.01, 0.1, 1]}
mappings:
- {match: app.*.hits, name: app_hits, labels: {part: $1}}
- {match: app.*.time, name: app_seconds, labels: {part: $1}}
- {match: app.*.mixed, match_metric_type: counter, name: mixed_total}
- {match: app.*.mixed, match_metric_type: gauge, name: mixed}
- {match: app.*.slow, observer_type: summary, name: "slow_$1"}
- {match: app.*.noise, action: drop, name: noise}
"""


class Fleet(NamedTuple):
    """A sharding bridge and its shards."""

    front: BridgeProcess
    shards: Sequence[BridgeProcess]

    def page(self) -> Page:
        """Return what all pages show together; nothing is on two."""
        series: dict[str, Any] = {}
        types: dict[str, Any] = {}
        helps: dict[str, Any] = {}
        for bridge in (self.front, *self.shards):
            page = read_page(bridge.get("/metrics"))
            for whole, part in (
                (series, without_self_metrics(page.series)),
                (types, without_self_metrics(page.types)),
                (helps, without_self_metrics(page.helps)),
            ):
                assert not whole.keys() & part.keys()
                whole.update(part)
        return Page(series, types, helps)

    def samples(self) -> float:
        """Return the number of samples that all bridges have parsed."""
        bridges = (self.front, *self.shards)
        return sum(
            counted(bridge, "statsd_exporter_samples_total") for bridge in bridges
        )


def counted(bridge: BridgeProcess, name: str) -> float:
    """Return a self-metric."""
    return read_page(bridge.get("/metrics")).series[name]


def start_fleet(start: Start, count: int, *flags: str) -> Fleet:
    """Start bridges and a sharding one with the same flags."""
    line_flags = [flag for flag in flags if not flag.startswith("--statsd.relay.")]
    # A port that the kernel chose could go to another program while a shard is gone.
    shards = [
        start(f"--statsd.listen-udp={HOST}:{free_port()}", *line_flags)
        for _ in range(count)
    ]
    targets = [f"--statsd.relay.address={HOST}:{each.udp}" for each in shards]
    return Fleet(start("--statsd.relay.mode=shard", *targets, *flags), shards)


def wait_for_samples(fleet: Fleet, number: float) -> None:
    """Wait until all samples have arrived."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while (found := fleet.samples()) < number:
        assert time.monotonic() < deadline, (found, number)
        time.sleep(0.1)


def assert_same(one: BridgeProcess, fleet: Fleet) -> None:
    """Compare what one bridge shows with what the fleet shows."""
    alone, together = read_page(one.get("/metrics")), fleet.page()
    assert without_self_metrics(alone.types) == together.types
    assert without_self_metrics(alone.helps) == together.helps
    wanted = without_self_metrics(alone.series)
    assert wanted.keys() == together.series.keys()
    different = [
        name
        for name, value in wanted.items()
        if not is_same(together.series[name], str(value), name)
    ]
    assert different == []


def lines_of(seed: int, count: int) -> list[bytes]:
    """Return random lines of all types and styles of tags."""
    chosen = random.Random(seed)
    forms = (
        *("{n}:1|c", "{n},zone={z}:2|c", "{n}#zone={z}:3|g", "{n}[zone={z}]:4|ms"),
        *("{n}:{v}|h|#zone:{z},a:{v}", "{n}:+{v}|g", "{n}:-{v}|g", "{n}:u{v}|s"),
        *("{n}:{v}|ms|@0.1", "{n}:1|c:{v}|g:{v}|ms", "{n}:{v}:{v}|d", "{n}:x|c"),
        *("{n}:{v}|c|c:ci-{v}|T1656581400", "{n}", "_e{{1,1}}:a|b"),
    )
    parts = ("hits", "time", "mixed", "slow", "noise", "else", "else_count", "else.sum")
    return [
        chosen.choice(forms)
        .format(
            n=f"app.{chosen.choice('abcdefgh')}.{chosen.choice(parts)}",
            z=chosen.choice(("eu", "us")),
            v=chosen.randrange(50),
        )
        .encode()
        for _ in range(count)
    ]


@pytest.mark.parametrize("count", SHARDS)
def test_random_lines(count: int, start: Start, tmp_path: Path) -> None:
    """Counters, gauges with deltas, sets, histograms, summaries, errors, over UDP."""
    rules = tmp_path / "mapping.yml"
    rules.write_text(RULES)
    flags = [f"--statsd.mapping-config={rules}", "--statsd.set-window=1h"]
    one, fleet = start(*flags), start_fleet(start, count, *flags)
    lines = lines_of(count, 6_000)
    packets = [b"\n".join(lines[i : i + 10]) for i in range(0, len(lines), 10)]
    for bridge in (one, fleet.front):
        bridge.send(*packets)
        received = f"\nstatsd_exporter_udp_packets_total {float(len(packets))}\n"
        bridge.scrape_until(received)
    wait_for_samples(fleet, counted(one, "statsd_exporter_samples_total"))

    assert_same(one, fleet)
    for name in ("lines_total", "udp_packets_total"):
        assert counted(fleet.front, f"statsd_exporter_{name}") == counted(
            one, f"statsd_exporter_{name}"
        )


@pytest.mark.parametrize("name", ["line/counters", "map/glob_labels", "map/summary"])
def test_recorded_traffic(name: str, start: Start, tmp_path: Path) -> None:
    """Traffic that statsd_exporter 0.30.0 was given, with its mapping file."""
    case = next(each for each in CASES if each["name"] == name)
    rules = tmp_path / "mapping.yml"
    rules.write_text(case["mapping"] or "")
    flags = [f"--statsd.mapping-config={rules}", *case["flags"]]
    one, fleet = start(*flags), start_fleet(start, 3, *flags)
    packets = [packet.encode("latin-1") for packet in case["packets"]]
    received = f"\nstatsd_exporter_udp_packets_total {float(len(packets))}\n"
    for bridge in (one, fleet.front):
        bridge.send(*packets)
        bridge.scrape_until(received)
    wait_for_samples(fleet, counted(one, "statsd_exporter_samples_total"))

    assert_same(one, fleet)


def test_a_shard_that_is_killed_and_returns(start: Start, tmp_path: Path) -> None:
    """It keeps its share; what it does not get is counted and visible."""
    fleet = start_fleet(start, 2)
    lines = [b"n.%d:1|g" % number for number in range(40)]
    fleet.front.send(b"\n".join(lines))
    wait_for_samples(fleet, 40)
    share = counted(fleet.shards[1], "statsd_exporter_samples_total")
    gone, port = fleet.shards[0], fleet.shards[0].udp
    assert gone.stop() == 0
    lost = f'lines_lost_total{{reason="refused",target="{HOST}:{port}"}} '
    fleet.front.send(b"\n".join(lines))
    page = fleet.front.scrape_until(f"{lost}{40 - share}\n")

    assert f'relay_target_up{{mode="shard",target="{HOST}:{port}"}} 0.0' in page
    assert "gone" in fleet.front.get("/")
    back = start(f"--statsd.listen-udp={HOST}:{port}")
    fleet.front.send(b"\n".join(lines))
    back.scrape_until(f"\nstatsd_exporter_samples_total {40 - share}\n")
    up = f'relay_target_up{{mode="shard",target="{HOST}:{port}"}} 1.0'
    fleet.front.scrape_until(up)
    assert counted(fleet.shards[1], "statsd_exporter_samples_total") == 3 * share


def test_failover(start: Start) -> None:
    """No line is lost while a shard is gone, and its share returns with it."""
    fleet = start_fleet(start, 3, "--statsd.relay.failover")
    lines = b"\n".join(b"n.%d:1|c" % number for number in range(60))
    fleet.front.send(lines)
    wait_for_samples(fleet, 60)
    shares = [counted(each, "statsd_exporter_samples_total") for each in fleet.shards]
    port = fleet.shards[0].udp
    fleet.shards[0].stop()
    rest = Fleet(fleet.front, fleet.shards[1:])
    fleet.front.send(lines, lines)
    wait_for_samples(rest, 180 - shares[0])
    assert 'reason="refused"' in fleet.front.get("/metrics")
    assert sum(rest.page().series.values()) == 180 - shares[0]

    back = start(f"--statsd.listen-udp={HOST}:{port}")
    fleet.front.scrape_until(
        f'relay_target_up{{mode="shard",target="{HOST}:{port}"}} 1.0'
    )
    fleet.front.send(lines)
    back.scrape_until(f"\nstatsd_exporter_samples_total {shares[0]}\n")


def test_a_reload_in_the_middle_of_load(start: Start, tmp_path: Path) -> None:
    """
    Every line is counted once, before or after the rules have changed.

    A metric may be on two shards: these and the sharding bridge reload one by one.
    """
    rules = tmp_path / "mapping.yml"
    rules.write_text("mappings: [{match: 'a.*', name: before, labels: {k: $1}}]")
    flags = [f"--statsd.mapping-config={rules}", f"--statsd.listen-tcp={HOST}:0"]
    fleet = start_fleet(start, 3, *flags)
    with socket.create_connection((HOST, fleet.front.tcp)) as sender:
        for number in range(200):
            if number == 100:
                rules.write_text("mappings: [{match: 'a.*', name: 'after_$1'}]")
                for bridge in (*fleet.shards, fleet.front):
                    bridge.process.send_signal(signal.SIGHUP)
            sender.sendall(b"".join(b"a.%d:1|c\n" % each for each in range(100)))
    wait_for_samples(fleet, 20_000)
    pages = [read_page(each.get("/metrics")).series for each in fleet.shards]

    assert sum(sum(without_self_metrics(each).values()) for each in pages) == 20_000
    assert without_self_metrics(read_page(fleet.front.get("/metrics")).series) == {}


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["mode=shard"], "--statsd.relay.mode: shard needs at least one"),
        (["mode=shards"], "--statsd.relay.mode: 'shards' is not one of copy, shard"),
        (["failover"], "--statsd.relay.failover: has no effect without"),
        (
            ["mode=shard", "address=a:1", "address=A.:1"],
            "--statsd.relay.address: 'A.:1' is given twice",
        ),
        (
            ["mode=shard", "address=[::1]:1", "address=[0::1]:01"],
            "--statsd.relay.address: '[0::1]:1' is given twice",
        ),
        (["mode=shard", "address=a"], "--statsd.relay.address: 'a' is not an address"),
    ],
)
def test_flags_that_contradict_each_other(
    flags: list[str], error: str, launch: Start
) -> None:
    """One line, exit code 2."""
    bridge = launch(*(f"--statsd.relay.{flag}" for flag in flags))
    assert bridge.process.wait(TIMEOUT_SECONDS) == 2
    assert bridge.log().startswith(f"statsd-bridge: {error}")
    assert bridge.log().count("\n") == 1


def test_a_bridge_does_not_relay_to_itself(launch: Start) -> None:
    """Its lines would go round in circles."""
    bridge = launch(
        "--statsd.listen-udp=:9125",
        *("--statsd.relay.mode=shard", "--statsd.relay.address=localhost:9125"),
    )
    assert bridge.process.wait(TIMEOUT_SECONDS) == 2
    assert "'localhost:9125' is the bridge's own --statsd.listen-udp" in bridge.log()


@pytest.mark.parametrize(
    ("listen", "host"),
    [(HOST, "127.1"), ("", "127.0.0.2"), ("", "0.0.0.0"), ("[::]", "127.0.0.3")],
)
def test_a_target_that_turns_out_to_be_the_bridge_gets_nothing(
    start: Start, listen: str, host: str
) -> None:
    """By another way to write its address: its lines are lost once, and counted."""
    port = free_port()
    target = f"{host}:{port}"
    bridge = start(
        f"--statsd.listen-udp={listen}:{port}",
        *("--statsd.relay.mode=shard", f"--statsd.relay.address={target}"),
    )
    bridge.send(b"a:1|c\nb:2|c")
    lost = f'lines_lost_total{{reason="refused",target="{target}"}} 2.0\n'
    page = bridge.scrape_until(lost)

    assert "\nstatsd_exporter_lines_total 2.0\n" in page
    assert f'relay_target_up{{mode="shard",target="{target}"}} 0.0\n' in page
    bridge.log_until("a relay target is this bridge")


def test_explain_names_the_target(run: Run) -> None:
    """On the command line, and with the flags of the relay after the word."""
    flags = ["--statsd.relay.mode=shard", "--statsd.relay.address=a.example.org:9125"]
    code, output, _ = run("statsd_bridge", "explain", *flags, "a:1|c").end()

    assert code == 0
    assert "\ntarget    a.example.org:9125\n" in output
