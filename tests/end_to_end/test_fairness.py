"""Clients that take more than their share of a bridge keep out only themselves."""

from __future__ import annotations

import base64
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from tests.end_to_end.programs import BridgeProcess, Start

FEW_FILES = ("sh", "-c", 'ulimit -n 220; exec "$@"', "-")
"""75 connections of each statsd listener and 50 of the HTTP server."""

IDLE = 300
"""Connections of a client that sends nothing."""


def connect(stack: ExitStack, address: Any, source: str = "127.0.0.1") -> socket.socket:
    """Open a connection: TCP from a source address, or to the path of a Unix socket."""
    is_unix = isinstance(address, str)
    family = socket.AF_UNIX if is_unix else socket.AF_INET
    sock = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    sock.settimeout(60)
    if not is_unix:
        sock.bind((source, 0))
    sock.connect(address)
    return sock


def value(bridge: BridgeProcess, name: str) -> float:
    """Return a metric without labels."""
    match = re.search(rf"^{name} (\S+)$", bridge.get("/metrics"), re.MULTILINE)
    assert match is not None
    return float(match[1])


@pytest.mark.skipif(sys.platform != "linux", reason="one loopback address elsewhere")
@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.9"])
def test_idle_tcp_clients_keep_out_only_themselves(launch: Start, source: str) -> None:
    """Not an honest client that is quiet, from their address or another, nor a new."""
    bridge = launch("--statsd.listen-tcp=127.0.0.1:0", prefix=FEW_FILES).wait()
    address = ("127.0.0.1", bridge.tcp)
    with ExitStack() as stack:
        quiet = connect(stack, address, source)
        quiet.sendall(b"quiet:1|c\n")
        bridge.scrape_until("\nquiet 1\n")
        for _ in range(IDLE):
            connect(stack, address)
        for number in range(10):
            # One that has ended before it is read is read all the same.
            with socket.create_connection(address) as new:
                new.sendall(b"new:1|c\n")
            bridge.scrape_until(f"\nnew {number + 1}\n")
        quiet.sendall(b"quiet:1|c\n")
        bridge.scrape_until("\nquiet 2\n")
        closed = value(bridge, "statsd_bridge_tcp_connections_closed_total")

    assert IDLE - 75 < closed <= IDLE
    assert bridge.stop() == 0


