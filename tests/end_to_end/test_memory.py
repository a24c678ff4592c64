"""A bridge with little memory, and senders that fill it."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.programs import BridgeProcess, Start

MEGABYTE = 1024 * 1024

OPENMETRICS = "application/openmetrics-text"

LIMITED = ("sh", "-c", 'ulimit -v 409600; exec "$@"', "sh")
"""400 MiB of address space."""

FLOODS: dict[str, Callable[[int], bytes]] = {
    "long values": lambda n: b"a:1|c|#k:%d" % n + b"v" * 60_000,
    "values just short enough": lambda n: b"\n".join(
        b"a:1|c|#k:%d_%d" % (n, i) + b"v" * 4_000 for i in range(14)
    ),
    "many labels": lambda n: (
        b"a:1|c|#" + b",".join(b"k%d:%d %d" % (i, n, i) for i in range(4_000))
    ),
    "names": lambda n: b"\n".join(
        b"n%d_%d" % (n, i) + b"x" * 900 + b":1|ms" for i in range(60)
    ),
    "label names": lambda n: b"\n".join(
        b"a:1|g|#k%d_%d:v" % (n, i) for i in range(3_000)
    ),
    "members": lambda n: b"\n".join(b"s%d:m%d|s" % (n, i) for i in range(4_000)),
    "timers": lambda n: b"\n".join(
        b"t:%d|ms|#k:%d_%d" % (i, n, i) for i in range(3_000)
    ),
}
"""Datagrams of up to 60 KB."""


def value(page: str, name: str) -> float:
    """Return the value of a metric without labels."""
    match = re.search(rf"^{name} (\S+)$", page, re.MULTILINE)
    assert match is not None, name
    return float(match[1])


def flood(bridge: BridgeProcess, make: Callable[[int], bytes]) -> None:
    """
    Send 15 MB or 120,000 lines; requests in between drain the socket's buffer.

    The bridge answers one after all datagrams that it has received at once.
    """
    datagrams = min(240, 120_000 // (make(0).count(b"\n") + 1))
    for start in range(0, datagrams, 8):
        bridge.send(*map(make, range(start, min(start + 8, datagrams))))
        bridge.get("/-/healthy")


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_leaves_the_bridge_within_its_memory(start: Start, name: str) -> None:
    """
    Scrapes succeed in both formats, known series go on, and refusals are counted.

    The estimate is honest: the process grows by little more than the limit.
    """
    bridge = start("--statsd.max-memory=12MiB", prefix=LIMITED)
    bridge.send(b"innocent:1|c")
    bridge.scrape_until("\ninnocent 1\n")
    process = psutil.Process(bridge.process.pid)
    before = process.memory_info().rss
    flood(bridge, FLOODS[name])
    after = process.memory_info().rss
    bridge.send(b"innocent:1|c")
    page = bridge.scrape_until("\ninnocent 2\n")
    bridge.get("/metrics", Accept=OPENMETRICS)

    assert value(page, "statsd_bridge_memory_limit_bytes") == 12 * MEGABYTE
    used = value(page, "statsd_bridge_memory_bytes")
    assert used <= 12 * MEGABYTE
    assert after - before <= 1.35 * used + 24 * MEGABYTE
    assert value(page, "statsd_bridge_bugs_total") == 0
    refused = re.findall(
        r"^statsd_bridge_series_refused_total\{.*reason=\"memory\"\} (\S+)$",
        page,
        re.MULTILINE,
    )
    too_long = 'events_error_total{reason="label_too_long"}' in page
    assert refused or too_long
    assert too_long == (name == "long values")
    assert bridge.stop() == 0


def test_the_default_is_half_of_the_resource_limit(start: Start) -> None:
    """Without the flag, `ulimit -v` counts like the limit of a cgroup."""
    bridge = start(prefix=LIMITED)
    page = bridge.get("/metrics")

    assert value(page, "statsd_bridge_memory_limit_bytes") <= 200 * MEGABYTE


def peak_memory(process_id: int) -> int:
    """Return the largest resident memory of a process until now, in bytes."""
    status = Path(f"/proc/{process_id}/status").read_text(encoding="ascii")
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) * 1024


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_datagrams_take_little_memory_while_they_are_received(
    start: Start, tmp_path: Path
) -> None:
    """A sender that a Unix socket holds up keeps every batch full."""
    path = str(tmp_path / "gram")
    bridge = start(f"--statsd.listen-unixgram={path}")
    bridge.get("/metrics")
    before = peak_memory(bridge.process.pid)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MEGABYTE)
        sender.connect(path)
        for _ in range(2_000):
            sender.send(b"a:1|c\n" * 10_000)
    bridge.scrape_until("\na 2e+07\n")

    assert peak_memory(bridge.process.pid) - before < 36 * MEGABYTE
