"""A standard error that takes no lines holds up neither pages nor signals."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import pytest

from tests.end_to_end.programs import TIMEOUT_SECONDS
from tests.ports import HOST, free_port

LINE = b"a:" + b"x" * 1000 + b"|c"


class LoggingBridge:
    """A bridge that logs each line, to a standard error that the test chooses."""

    def __init__(self, stderr: int | IO[bytes], *flags: str) -> None:
        self._udp, self._http = free_port(), free_port()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "statsd_bridge", "--log.level=debug"),
                f"--statsd.listen-udp={HOST}:{self._udp}",
                "--statsd.listen-tcp=",
                f"--web.listen-address={HOST}:{self._http}",
                *flags,
            ],
            stderr=stderr,
        )

    def page(self) -> str:
        """Scrape, as soon as the bridge listens."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while True:
            try:
                url = f"http://{HOST}:{self._http}/metrics"
                with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as response:
                    return str(response.read().decode())
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.02)

    def send_until_dropped(self) -> str:
        """Send lines until some of their log lines are dropped; return the page."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(1000):
                for _ in range(20):
                    sender.sendto(LINE, (HOST, self._udp))
                page = self.page()
                dropped = re.search(r"_lines_dropped_total (\d\S+)", page)
                if dropped is not None and float(dropped[1]):
                    return page
        pytest.fail("no line of the log is dropped")

    def stop(self) -> int:
        """Stop; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(TIMEOUT_SECONDS)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: where to read, where to write."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize("format_", ["logfmt", "json"])
def test_a_pipe_that_is_not_read(pipe: tuple[int, int], format_: str) -> None:
    """Pages go on, drops are counted and reported later, and a signal works."""
    reader, writer = pipe
    bridge = LoggingBridge(writer, f"--log.format={format_}")
    bridge.page()
    bridge.send_until_dropped()
    text = b""
    while b"log lines were dropped" not in text:
        text += os.read(reader, 65_536)
    bridge.send_until_dropped()
    assert bridge.stop() == 0
    os.set_blocking(reader, False)
    with suppress(BlockingIOError):
        # Nothing is left if the last line before was the one about the drops.
        text += os.read(reader, 1 << 20)
    *lines, _ = text.decode().split("\n")

    assert all(line.isprintable() for line in lines)
    if format_ == "json":
        events = [json.loads(line)["event"] for line in lines]
        assert events.count("log lines were dropped") == 1


@pytest.mark.parametrize("output", ["a full disk", "a pipe without a reader"])
def test_an_output_that_fails(output: str) -> None:
    """Each line that is lost is counted, and nothing else happens."""
    if output == "a full disk":
        writer = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, writer = os.pipe()
        os.close(reader)
    try:
        bridge = LoggingBridge(writer)
    finally:
        os.close(writer)
    page = bridge.send_until_dropped()

    assert "statsd_bridge_bugs_total 0.0\n" in page
    assert bridge.stop() == 0


@pytest.mark.parametrize("closed", ["1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams(closed: str, tmp_path: Path) -> None:
    """The bridge works, and no socket gets its log."""
    udp, http = free_port(), free_port()
    script = f'exec "$@" {closed}'
    process = subprocess.Popen(
        [
            *("sh", "-c", script, "-", sys.executable, "-m", "statsd_bridge"),
            f"--statsd.listen-udp={HOST}:{udp}",
            "--statsd.listen-tcp=",
            f"--web.listen-address={HOST}:{http}",
            "--log.level=debug",
        ],
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            with socket.create_connection((HOST, http)) as client:
                client.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
                response = b"".join(iter(lambda: client.recv(4096), b""))
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    descriptors = Path(f"/proc/{process.pid}/fd")
    standard = {str((descriptors / str(number)).readlink()) for number in range(3)}
    process.send_signal(signal.SIGTERM)

    assert process.wait(TIMEOUT_SECONDS) == 0
    assert response.endswith(b"Statsd Exporter is Healthy.\n")
    assert not any(name.startswith("socket:") for name in standard)
