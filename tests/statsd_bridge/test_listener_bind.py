"""Listening sockets: addresses, buffers, stale Unix sockets."""

from __future__ import annotations

import errno
import os
import socket
import stat
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import ServerFactory
from twisted.internet.testing import MemoryReactor

from statsd_bridge.errors import BindError
from statsd_bridge.listener import bind
from statsd_bridge.model import HostPort

FLAG = "statsd.listen-unixgram"


def open_unixgram(path: Path | str, mode: int | None = None) -> socket.socket:
    """Open a Unix datagram socket."""
    return bind.open_unixgram(FLAG, str(path), mode=mode, read_buffer=0)


def send(path: str, data: bytes) -> None:
    """Send a datagram to a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, path)


def test_an_address_in_use_is_named() -> None:
    """The error has the flag, the address and the reason."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = HostPort("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(BindError, match=rf"^--flag: .*{address}: .*in use"):
            bind.open_udp("flag", address, 0)


@pytest.mark.parametrize(
    "host",
    ["", "0.0.0.0", "::", "0:0:0::0", "::ffff:0.0.0.0"],
)
def test_every_interface_receives_ipv4_and_ipv6(host: str) -> None:
    """On a machine that has both, whatever the notation is."""
    with closing(bind.open_udp("flag", HostPort(host, 0), 0)) as sock:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"four", ("127.0.0.1", sock.getsockname()[1]))

        assert sock.recv(10) == b"four"
        assert sock.family == socket.AF_INET6 or not socket.has_dualstack_ipv6()


class Names:
    """A resolver: the addresses of `a.example`."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses
        self._look_up = socket.getaddrinfo

    def getaddrinfo(self, host: str, *arguments: Any, **options: Any) -> list[Any]:
        """Look a name up."""
        hosts = self._addresses if host == "a.example" else [host]
        return [
            found
            for each in hosts
            for found in self._look_up(each, *arguments, **options)
        ]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize(
    ("addresses", "bound"),
    [
        (["::1"], "::1"),
        (["::1", "127.0.0.1"], "127.0.0.1"),
        (["127.0.0.2", "127.0.0.1"], "127.0.0.2"),
        (["::ffff:127.0.0.1"], "127.0.0.1"),
        (["0.0.0.0"], "::"),
    ],
)
def test_a_name_may_have_addresses_of_both_families(
    addresses: list[str], bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """IPv6 is used if there is no IPv4; UDP, TCP and HTTP agree."""
    monkeypatch.setattr(socket, "getaddrinfo", Names(*addresses).getaddrinfo)
    address = HostPort("a.example", 0)
    reactor = MemoryReactor()
    bind.listen_tcp(reactor, "flag", address, ServerFactory())
    with closing(bind.open_udp("flag", address, 0)) as sock:
        assert sock.getsockname()[0] == bound

    assert reactor.tcpServers[0][3] == bound


def test_an_ipv6_address_may_have_a_scope() -> None:
    """Which is the number of an interface, or its name."""
    name = socket.if_indextoname(1)
    reactor = MemoryReactor()
    address = HostPort(f"fe80::1%{name}", 0)
    bind.listen_tcp(reactor, "flag", address, ServerFactory())

    assert reactor.tcpServers[0][3] == "fe80::1%1"


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 64 + ".invalid"])
def test_a_name_that_cannot_be_looked_up_is_an_error(host: str) -> None:
    """It has the flag and the address."""
    address = HostPort(host, 0)
    with pytest.raises(BindError, match=rf"^--flag: cannot listen on {host}:0: "):
        bind.open_udp("flag", address, 0)
    with pytest.raises(BindError, match=rf"^--flag: cannot listen on {host}:0: "):
        bind.listen_tcp(MemoryReactor(), "flag", address, ServerFactory())


def test_a_buffer_of_any_size_may_be_asked_for() -> None:
    """A size that exceeds the kernel's int is reduced."""
    with closing(bind.open_udp("flag", HostPort("127.0.0.1", 0), 1 << 40)) as sock:
        assert bind.buffer_size(sock) > 0


def test_the_file_of_a_unix_socket_has_its_mode(tmp_path: Path) -> None:
    """As it was asked for, whatever the umask is."""
    path = tmp_path / "statsd.sock"
    with closing(open_unixgram(path, 0o640)) as sock:
        send(str(path), b"a:1|c")

        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert sock.recv(10) == b"a:1|c"


def test_the_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    """A crash does not prevent the next start."""
    path = str(tmp_path / "statsd.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(path)
    with closing(open_unixgram(path)) as sock:
        send(path, b"a:1|c")

        assert sock.recv(10) == b"a:1|c"


@pytest.mark.parametrize("type_", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_a_socket_in_use_is_not_replaced(
    tmp_path: Path, type_: socket.SocketKind
) -> None:
    """Whether its listener takes datagrams or streams."""
    path = tmp_path / "statsd.sock"
    with socket.socket(socket.AF_UNIX, type_) as other:
        other.bind(str(path))
        if type_ is socket.SOCK_STREAM:
            other.listen()
        with pytest.raises(BindError, match="another process listens"):
            open_unixgram(path)
        assert path.exists()


def test_a_socket_that_cannot_be_checked_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example without permission to connect to it."""

    class Forbidden(socket.socket):
        def connect(self, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    path = tmp_path / "statsd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stale:
        stale.bind(str(path))
    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(BindError, match="Permission denied; remove it"):
        open_unixgram(path)

    assert path.exists()


def test_a_file_that_is_not_a_socket_is_not_replaced(tmp_path: Path) -> None:
    """The error names the flag and the file."""
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(BindError, match=f"^--{FLAG}: .*notes.txt .*not a socket"):
        open_unixgram(path)

    assert path.read_text() == "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract names are Linux's")
def test_an_abstract_name_has_no_file() -> None:
    """`@name` is bound in the abstract name space."""
    # All processes of a machine share these names.
    name = f"crocbot-test-bind-{os.getpid()}"
    with closing(open_unixgram(f"@{name}", 0o600)) as sock:
        send(f"\0{name}", b"a:1|c")

        assert sock.recv(10) == b"a:1|c"
