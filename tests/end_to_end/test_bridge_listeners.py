"""The listeners of the bridge: UDP, TCP and Unix sockets, IPv4 and IPv6, conflicts."""

from __future__ import annotations

import os
import re
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.programs import TIMEOUT_SECONDS, Start

IPV4 = socket.AF_INET, "127.0.0.1"
IPV6 = socket.AF_INET6, "::1"


def send(family: int, type_: int, address: Any, data: bytes) -> None:
    """Send data over a new socket."""
    with socket.socket(family, type_) as sock:
        sock.connect(address)
        sock.sendall(data)


@pytest.mark.skipif(
    not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6"
)
@pytest.mark.parametrize(
    ("host", "reachable"),
    [
        ("", {IPV4, IPV6}),
        ("0.0.0.0", {IPV4, IPV6}),
        ("[::]", {IPV4, IPV6}),
        ("[0:0::0]", {IPV4, IPV6}),
        ("[::ffff:0.0.0.0]", {IPV4, IPV6}),
        ("[::ffff:127.0.0.1]", {IPV4}),
        ("127.0.0.1", {IPV4}),
        ("[::1]", {IPV6}),
        ("localhost", {IPV4}),
    ],
)
def test_hosts_mean_the_same_as_in_statsd_exporter(
    start: Start, host: str, reachable: set[tuple[int, str]]
) -> None:
    """An empty host, 0.0.0.0 and [::] are all interfaces of both families."""
    bridge = start(
        f"--statsd.listen-udp={host}:0",
        f"--statsd.listen-tcp={host}:0",
        "--web.listen-address=:0",
    )
    # The pages of another one, because this one may not be reachable by both.
    pages = start(f"--web.listen-address={host}:0")
    reached = set()
    for family, address in (IPV4, IPV6):
        udp, tcp = f"udp_{family}:1|c\n", f"tcp_{family}:1|c\n"
        try:
            socket.create_connection((address, pages.http)).close()
            send(family, socket.SOCK_DGRAM, (address, bridge.udp), udp.encode())
            send(family, socket.SOCK_STREAM, (address, bridge.tcp), tcp.encode())
        except ConnectionRefusedError:
            continue
        reached.add((family, address))
        for type_ in ("tcp", "udp"):
            bridge.scrape_until(f"\n{type_}_{family} 1\n")

    assert reached == reachable


