"""A bridge whose sockets systemd holds loses nothing while it restarts; no systemd."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PATIENCE = 90.0

# What systemd does between fork and exec: the sockets become descriptors 3 and 4.
LAUNCH = """
import os, sys
udp, http = map(int, sys.argv[1:3])
for low, high in ((udp, 10), (http, 11)):
    os.dup2(low, high)
os.dup2(10, 3)
os.dup2(11, 4)
os.environ.update(
    LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="udp:http"
)
os.execv(sys.executable, [sys.executable, "-m", "statsd_bridge", *sys.argv[3:]])
"""


class Units:
    """The sockets that systemd would hold, and the service that it starts."""

    def __init__(self, home: Path) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.http = socket.create_server(("127.0.0.1", 0))
        self.address = self.udp.getsockname()
        self.url = f"http://127.0.0.1:{self.http.getsockname()[1]}/metrics"
        self._log = home / "bridge.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the bridge on the sockets."""
        descriptors = self.udp.fileno(), self.http.fileno()
        arguments = [*map(str, descriptors), "--statsd.listen-tcp="]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, *arguments],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def stop(self) -> int:
        """Stop the bridge as systemd does; returns its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self.udp.close()
        self.http.close()

    def send(self, *datagrams: bytes) -> None:
        """Send statsd."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for each in datagrams:
                sender.sendto(each, self.address)

    def page(self) -> str:
        """Read the page, as soon as somebody answers."""
        with urllib.request.urlopen(self.url, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def value(self, name: str) -> float:
        """Read one value from the page; 0 if it is not there."""
        found = re.search(rf"^{name} (\S+)$", self.page(), re.MULTILINE)
        return float(found[1]) if found else 0.0


@pytest.fixture
def units(tmp_path: Path) -> Iterator[Units]:
    """Sockets that nobody reads yet."""
    made = Units(tmp_path)
    yield made
    made.close()


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_restart_loses_no_datagram_and_no_scrape(units: Units) -> None:
    """What comes while the bridge is down waits for the next one; the kernel tells."""
    units.send(*[b"early:1|c"] * 3)
    units.start()
    until(lambda: units.value("early") == 3.0)
    assert units.stop() == 0

    units.send(*[b"meanwhile:1|c"] * 200)
    with socket.create_connection(units.http.getsockname(), PATIENCE) as scraper:
        scraper.sendall(b"GET /-/ready HTTP/1.0\r\n\r\n")
        units.start()
        answer = scraper.recv(1_000)

    assert answer.split()[1] == b"200"
    until(lambda: units.value("meanwhile") == 200.0)
    assert units.value("statsd_bridge_udp_kernel_drops_total") == 0.0
    assert units.stop() == 0


def test_systemd_s_own_tool_starts_it(tmp_path: Path) -> None:
    """A scrape starts the bridge, on the socket that systemd-socket-activate holds."""
    tool = shutil.which("systemd-socket-activate")
    if tool is None:
        pytest.skip("systemd-socket-activate is missing: it comes with systemd")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    bridge = [sys.executable, "-m", "statsd_bridge"]
    flags = ["--statsd.listen-tcp=", "--statsd.listen-udp=127.0.0.1:0"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [tool, f"--listen=127.0.0.1:{port}", "--fdname=http", *bridge, *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: b"Listening on" in (tmp_path / "log").read_bytes())
        url = f"http://127.0.0.1:{port}/-/healthy"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            assert answer.status == 200
    finally:
        process.terminate()
        code = process.wait(PATIENCE)

    # The tool has become the bridge.
    assert code == 0
