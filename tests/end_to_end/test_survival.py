"""
Input that kills, blinds or fills statsd_exporter 0.30.0, sent to the bridge.

After each the bridge must run, its page be whole, other metrics right, and its memory
bounded.
"""

from __future__ import annotations

import random
import re
import signal
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics,
)
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.programs import TIMEOUT_SECONDS, BridgeProcess, Start

MEGABYTE = 1024 * 1024

MAX_GROWTH_BYTES = 64 * MEGABYTE
"""Resident memory that one killer may cost; those of W2 cost statsd_exporter 1 GB."""

HISTOGRAMS = "defaults: {observer_type: histogram}"
HELPS = """
mappings:
- {match: a, name: helped, help: one}
- {match: b, name: helped, help: two}
"""


class Killer(NamedTuple):
    """Datagrams, and the mapping file and flags that they need."""

    datagrams: tuple[bytes, ...]
    rules: str = ""
    flags: tuple[str, ...] = ()


KILLERS = {
    # W1: one packet ends the process.
    "bracket before bracket": Killer((b"foo]bar[:1|c",)),
    "label quantile on a summary": Killer((b"foo:1|ms|#quantile:5",)),
    "label le on a histogram": Killer((b"foo:1|h|#le:5",), HISTOGRAMS),
    # W2: twenty bytes become a billion events.
    "a million at once": Killer((b"a:1|ms|@0.000001",)),
    "ten million at once": Killer((b"a:1|ms|@0.0000001",) * 100),
    "as many as an int holds": Killer((b"a:1|h|@0.00000000000000000011",) * 100),
    "more than an int holds": Killer((b"a:1|d|@1e-300",) * 100),
    "packed values": Killer((b"a" + b":1" * 20_000 + b"|ms|@0.000001",)),
    # W3: one packet and every scrape fails.
    "no name, influx": Killer((b",a=b:1|c",)),
    "no name, librato": Killer((b"#a=b:1|c",)),
    "no name, signalfx": Killer((b"[a=b]:1|c", b"[]:1|c")),
    "reserved label": Killer((b"x:1|c|#__a:b", b"x:1|c|#..a:b", b"x:1|c|#__name__:b")),
    "names of its own": Killer(
        (
            b"go_goroutines:1|g",
            b"statsd_exporter_lines_total:1|c",
            b"statsd_exporter_lines:1|c",
            b"statsd_exporter_sample_errors_total:1|ms",
            b"go_gc_duration_seconds_count:1|c",
            b"process_cpu_seconds_total:1|c|#a:b",
            b"python_info:1|g",
            b"statsd_bridge_series:1|g",
        )
    ),
    "timer and its count": Killer((b"foo:1|ms", b"foo_count:1|ms")),
    "count and its timer": Killer((b"foo_count:1|ms", b"foo:1|ms", b"foo_sum:1|c")),
    "histogram and its bucket": Killer((b"foo:1|ms", b"foo_bucket:1|ms"), HISTOGRAMS),
    "bucket and its histogram": Killer((b"foo_bucket:1|ms", b"foo:1|ms"), HISTOGRAMS),
    "two helps": Killer((b"a:1|c", b"b:1|c|#k:v", b"helped:1|c|#j:v"), HELPS),
    "text that breaks a page": Killer(
        (b'x:1|c|#k:a"b\\c', b"y,k=\r\x00\x1b[31m:1|c", "z:1|c|#k:\u2028".encode())
    ),
    "numbers without end": Killer(
        (b"i:inf|c", b"n:nan|g", b"h:nan|h", b"j:-inf|h", b"k:1e308|c|@0.0000001")
    ),
    # W4: settings that break with the first event.
    "regex rules drawn": Killer(
        (b"a:1|c",),
        "mappings: [{match: ^a$, match_type: regex, name: a}]",
        ("--debug.dump-fsm=rules.dot",),
    ),
    "no cache": Killer((b"a:1|c",), flags=("--statsd.cache-size=0",)),
    # W5: the relay freezes everything.
    "packets that no kernel takes": Killer(
        tuple([b"a" * 1000 + b"%d:1|c" % n for n in range(300)]),
        flags=(
            "--statsd.relay.address=127.0.0.1:9",
            "--statsd.relay.packet-length=100000",
        ),
    ),
    "a relay without a server": Killer(
        (b"a:1|c\n" * 500,) * 20,
        flags=(
            "--statsd.relay.address=no.such.host.invalid:8125",
            "--statsd.relay.address=127.0.0.1:9",
            "--statsd.relay.address=240.0.0.1:9",
            f"--statsd.relay.address={'x' * 64}.invalid:9",
            "--statsd.relay.packet-length=512",
        ),
    ),
    # W9: labels of its own metrics that senders choose.
    "conflicts without end": Killer(
        tuple([b"m%d:1|c\nm%d:1|g" % (n, n) for n in range(3000)])
    ),
    # W12: lines of newer Datadog clients.
    "events and checks": Killer(
        (
            b"_e{5,4}:title|text",
            b"_e{99999999999999999999,4}:t|t",
            b"_sc|name|0|d:123|#env:x|m:msg",
            b"a:1|c|#a:b|c:in-x|e:y|card:low|T1656581400",
        )
    ),
    "noise": Killer(
        tuple([random.Random(n).randbytes(n % 1400) for n in range(2000)]),
    ),
}