TALKER = """
import socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
for line in sys.stdin.buffer:
    sock.sendall(line)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="SO_PEERCRED is Linux's")
def test_idle_unix_clients_keep_out_only_themselves(
    launch: Start, tmp_path: Path
) -> None:
    """A client is a process; this one is not the other that is quiet."""
    path = str(tmp_path / "stream")
    bridge = launch(f"--statsd.listen-unixstream={path}", prefix=FEW_FILES).wait()
    with (
        ExitStack() as stack,
        subprocess.Popen(
            [sys.executable, "-c", TALKER, path], stdin=subprocess.PIPE
        ) as other,
    ):
        assert other.stdin is not None
        stack.enter_context(other.stdin)
        other.stdin.write(b"quiet:1|c\n")
        other.stdin.flush()
        bridge.scrape_until("\nquiet 1\n")
        for _ in range(IDLE):
            # Each has sent a line, like the honest one.
            connect(stack, path).sendall(b"loud:1|c\n")
        bridge.scrape_until(f"\nloud {IDLE}\n")
        other.stdin.write(b"quiet:1|c\n")
        other.stdin.flush()
        bridge.scrape_until("\nquiet 2\n")

    assert value(bridge, "statsd_bridge_tcp_connections_closed_total") > IDLE - 76
    assert value(bridge, "statsd_exporter_tcp_connection_errors_total") == 0


@pytest.mark.skipif(sys.platform != "linux", reason="one loopback address elsewhere")
def test_idle_http_clients_keep_out_only_themselves(launch: Start) -> None:
    """A scraper keeps its connection between two scrapes."""
    bridge = launch(prefix=FEW_FILES).wait()
    address = ("127.0.0.1", bridge.http)
    request = b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n"
    with ExitStack() as stack:
        scrapers = [connect(stack, address, f"127.0.0.{n}") for n in (1, 2)]
        for each in scrapers:
            each.sendall(request)
            assert each.recv(1000).startswith(b"HTTP/1.1 200 ")
        for _ in range(IDLE):
            connect(stack, address).sendall(b"GET /")
        for each in scrapers:
            each.sendall(request)
            assert each.recv(1000).startswith(b"HTTP/1.1 200 ")
        closed = value(bridge, "statsd_bridge_http_connections_closed_total")

    assert closed > IDLE - 51


@pytest.fixture
def guarded(launch: Start, tmp_path: Path) -> BridgeProcess:
    """A bridge with two users, whose hashes have different costs."""
    users = {
        name: bcrypt.hashpw(name.encode(), bcrypt.gensalt(cost)).decode()
        for name, cost in (("ann", 4), ("bob", 10))
    }
    config = tmp_path / "web.yml"
    config.write_text(f"basic_auth_users: {users}")
    return launch(f"--web.config.file={config}").wait()


def scrape(name: str, password: str) -> bytes:
    """Return a request of a user."""
    credentials = base64.b64encode(f"{name}:{password}".encode())
    return b"GET /metrics HTTP/1.0\r\nAuthorization: Basic %b\r\n\r\n" % credentials


@contextmanager
def paused(bridge: BridgeProcess) -> Iterator[None]:
    """Stop the process for a while; its sockets take connections and bytes."""
    bridge.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        bridge.process.send_signal(signal.SIGCONT)


def answer(sock: socket.socket) -> bytes:
    """Return a whole response."""
    return b"".join(iter(lambda: sock.recv(65_536), b""))


def test_wrong_passwords_keep_out_only_those_who_send_them(
    guarded: BridgeProcess,
) -> None:
    """600 whose connections are closed at once, and as many as may wait."""
    address = ("127.0.0.1", guarded.http)
    with ExitStack() as stack:
        for number in range(600):
            with socket.create_connection(address) as attacker:
                attacker.sendall(scrape("ann", f"wrong {number}"))
        # All of them are accepted before this one.
        guarded.request("/-/healthy")
        with paused(guarded):
            # So that they arrive at the same time, however long a check takes.
            waiting = [connect(stack, address) for _ in range(9)]
            for number, each in enumerate(waiting):
                each.sendall(scrape("bob", f"wrong {number}"))
        user = connect(stack, address, "127.0.0.2")
        user.sendall(scrape("ann", "ann"))
        page = answer(user)
        statuses = sorted(answer(each).split(b" ")[1] for each in waiting)

    assert page.startswith(b"HTTP/1.0 200 ")
    # One runs, four wait; checks of the 600 may have been in their places.
    assert statuses.count(b"401") <= 5
    assert set(statuses) == {b"401", b"429"}
    # At most one check ran for each that waited, not one for each of the 600.
    assert b"\nstatsd_bridge_bugs_total 0.0\n" in page


def test_a_signal_does_not_wait_for_a_password_check(
    launch: Start, tmp_path: Path
) -> None:
    """A check that would take hours runs in a thread that ends with the process."""
    hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(4)).decode()
    config = tmp_path / "web.yml"
    config.write_text(f"basic_auth_users: {{ann: {hashed.replace('$04$', '$31$')}}}")
    bridge = launch(f"--web.config.file={config}").wait()
    with socket.create_connection(("127.0.0.1", bridge.http)) as client:
        client.sendall(scrape("ann", "right"))
        # Its answer shows that the check before it is running or waits.
        with socket.create_connection(("127.0.0.1", bridge.http)) as other:
            other.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert answer(other).startswith(b"HTTP/1.0 401 ")
        assert bridge.stop() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="one loopback address elsewhere")
def test_slow_readers_keep_out_only_themselves(start: Start) -> None:
    """They read a little all the time; another client gets its page all the same."""
    bridge = start()
    for first in range(0, 20_000, 50):
        names = range(first, first + 50)
        bridge.send(b"\n".join(b"m%d:1|c|#a:%s" % (n, b"v" * 900) for n in names))
        if not first % 1000:
            bridge.get("/metrics")
    bridge.scrape_until("\nm19999{")
    with ExitStack() as stack:
        readers = []
        for _ in range(20):
            reader = stack.enter_context(socket.socket())
            reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            reader.connect(("127.0.0.1", bridge.http))
            reader.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            readers.append(reader)
        scraper = connect(stack, ("127.0.0.1", bridge.http), "127.0.0.2")
        scraper.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        scraper.settimeout(0.2)
        page, has_ended = b"", False
        while not page and not has_ended:
            for each in readers:
                has_ended |= read_some(each)
            with suppress(TimeoutError):
                page = scraper.recv(1000)

    # None of the slow ones has its page yet, so none has made way by its end.
    assert page.startswith(b"HTTP/1.0 200 ")


def read_some(reader: socket.socket) -> bool:
    """Read at most 200,000 bytes of what has arrived; return whether all has."""
    left = 200_000
    while left > 0:
        try:
            data = reader.recv(left, socket.MSG_DONTWAIT)
        except OSError:
            # Nothing has arrived, or the connection was cut.
            return False
        if not data:
            return True
        left -= len(data)
    return False


HEADS = [
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000,
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"\xb2" * 10,
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + b"\x1b[31m",
    b"GET /metrics HTTP/1.1",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: x",
    b"GET /metrics\x1b[31m HTTP/1.1\r\nHost: x",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: \x1b[31m",
    b"GET /%\xff HTTP/1.1\r\nHost: x",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"a:1|c",
]


def test_a_malformed_request_is_not_a_bug(start: Start) -> None:
    """It is answered with 400; neither a counter nor a log line tells of it."""
    bridge = start()
    log = bridge.log()
    for head in HEADS:
        with socket.create_connection(("127.0.0.1", bridge.http)) as client:
            client.sendall(head + b"\r\n\r\n")
            assert answer(client).startswith(b"HTTP/1.1 400 "), head

    assert value(bridge, "statsd_bridge_bugs_total") == 0
    assert bridge.log() == log


def test_a_request_may_end_its_connection_and_have_bare_newlines(start: Start) -> None:
    """As `printf ... | nc -N` sends it."""
    bridge = start()
    bridge.send(b"a:1|c")
    bridge.scrape_until("\na 1\n")
    for request in (
        b"GET /metrics HTTP/1.0\r\n\r\n",
        b"GET /metrics HTTP/1.0\n\n",
        b"GET /metrics HTTP/1.1\nHost: x\n\n" * 2,
    ):
        with socket.create_connection(("127.0.0.1", bridge.http)) as client:
            client.sendall(request)
            client.shutdown(socket.SHUT_WR)
            page = answer(client)

            assert page.startswith(b"HTTP/1.")
            assert page.count(b"\na 1\n") == request.count(b"GET")


def test_a_socket_whose_file_is_gone_is_closed(start: Start, tmp_path: Path) -> None:
    """Another program has removed it; the stop logs no error."""
    stream, gram = tmp_path / "stream", tmp_path / "gram"
    bridge = start(
        f"--statsd.listen-unixstream={stream}", f"--statsd.listen-unixgram={gram}"
    )
    for path in (stream, gram):
        path.unlink()

    assert bridge.stop() == 0
    assert "level=error" not in bridge.log()


def test_a_socket_of_another_process_is_not_removed(
    start: Start, tmp_path: Path
) -> None:
    """The bridge remembers device and inode of what it bound."""
    stream, gram = tmp_path / "stream", tmp_path / "gram"
    flags = f"--statsd.listen-unixstream={stream}", f"--statsd.listen-unixgram={gram}"
    first = start(*flags)
    for path in (stream, gram):
        path.unlink()
    second = start(*flags)
    assert first.stop() == 0

    second.receive_over_unix(gram, stream)
    assert second.stop() == 0
    assert list(tmp_path.iterdir()) == []
