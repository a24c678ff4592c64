"""Sockets that systemd holds: a restart of the bridge loses nothing."""

from __future__ import annotations

import shutil
import socket
import sys
import time
import urllib.request

import pytest

from tests.end_to_end.programs import TIMEOUT_SECONDS, BridgeProcess, Start
from tests.ports import HOST, free_port

# Like systemd between fork and exec, make the sockets descriptors 3 and 4.
SYSTEMD = """
import os, sys
udp, http = map(int, sys.argv[1:3])
os.dup2(udp, 10)
os.dup2(http, 11)
os.dup2(10, 3)
os.dup2(11, 4)
os.environ.update(
    LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="udp:http"
)
os.execv(sys.argv[3], sys.argv[3:])
"""


def test_a_restart_loses_no_datagram_and_no_scrape(launch: Start) -> None:
    """Both wait in the kernel for the next start."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
        socket.create_server((HOST, 0)) as http,
    ):
        udp.bind((HOST, 0))
        sender.connect(udp.getsockname())
        descriptors = udp.fileno(), http.fileno()
        prefix = (sys.executable, "-c", SYSTEMD, *map(str, descriptors))

        def start_service() -> BridgeProcess:
            return launch(prefix=prefix, descriptors=descriptors).wait()

        for _ in range(3):
            sender.send(b"early:1|c")
        bridge = start_service()
        bridge.scrape_until("\nearly 3\n")
        assert bridge.stop() == 0

        for _ in range(200):
            sender.send(b"meanwhile:1|c")
        with socket.create_connection(http.getsockname(), TIMEOUT_SECONDS) as scraper:
            scraper.sendall(b"GET /-/ready HTTP/1.0\r\n\r\n")
            bridge = start_service()
            status = scraper.recv(1_000).split()[1]
        page = bridge.scrape_until("\nmeanwhile 200\n")

    assert status == b"200"
    assert "statsd_bridge_udp_kernel_drops_total 0.0\n" in page
    assert bridge.stop() == 0


def test_systemd_s_own_tool_starts_the_bridge(launch: Start) -> None:
    """At the first request on the socket that systemd-socket-activate holds."""
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        pytest.skip("systemd-socket-activate is missing: it is part of systemd")
    port = free_port()
    bridge = launch(prefix=(tool, f"--listen={HOST}:{port}", "--fdname=http"))
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while "Listening on" not in bridge.log() and time.monotonic() < deadline:
        time.sleep(0.05)
    url = f"http://{HOST}:{port}/-/healthy"
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
        assert response.status == 200

    # The tool has become the bridge.
    assert bridge.stop() == 0
