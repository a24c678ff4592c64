"""The relay between real processes, and a look-up that hangs."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.end_to_end.programs import Start


def test_every_line_of_every_door_reaches_the_others(
    start: Start, tmp_path: Path
) -> None:
    """Two targets, three ways in; what is not understood is passed on, too."""
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
    pages = [
        each.scrape_until("\nc 1\n") + each.scrape_until("\nb 1\n") for each in others
    ]
    after = bridge.get("/metrics")

    for page, target in zip(pages, targets, strict=True):
        assert '\na{k="v"} 1\n' in page
        assert 'sample_errors_total{reason="malformed_line"} 1.0\n' in page
        assert f'relay_lines_relayed_total{{target="{target}"}} 0.0\n' in before
        assert f'relay_lines_relayed_total{{target="{target}"}} 4.0\n' in after
        assert f'relay_long_lines_total{{target="{target}"}} 0.0\n' in after
        for reason in ("unresolved", "full", "error"):
            lost = f'relay_lines_lost_total{{reason="{reason}",target="{target}"}} 0.0'
            assert lost in after


def test_lines_leave_as_they_came_without_the_ends_of_streams(start: Start) -> None:
    """A carriage return ends a line over TCP, and belongs to it over UDP, as there."""
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
    """What comes once the name is known is passed on, over IPv4 if there is one."""
    other = start()
    bridge = start(f"--statsd.relay.address=localhost:{other.udp}")
    deadline = time.monotonic() + 90
    while "\na " not in other.get("/metrics"):
        assert time.monotonic() < deadline
        bridge.send(b"a:1|c")
        time.sleep(0.1)


def test_a_target_that_dies_and_comes_back(start: Start) -> None:
    """Intake goes on meanwhile, and the target gets what comes after."""
    other = start()
    where = f"--statsd.listen-udp=127.0.0.1:{other.udp}"
    bridge = start(f"--statsd.relay.address=127.0.0.1:{other.udp}")
    bridge.send(b"before:1|c")
    other.scrape_until("\nbefore 1\n")
    other.stop(signal.SIGKILL)
    for number in range(100):
        bridge.send(b"during:1|c\n" * 100)
        if not number % 10:
            bridge.get("/metrics")
    bridge.scrape_until("\nduring 10000\n")
    other = start(where)
    bridge.send(b"after:1|c")

    other.scrape_until("\nafter 1\n")


def test_a_stop_sends_what_has_gathered(start: Start) -> None:
    """A line that came just before the end is passed on."""
    other = start()
    bridge = start(f"--statsd.relay.address=127.0.0.1:{other.udp}")
    bridge.send(b"last:1|c")
    assert bridge.stop() == 0

    other.scrape_until("\nlast 1\n")


HANGING = """
import socket, sys, time
known = socket.getaddrinfo
def getaddrinfo(host, *arguments, **more):
    if host == "hangs.example.org" and not more.get("flags"):
        time.sleep(100_000)
    return known(host, *arguments, **more)
socket.getaddrinfo = getaddrinfo
from statsd_bridge.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_look_up_that_hangs_delays_no_stop(tmp_path: Path) -> None:
    """The bridge ends at once, though a thread still waits for an answer."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", HANGING),
            "--statsd.listen-udp=127.0.0.1:0",
            "--statsd.listen-tcp=",
            "--web.listen-address=127.0.0.1:0",
            "--statsd.relay.address=hangs.example.org:8125",
        ],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stderr is not None
    ready = process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    code = process.wait(90)
    process.stderr.close()

    assert "event=ready" in ready
    assert code == 0
