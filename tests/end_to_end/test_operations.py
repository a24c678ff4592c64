"""The bridge for its operator: signals, pages, flags."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.programs import Start
from tests.ports import free_port


def test_quit_answers_and_ends_with_0(start: Start) -> None:
    """`/-/quit` needs PUT or POST and the flag; its answer arrives."""
    bridge = start("--web.enable-lifecycle")
    closed = start()

    assert closed.request("/-/quit", "POST") == (404, "404 page not found\n")
    assert bridge.request("/-/quit") == (200, "")
    assert bridge.request("/-/quit", "PUT") == (
        200,
        "Requesting termination... Goodbye!\n",
    )
    assert bridge.process.wait(90) == 0


def test_a_reload_without_rules(start: Start) -> None:
    """Without a mapping file a reload is logged, and not counted."""
    bridge = start("--web.enable-lifecycle")
    bridge.process.send_signal(signal.SIGHUP)

    assert bridge.request("/-/reload", "POST")[0] == 200
    page = bridge.get("/metrics")
    assert "config_reloads_total{" not in page
    bridge.log_until("nothing to reload")


def test_a_stop_does_not_wait_for_clients(start: Start) -> None:
    """Idle and slow clients delay no stop, and a second signal is harmless."""
    bridge = start("--statsd.listen-tcp=127.0.0.1:0")
    for first in range(0, 5_000, 50):
        names = range(first, first + 50)
        bridge.send(b"\n".join(b"m%d:1|c|#a:%s" % (n, b"v" * 100) for n in names))
    bridge.scrape_until("\nm4999{")
    with (
        socket.create_connection(("127.0.0.1", bridge.tcp)) as idle,
        socket.socket() as slow,
    ):
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        slow.connect(("127.0.0.1", bridge.http))
        slow.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        slow.recv(10)
        idle.sendall(b"half a li")
        bridge.process.send_signal(signal.SIGTERM)
        code = bridge.stop(signal.SIGTERM)

    assert code == 0
    assert "Traceback" not in bridge.log()
    assert "a bug" not in bridge.log()


def test_pages_at_the_root(start: Start) -> None:
    """With the telemetry path `/` metrics are at every path without another page."""
    bridge = start("--web.telemetry-path=/")

    for path in ("/", "/metrics", "/anything"):
        assert "statsd_exporter_lines_total" in bridge.get(path)
    assert bridge.get("/-/ready") == "Statsd Exporter is Ready.\n"


def test_head_has_the_headers_and_no_page(start: Start) -> None:
    """A response to HEAD has no body; the next one follows on the connection."""
    bridge = start()
    with socket.create_connection(("127.0.0.1", bridge.http)) as sock:
        sock.sendall(
            b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
            b"HEAD /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        with sock.makefile("rb") as answers:
            received = answers.read()
    first, second, third, body = received.split(b"\r\n\r\n", 3)

    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"text/plain; version=0.0.4" in first
    assert second.startswith(b"HTTP/1.1 200 ")
    assert third.startswith(b"HTTP/1.1 404 ")
    assert b"404 page not found\n" in body


def test_a_log_that_cannot_be_written(tmp_path: Path) -> None:
    """The bridge goes on when the reader of its log has gone."""
    reader, writer = os.pipe()
    port = free_port()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "statsd_bridge"),
            "--statsd.listen-udp=127.0.0.1:0",
            "--statsd.listen-tcp=",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-lifecycle",
        ],
        stderr=writer,
        cwd=tmp_path,
    )
    os.close(writer)
    with os.fdopen(reader, "rb") as log:
        assert b"event=ready" in log.readline()
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"POST /-/reload HTTP/1.0\r\n\r\n")
            assert sock.recv(100).startswith(b"HTTP/1.0 200 ")
    process.send_signal(signal.SIGTERM)

    assert process.wait(90) == 0


@pytest.mark.parametrize("how", ["file", "flags"])
def test_a_command_line_of_statsd_exporter_works(
    start: Start, tmp_path: Path, how: str
) -> None:
    """All flags of 0.30.0 together, from the command line and from a file."""
    rules = tmp_path / "rules.yml"
    rules.write_text("mappings: [{match: a.*, name: mapped_$1}]")
    flags = [
        "--web.listen-address=127.0.0.1:0",
        "--web.enable-lifecycle",
        "--web.telemetry-path=/metrics",
        "--statsd.listen-udp=127.0.0.1:0",
        "--statsd.listen-tcp=127.0.0.1:0",
        f"--statsd.listen-unixgram={tmp_path / 'gram'}",
        "--statsd.unixsocket-mode=755",
        f"--statsd.mapping-config={rules}",
        "--statsd.read-buffer=0",
        "--statsd.cache-size=1000",
        "--statsd.cache-type=lru",
        "--statsd.event-queue-size=10000",
        "--statsd.event-flush-threshold=1000",
        "--statsd.event-flush-interval=200ms",
        f"--debug.dump-fsm={tmp_path / 'rules.dot'}",
        "--no-check-config",
        "--statsd.parse-dogstatsd-tags",
        "--statsd.parse-influxdb-tags",
        "--statsd.parse-librato-tags",
        "--no-statsd.parse-signalfx-tags",
        "--statsd.relay.address=127.0.0.1:9",
        "--statsd.relay.packet-length=1400",
        "--statsd.udp-packet-queue-size=10000",
        "--log.level=info",
        "--log.format=logfmt",
    ]
    if how == "file":
        arguments = tmp_path / "arguments"
        arguments.write_text("\n".join(["# all of them", *flags, ""]))
        flags = [f"@{arguments}"]
    bridge = start(*flags)
    bridge.send(b"a.b:1|c", b"a[k=v]:1|c")
    page = bridge.scrape_until("\na_k_v_ 1\n")

    assert "\nmapped_b 1\n" in page
    assert (tmp_path / "rules.dot").read_text().startswith("digraph")
    assert bridge.stop() == 0