def test_lines_of_a_stream(start: Start) -> None:
    """Byte by byte, with carriage returns, and the last one without a newline."""
    bridge = start("--statsd.listen-tcp=127.0.0.1:0")
    with socket.create_connection(("127.0.0.1", bridge.tcp)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"a:1|c\r\n\nb:2|c\n":
            sock.sendall(bytes([byte]))
        sock.sendall(b"x:1|c|#k:" + b"v" * 4086 + b"\n")
        sock.sendall(b"c:3|c")
    page = bridge.scrape_until("\nc 3\n")

    for line in (
        "a 1",
        "b 2",
        f'x{{k="{"v" * 4086}"}} 1',
        "statsd_exporter_lines_total 5.0",
        'statsd_bridge_lines_by_transport_total{transport="tcp"} 5.0',
        'statsd_bridge_lines_by_transport_total{transport="udp"} 0.0',
        "statsd_exporter_tcp_connections_total 1.0",
        "statsd_exporter_tcp_connection_errors_total 0.0",
    ):
        assert f"\n{line}\n" in page


@pytest.mark.parametrize("is_abstract", [False, True])
def test_unix_sockets(start: Start, tmp_path: Path, is_abstract: bool) -> None:
    """A file has the mode that is asked for and is removed; `@name` has no file."""
    if is_abstract and sys.platform != "linux":
        pytest.skip("abstract names are Linux's")
    prefix = f"@crocbot-{os.getpid()}-" if is_abstract else f"{tmp_path}/"
    bridge = start(
        f"--statsd.listen-unixgram={prefix}gram",
        f"--statsd.listen-unixstream={prefix}stream",
        "--statsd.unixsocket-mode=640",
    )
    address = prefix.replace("@", "\0")
    send(socket.AF_UNIX, socket.SOCK_DGRAM, f"{address}gram", b"a:1|c\nb:1|c")
    send(socket.AF_UNIX, socket.SOCK_STREAM, f"{address}stream", b"c:1|c\n")
    bridge.scrape_until("\na 1\n")
    page = bridge.scrape_until("\nc 1\n")
    modes = [stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()]

    assert modes == ([] if is_abstract else [0o640, 0o640])
    assert "statsd_exporter_unixgram_packets_total 1.0\n" in page
    assert 'lines_by_transport_total{transport="unixgram"} 2.0\n' in page
    assert 'lines_by_transport_total{transport="unixstream"} 1.0\n' in page
    assert bridge.stop() == 0
    assert list(tmp_path.iterdir()) == []


def test_an_address_in_use_is_one_line_and_exit_code_2(
    start: Start, launch: Start, tmp_path: Path
) -> None:
    """The line names the flag; no file is removed, and none is left behind."""
    gram, stream, file = (tmp_path / name for name in ("gram", "stream", "file"))
    file.write_text("mine")
    first = start(
        "--statsd.listen-tcp=127.0.0.1:0",
        f"--statsd.listen-unixgram={gram}",
        f"--statsd.listen-unixstream={stream}",
    )
    # Each has a name of its own, since all start at the same time.
    new = f"--statsd.listen-unixgram={tmp_path / 'new'}"
    conflicts = [
        ("statsd.listen-udp", f"127.0.0.1:{first.udp}", f"{new}-1"),
        ("statsd.listen-tcp", f"127.0.0.1:{first.tcp}", f"{new}-2"),
        ("web.listen-address", f"127.0.0.1:{first.http}", f"{new}-3"),
        ("statsd.listen-unixstream", str(stream), f"{new}-4"),
        ("statsd.listen-unixgram", str(gram), ""),
        ("statsd.listen-unixgram", str(file), ""),
        ("statsd.listen-unixstream", str(file), ""),
    ]
    bridges = [
        (flag, launch(*filter(None, (more, f"--{flag}={address}"))))
        for flag, address, more in conflicts
    ]
    for flag, bridge in bridges:
        assert bridge.process.wait(TIMEOUT_SECONDS) == 2
        assert bridge.log().startswith(f"statsd-bridge: --{flag}: ")
        assert bridge.log().count("\n") == 1

    assert {each.name for each in tmp_path.iterdir()} == {"gram", "stream", "file"}
    assert file.read_text() == "mine"
    send(socket.AF_UNIX, socket.SOCK_DGRAM, str(gram), b"a:1|c")
    send(socket.AF_UNIX, socket.SOCK_STREAM, str(stream), b"b:1|c\n")
    for name in ("a", "b"):
        first.scrape_until(f"\n{name} 1\n")


def test_metrics_of_the_listeners(start: Start) -> None:
    """Packets, kernel drops, time since the last datagram and scrapes."""
    bridge = start()
    before = bridge.get("/metrics")
    bridge.send(b"a:1|c\n", b"b:1|c")
    after = bridge.scrape_until("\nb 1\n")

    for code in ("200", "500", "503"):
        assert f'promhttp_metric_handler_requests_total{{code="{code}"}} 0.0' in before
    assert "statsd_bridge_seconds_since_last_datagram " not in before
    assert re.search(r"\nstatsd_bridge_seconds_since_last_datagram \d", after)
    for line in (
        "statsd_exporter_udp_packets_total 2.0",
        "statsd_exporter_lines_total 3.0",
        "statsd_bridge_udp_kernel_drops_total 0.0",
        "promhttp_metric_handler_requests_in_flight 1.0",
    ):
        assert f"\n{line}\n" in after
    # Without a relay there are no metrics of one.
    assert "relay" not in after
