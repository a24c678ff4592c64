"""The relay between real processes, and a look-up that hangs."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

from tests.end_to_end.programs import Start


def test_every_line_of_every_listener_is_relayed(start: Start, tmp_path: Path) -> None:
    """From three listeners to two servers; malformed lines, too."""
    others = start(), start("--statsd.listen-udp=[::1]:0")
    targets = f"127.0.0.1:{others[0].udp}", f"[::1]:{others[1].udp}"
    gram = tmp_path / "gram"
    bridge = start(
        "--statsd.listen-tcp=127.0.0.1:0",
        f"--statsd.listen-unixgram={gram}",
        *(f"--statsd.relay.address={each}" for each in targets),
    )
    before = bridge.get("/metrics")
    bridge.send(b"a:1|c|#k:v\nnonsense", b"")
    with socket.create_connection(("127.0.0.1", bridge.tcp)) as sock:
        sock.sendall(b"b:1|c\r\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"c:1|g", str(gram))
    for each in others:
        # Three listeners, in any order.
        for text in (
            *('\na{k="v"} 1\n', "\nb 1\n", "\nc 1\n"),
            'sample_errors_total{reason="malformed_line"} 1.0\n',
        ):
            each.scrape_until(text)
    after = bridge.get("/metrics")

    for target in targets:
        assert f'relay_lines_relayed_total{{target="{target}"}} 0.0\n' in before
        assert f'relay_lines_relayed_total{{target="{target}"}} 4.0\n' in after
        assert f'relay_long_lines_total{{target="{target}"}} 0.0\n' in after
        for reason in ("unresolved", "full", "error"):
            lost = f'relay_lines_lost_total{{reason="{reason}",target="{target}"}} 0.0'
            assert lost in after


def test_lines_are_relayed_unchanged_without_the_newlines_of_streams(
    start: Start,
) -> None:
    """Like in statsd_exporter, a carriage return ends a line over TCP, but not UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as target:
        target.bind(("127.0.0.1", 0))
        target.settimeout(30)
        port = target.getsockname()[1]
        bridge = start(
            "--statsd.listen-tcp=127.0.0.1:0",
            f"--statsd.relay.address=127.0.0.1:{port}",
        )
        with socket.create_connection(("127.0.0.1", bridge.tcp)) as sock:
            sock.sendall(b"a:1|c\r\n\r\nb:1|c\r\n")
        bridge.scrape_until("\nb 1\n")
        bridge.send(b"c:1|c\r\nd:1|c\n")
        packets = b""
        while b"d" not in packets:
            packets += target.recv(65_535)

    assert packets == b"a:1|c\nb:1|c\nc:1|c\r\nd:1|c\n"


def test_a_target_may_have_a_name(start: Start) -> None:
    """Lines are relayed once it is resolved, to IPv4 if there is any."""
    other = start()
    bridge = start(f"--statsd.relay.address=localhost:{other.udp}")
    deadline = time.monotonic() + 90
    while "\na " not in other.get("/metrics"):
        assert time.monotonic() < deadline
        bridge.send(b"a:1|c")
        time.sleep(0.1)


def test_a_stop_flushes_the_relay(start: Start) -> None:
    """A line that arrived just before it is relayed."""
    other = start()
    bridge = start(f"--statsd.relay.address=127.0.0.1:{other.udp}")
    bridge.send(b"last:1|c")
    assert bridge.stop() == 0

    other.scrape_until("\nlast 1\n")


HANGING = """
import socket, sys, time
original = socket.getaddrinfo
def getaddrinfo(host, *arguments, **more):
    if host == "hangs.example.org" and not more.get("flags"):
        time.sleep(100_000)
    return original(host, *arguments, **more)
socket.getaddrinfo = getaddrinfo
from statsd_bridge.cli import main
sys.exit(main(sys.argv[4:]))
"""


def test_a_look_up_that_hangs_does_not_delay_a_stop(start: Start) -> None:
    """Though its thread still waits for the answer."""
    flag = "--statsd.relay.address=hangs.example.org:8125"
    bridge = start(flag, prefix=(sys.executable, "-c", HANGING))

    assert bridge.stop() == 0
