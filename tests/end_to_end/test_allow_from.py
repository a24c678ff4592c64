"""`--statsd.allow-from` with real sockets: who may send, and what is counted."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end.programs import TIMEOUT_SECONDS, BridgeProcess, Start
from tests.ports import HOST

HOSTS = ["127.0.0.1", "127.0.0.2", "::1"]
NETWORKS = [
    (["127.0.0.1"], {"127.0.0.1"}),
    (["127.0.0.2/32", "::1/128"], {"127.0.0.2", "::1"}),
    (["::ffff:127.0.0.0/104"], {"127.0.0.1", "127.0.0.2"}),
]

needs_ipv6 = pytest.mark.skipif(
    not Path("/proc/net/if_inet6").exists(), reason="this machine has no IPv6"
)

# Like systemd between fork and exec, make the sockets descriptors 3 and 4.
SYSTEMD = """
import os, sys
udp, tcp = map(int, sys.argv[1:3])
os.dup2(udp, 10)
os.dup2(tcp, 11)
os.dup2(10, 3)
os.dup2(11, 4)
os.environ.update(
    LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="udp:tcp"
)
os.execv(sys.argv[3], sys.argv[3:])
"""


def new_socket(host: str, type_: int) -> socket.socket:
    """Return a socket with an address of loopback."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, type_)
    sock.settimeout(TIMEOUT_SECONDS)
    sock.bind((host, 0))
    return sock


def target(host: str, port: int) -> tuple[str, int]:
    """Return the address of the bridge for a sender."""
    return ("::1" if ":" in host else HOST), port


def send_from(host: str, bridge: BridgeProcess) -> bool:
    """Send over UDP and TCP; return whether the TCP connection stays open."""
    name = host.replace(".", "_").replace(":", "_")
    with new_socket(host, socket.SOCK_DGRAM) as udp:
        udp.sendto(f"udp_{name}:1|c".encode(), target(host, bridge.udp))
    with new_socket(host, socket.SOCK_STREAM) as tcp:
        tcp.connect(target(host, bridge.tcp))
        with suppress(ConnectionResetError, BrokenPipeError):
            tcp.sendall(f"tcp_{name}:1|c\n".encode())
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            is_read = f"\ntcp_{name} 1\n" in bridge.get("/metrics")
            if is_closed(tcp):
                return False
            if is_read:
                return True
    raise TimeoutError(f"neither read nor closed: {bridge.log()}")


def is_closed(sock: socket.socket) -> bool:
    """Return whether the bridge has closed a connection, on which it sends nothing."""
    sock.setblocking(False)
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        # It closed the connection before it had read the line.
        return True


def check_senders(bridge: BridgeProcess, expected: set[str]) -> None:
    """Send from all hosts: only the lines of the expected ones are on the page."""
    page = bridge.get("/metrics")
    for transport in ("udp", "tcp"):
        assert f'packets_denied_total{{transport="{transport}"}} 0.0\n' in page
    open_connections = {host for host in HOSTS if send_from(host, bridge)}
    received, denied = len(expected), len(HOSTS) - len(expected)
    for transport in ("udp", "tcp"):
        bridge.scrape_until(f'denied_total{{transport="{transport}"}} {denied}.0\n')
    page = bridge.scrape_until(f"\nstatsd_exporter_lines_total {received * 2}.0\n")

    assert open_connections == expected
    for host in HOSTS:
        name = host.replace(".", "_").replace(":", "_")
        for transport in ("udp", "tcp"):
            is_there = f"\n{transport}_{name} 1\n" in page
            assert is_there == (host in expected), (transport, host)
    assert f"\nstatsd_exporter_udp_packets_total {received}.0\n" in page
    assert f"\nstatsd_exporter_tcp_connections_total {received}.0\n" in page
    bridge.log_until("--statsd.allow-from has no network with it")


@needs_ipv6
@pytest.mark.parametrize(("networks", "expected"), NETWORKS)
def test_only_allowed_hosts_may_send(
    start: Start, networks: list[str], expected: set[str]
) -> None:
    """On sockets for both families, over which IPv4 addresses arrive mapped."""
    flags = [f"--statsd.allow-from={each}" for each in networks]
    bridge = start("--statsd.listen-udp=:0", "--statsd.listen-tcp=:0", *flags)

    check_senders(bridge, expected)


@needs_ipv6
def test_sockets_of_systemd(launch: Start) -> None:
    """The flag holds for inherited sockets, too."""
    with (
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp,
        socket.create_server(
            ("", 0), family=socket.AF_INET6, dualstack_ipv6=True
        ) as tcp,
    ):
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        udp.bind(("", 0))
        descriptors = udp.fileno(), tcp.fileno()
        bridge = launch(
            "--statsd.listen-tcp=:0",
            "--statsd.allow-from=127.0.0.1",
            prefix=(sys.executable, "-c", SYSTEMD, *map(str, descriptors)),
            descriptors=descriptors,
        ).wait()
        check_senders(bridge, {"127.0.0.1"})


def test_ipv4_and_unix_sockets(start: Start, tmp_path: Path) -> None:
    """A socket of IPv4 alone; Unix sockets are always allowed."""
    gram, stream = tmp_path / "gram", tmp_path / "stream"
    bridge = start(
        "--statsd.allow-from=127.0.0.2",
        f"--statsd.listen-unixgram={gram}",
        f"--statsd.listen-unixstream={stream}",
    )
    for host in HOSTS[:2]:
        with new_socket(host, socket.SOCK_DGRAM) as udp:
            udp.sendto(f"from.{host[-1]}:1|c".encode(), (HOST, bridge.udp))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"gram:1|c", str(gram))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.connect(str(stream))
        sock.sendall(b"stream:1|c\n")
    # Four sockets, in any order.
    for expected in (
        *("\nfrom_2 1\n", "\ngram 1\n", "\nstream 1\n"),
        'denied_total{transport="udp"} 1.0',
    ):
        page = bridge.scrape_until(expected)
    assert "from_1" not in page


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("10.0.0.1/8", "write 10.0.0.0/8 for the network, or 10.0.0.1 for"),
        ("10.0.0.0/33", "is not a network; write 10.0.0.0/8"),
        ("", "is not a network; write 10.0.0.0/8"),
    ],
)
def test_a_bad_network_is_one_line_and_exit_code_2(text: str, advice: str) -> None:
    """Also if another one is right."""
    arguments = ["--statsd.allow-from=127.0.0.1", f"--statsd.allow-from={text}"]
    command = [sys.executable, "-m", "statsd_bridge", *arguments, "--check-config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"statsd-bridge: --statsd.allow-from: {text!r} ")
    assert advice in done.stderr
    assert done.stderr.count("\n") == 1