def value(page: str, name: str) -> float:
    """Return the value of a metric without labels; skip if the system lacks it."""
    match = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    if match is None:
        pytest.skip(f"this system does not provide {name}")
    return float(match[1])


def check_health(bridge: BridgeProcess, innocent: str) -> float:
    """Check that a bridge still counts and serves pages; return its memory in bytes."""
    # A scrape empties the socket's buffer before more is sent.
    bridge.get("/metrics")
    bridge.send(f"{innocent}:3|c".encode(), f"{innocent}:4|c|#k:v".encode())
    page = bridge.scrape_until(f'\n{innocent}{{k="v"}} 4\n')
    lines = [line for line in page.split("\n") if not line.startswith("#")]
    series = [line.rpartition(" ")[0] for line in lines]

    assert f"\n{innocent} 3\n" in page
    assert len(series) == len(set(series))
    # The parsers of prometheus_client read both formats to the end.
    list(text_string_to_metric_families(page))
    list(open_metrics(bridge.get("/metrics", Accept="application/openmetrics-text")))
    assert "statsd_bridge_bugs_total 0.0\n" in page
    return value(page, "process_resident_memory_bytes")


@pytest.mark.parametrize(
    "name", [name for name, each in KILLERS.items() if each.rules or each.flags]
)
def test_a_killer_with_its_own_settings_does_no_harm(
    start: Start, tmp_path: Path, name: str
) -> None:
    """The page is whole, other metrics are right, memory is bounded."""
    killer = KILLERS[name]
    rules = tmp_path / "rules.yml"
    rules.write_text(killer.rules)
    bridge = start(f"--statsd.mapping-config={rules}", *killer.flags)
    before = check_health(bridge, "before")
    bridge.send(*killer.datagrams)

    assert check_health(bridge, "after") - before < MAX_GROWTH_BYTES
    assert bridge.log().count("\n") < 20
    assert bridge.stop() == 0


def test_all_killers_do_no_harm_to_one_process(start: Start, tmp_path: Path) -> None:
    """One after another over UDP, TCP and a Unix socket, with a scrape after each."""
    begun, rules = time.monotonic(), tmp_path / "rules.yml"
    rules.write_text(
        "mappings: [{match: h.*, name: h_$1, observer_type: histogram},"
        " {match: a, name: helped, help: one}, {match: b, name: helped, help: two}]"
    )
    relay = KILLERS["a relay without a server"].flags
    gram = tmp_path / "gram"
    bridge = start(
        f"--statsd.mapping-config={rules}",
        "--statsd.listen-tcp=127.0.0.1:0",
        f"--statsd.listen-unixgram={gram}",
        *relay,
    )
    last = check_health(bridge, "before")
    with (
        socket.create_connection(("127.0.0.1", bridge.tcp)) as stream,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix,
    ):
        for number, killer in enumerate(KILLERS.values()):
            for each in killer.datagrams:
                bridge.send(each, b"h." + each)
                stream.sendall(each + b"\n")
                unix.sendto(each, str(gram))
            memory = check_health(bridge, f"innocent_{number}")
            assert memory - last < MAX_GROWTH_BYTES
            last = memory
        stream.sendall(b"by_tcp:1|c\n")
        unix.sendto(b"by_unix:1|c", str(gram))
        for name in ("by_tcp", "by_unix"):
            bridge.scrape_until(f"\n{name} 1\n")

    # An error that goes on is logged once a minute.
    minutes = 1 + (time.monotonic() - begun) // 60
    assert bridge.log().count("\n") < 20 * minutes
    assert bridge.log().replace("\n", "").isprintable()
    assert bridge.stop() == 0


BAD_RULES = ("histogram_options: {buckets: [2, 1]}", "ttl: -1s", "name: ''", "]")


