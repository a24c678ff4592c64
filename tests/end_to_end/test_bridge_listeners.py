"""Every way in: UDP, TCP and Unix sockets, IPv4 and IPv6, and what is in the way."""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.programs import Start

SIX = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()


def say(family: int, kind: int, where: Any, data: bytes) -> None:
    """Send over a new socket."""
    with socket.socket(family, kind) as sock:
        sock.connect(where)
        sock.sendall(data)


@pytest.mark.parametrize(
    ("host", "heard"),
    [
        ("", {"four", "six"}),
        ("0.0.0.0", {"four", "six"}),
        ("127.0.0.1", {"four"}),
        ("[::1]", {"six"}),
        ("localhost", {"four"}),
    ],
)
def test_addresses_are_those_of_statsd_exporter(
    start: Start, host: str, heard: set[str]
) -> None:
    """An empty host and 0.0.0.0 are all interfaces of both families, for each door."""
    if not SIX:
        pytest.skip("this machine has no IPv6")
    bridge = start(f"--statsd.listen-udp={host}:0", f"--statsd.listen-tcp={host}:0")
    came = set()
    for name, family, where in (
        ("four", socket.AF_INET, "127.0.0.1"),
        ("six", socket.AF_INET6, "::1"),
    ):
        try:
            over_udp, over_tcp = (f"{each}_{name}:1|c\n" for each in ("udp", "tcp"))
            say(family, socket.SOCK_DGRAM, (where, bridge.udp), over_udp.encode())
            say(family, socket.SOCK_STREAM, (where, bridge.tcp), over_tcp.encode())
        except ConnectionRefusedError:
            continue
        came.add(name)
        bridge.scrape_until(f"\ntcp_{name} 1\n")
    page = bridge.get("/metrics")

    assert came == heard
    assert {name for name in ("four", "six") if f"\nudp_{name} 1\n" in page} == heard


def test_pages_are_on_all_interfaces_if_asked_for(start: Start) -> None:
    """`:9102` answers on both families."""
    if not SIX:
        pytest.skip("this machine has no IPv6")
    bridge = start("--web.listen-address=:0")
    with socket.create_connection(("::1", bridge.http)) as sock:
        sock.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
        said = sock.recv(1000)

    assert said.startswith(b"HTTP/1.0 200 ")
    assert bridge.get("/-/healthy") == "Statsd Exporter is Healthy.\n"


def test_lines_of_a_stream(start: Start) -> None:
    """In pieces, with carriage returns, the last one without an end: all arrive."""
    bridge = start("--statsd.listen-tcp=127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", bridge.tcp)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"a:1|c\r\n\nb:2|c\n":
            sock.sendall(bytes([byte]))
        sock.sendall(b"x" * 4091 + b":1|c"[:4] + b"\n")
        sock.sendall(b"c:3|c")
    page = bridge.scrape_until("\nc 3\n")

    assert "\na 1\n" in page
    assert "\nb 2\n" in page
    assert f"\n{'x' * 4091} 1\n" in page
    assert "statsd_exporter_lines_total 5.0\n" in page
    assert 'lines_by_transport_total{transport="tcp"} 5.0\n' in page
    assert 'lines_by_transport_total{transport="udp"} 0.0\n' in page
    assert "statsd_exporter_tcp_connections_total 1.0\n" in page
    assert "statsd_exporter_tcp_connection_errors_total 0.0\n" in page