def test_a_bad_reload_changes_nothing(start: Start, tmp_path: Path) -> None:
    """It is refused with 500 and the reason; the old rules stay, and good ones load."""
    rules = tmp_path / "rules.yml"
    rules.write_text("mappings: [{match: a.*, name: mapped, labels: {x: $1}}]")
    bridge = start(f"--statsd.mapping-config={rules}", "--web.enable-lifecycle")
    for number, bad in enumerate(BAD_RULES):
        rules.write_text(f"mappings: [{{match: b.*, name: other, {bad}}}]")
        status, reason = bridge.request("/-/reload", "POST")
        bridge.send(f"a.{number}:1|c".encode())
        bridge.scrape_until(f'mapped{{x="{number}"}} 1\n')

        assert (status, reason.count("\n")) == (500, 1)
        assert reason.startswith(f"{rules}: ")
    rules.unlink()
    assert bridge.request("/-/reload", "PUT")[0] == 500
    rules.write_text("mappings: [{match: a.*, name: newer}]")
    assert bridge.request("/-/reload", "POST") == (200, "Requesting reload\n")

    bridge.send(b"a.x:1|c")
    page = bridge.scrape_until("\nnewer 1\n")
    failures = len(BAD_RULES) + 1
    assert f'config_reloads_total{{outcome="failure"}} {failures}.0\n' in page
    assert "statsd_exporter_loaded_mappings 1.0\n" in page


FEW_FILES = ("sh", "-c", 'ulimit -n 40; exec "$@"', "-")


def connect(stack: ExitStack, port: int) -> socket.socket:
    """Open a connection."""
    return stack.enter_context(socket.create_connection(("127.0.0.1", port)))


def test_clients_cannot_take_the_files_that_a_scrape_needs(launch: Start) -> None:
    """With 40 files and 60 clients of each port, scrapes succeed."""
    bridge = launch("--statsd.listen-tcp=127.0.0.1:0", prefix=FEW_FILES).wait()
    with ExitStack() as stack:
        for _ in range(60):
            connect(stack, bridge.tcp)
            connect(stack, bridge.http)
        check_health(bridge, "during")
        page = bridge.get("/metrics")
    with socket.create_connection(("127.0.0.1", bridge.tcp)) as stream:
        # Connections that wait to be accepted belong to closed clients.
        stream.sendall(b"by_tcp:1|c\n")

    assert value(page, "statsd_bridge_tcp_connections_closed_total") > 0
    assert value(page, "statsd_bridge_http_connections_closed_total") > 0
    check_health(bridge, "after")
    assert bridge.stop() == 0


def test_idle_clients_and_slow_readers_delay_no_other_client(start: Start) -> None:
    """Fifty idle TCP connections, clients that do not read, and half requests."""
    bridge = start("--statsd.listen-tcp=127.0.0.1:0")
    for first in range(0, 20_000, 50):
        names = range(first, first + 50)
        bridge.send(b"\n".join(b"m%d:1|c|#a:%s" % (n, b"v" * 100) for n in names))
        if not first % 2000:
            bridge.get("/metrics")
    bridge.scrape_until("\nm19999{")
    with ExitStack() as stack:
        for _ in range(50):
            connect(stack, bridge.tcp)
        for _ in range(20):
            slow = connect(stack, bridge.http)
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(600):
            connect(stack, bridge.http).sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        before = check_health(bridge, "during")
        stream = connect(stack, bridge.tcp)
        stream.sendall(b"by_tcp:1|c\n")
        page = bridge.scrape_until("\nby_tcp 1\n")

        memory = value(page, "process_resident_memory_bytes")
        assert memory - before < MAX_GROWTH_BYTES
    check_health(bridge, "after")


def test_a_killed_bridge_s_sockets_are_taken_over(start: Start, tmp_path: Path) -> None:
    """SIGKILL leaves files; the next start replaces them, and a stop removes them."""
    gram, stream = tmp_path / "gram", tmp_path / "stream"
    flags = f"--statsd.listen-unixgram={gram}", f"--statsd.listen-unixstream={stream}"
    start(*flags).stop(signal.SIGKILL)
    left = gram.exists(), stream.exists()
    bridge = start(*flags)
    bridge.receive_over_unix(gram, stream)

    assert left == (True, True)
    assert bridge.stop() == 0
    assert not gram.exists()
    assert not stream.exists()


def test_what_the_kernel_drops_is_on_the_page(start: Start) -> None:
    """A bridge that is suspended cannot read; its page shows what was lost."""
    bridge = start("--statsd.read-buffer=0")
    bridge.process.send_signal(signal.SIGSTOP)
    for _ in range(100):
        bridge.send(*[b"x" * 1000] * 50)
    bridge.process.send_signal(signal.SIGCONT)
    dropped, deadline = 0.0, time.monotonic() + TIMEOUT_SECONDS
    # Each packet is either received, perhaps after this page, or dropped.
    while True:
        page = bridge.get("/metrics")
        dropped = value(page, "statsd_bridge_udp_kernel_drops_total")
        if dropped + value(page, "statsd_exporter_udp_packets_total") == 5000:
            break
        assert time.monotonic() < deadline, page
        time.sleep(0.02)

    assert dropped > 0
    # The name that alerts for statsd_exporter look at.
    assert value(page, "statsd_exporter_udp_packet_drops_total") == dropped