def test_unix_sockets(start: Start, tmp_path: Path) -> None:
    """Of both sorts, with the mode asked for, counted apart, gone at the end."""
    gram, stream = tmp_path / "gram", tmp_path / "stream"
    bridge = start(
        f"--statsd.listen-unixgram={gram}",
        f"--statsd.listen-unixstream={stream}",
        "--statsd.unixsocket-mode=640",
    )
    say(socket.AF_UNIX, socket.SOCK_DGRAM, str(gram), b"a:1|c\nb:1|c")
    say(socket.AF_UNIX, socket.SOCK_STREAM, str(stream), b"c:1|c\n")
    page = bridge.scrape_until("\na 1\n") + bridge.scrape_until("\nc 1\n")

    assert {stat.S_IMODE(path.stat().st_mode) for path in (gram, stream)} == {0o640}
    assert "statsd_exporter_unixgram_packets_total 1.0\n" in page
    assert 'lines_by_transport_total{transport="unixgram"} 2.0\n' in page
    assert 'lines_by_transport_total{transport="unixstream"} 1.0\n' in page
    assert bridge.stop() == 0
    assert list(tmp_path.glob("*")) == []


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_abstract_names(start: Start) -> None:
    """`@name` for both sorts, without a file."""
    gram, stream = f"crocbot-gram-{os.getpid()}", f"crocbot-stream-{os.getpid()}"
    bridge = start(
        f"--statsd.listen-unixgram=@{gram}", f"--statsd.listen-unixstream=@{stream}"
    )
    say(socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{gram}", b"a:1|c")
    say(socket.AF_UNIX, socket.SOCK_STREAM, f"\0{stream}", b"b:1|c\n")
    bridge.scrape_until("\na 1\n")
    bridge.scrape_until("\nb 1\n")


def test_a_door_that_is_taken_is_one_line_and_exit_code_2(
    start: Start, launch: Start, tmp_path: Path
) -> None:
    """The line names flag and place; nothing is removed, and nothing is left behind."""
    gram, stream, file = (tmp_path / name for name in ("gram", "stream", "file"))
    file.write_text("mine")
    first = start(
        "--statsd.listen-tcp=127.0.0.1:0",
        f"--statsd.listen-unixgram={gram}",
        f"--statsd.listen-unixstream={stream}",
    )
    own = tmp_path / "own"
    second = {
        flag: launch(f"--{flag}={where}", *more)
        for flag, where, more in (
            ("statsd.listen-udp", f"127.0.0.1:{first.udp}", ()),
            ("statsd.listen-tcp", f"127.0.0.1:{first.tcp}", ()),
            (
                "web.listen-address",
                f"127.0.0.1:{first.http}",
                (f"--statsd.listen-unixgram={own}",),
            ),
            ("statsd.listen-unixgram", gram, ()),
            (
                "statsd.listen-unixstream",
                stream,
                (f"--statsd.listen-unixgram={own}2",),
            ),
        )
    }
    second["statsd.listen-unixgram "] = launch(f"--statsd.listen-unixgram={file}")
    second["statsd.listen-unixstream "] = launch(f"--statsd.listen-unixstream={file}")
    for flag, bridge in second.items():
        assert bridge.process.wait(90) == 2
        assert bridge.log().startswith(f"statsd-bridge: --{flag.strip()}: ")
        assert bridge.log().count("\n") == 1
    say(socket.AF_UNIX, socket.SOCK_DGRAM, str(gram), b"a:1|c")
    say(socket.AF_UNIX, socket.SOCK_STREAM, str(stream), b"b:1|c\n")
    first.scrape_until("\na 1\n")
    first.scrape_until("\nb 1\n")

    assert file.read_text() == "mine"
    assert not own.exists()
    assert not (tmp_path / "own2").exists()


def test_numbers_about_the_doors(start: Start) -> None:
    """Packets, drops of the kernel, quiet time and scrapes are on the page."""
    bridge = start()
    before = bridge.get("/metrics")
    bridge.send(b"a:1|c\n", b"b:1|c")
    after = bridge.scrape_until("\nb 1\n")

    assert "statsd_bridge_seconds_since_last_datagram " not in before
    assert "\nstatsd_bridge_seconds_since_last_datagram 0." in after
    assert "statsd_exporter_udp_packets_total 2.0\n" in after
    assert "statsd_exporter_lines_total 3.0\n" in after
    assert "statsd_bridge_scrape_duration_seconds 0.0\n" in before
    assert "statsd_bridge_scrape_size_bytes 0.0\n" not in after
    assert "promhttp_metric_handler_requests_in_flight 1.0\n" in after
    for code in ("200", "500", "503"):
        assert f'promhttp_metric_handler_requests_total{{code="{code}"}} 0.0' in before
    assert 'promhttp_metric_handler_requests_total{code="200"} 0.0' not in after
    if Path("/proc/net/udp").exists():
        assert "statsd_bridge_udp_kernel_drops_total 0.0\n" in after
    # No relay, no numbers about one.
    assert "relay" not in after
