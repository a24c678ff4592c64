"""
Open listening sockets; a BindError names the flag and what to write instead.

    127.0.0.1:9125, [::1]:9125, :9125 (every interface)     /run/statsd.sock, @abstract
"""

from __future__ import annotations

import errno
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError

from statsd_bridge.errors import BindError
from statsd_bridge.model import HostPort

# Linux: set the buffer regardless of net.core.rmem_max; needs CAP_NET_ADMIN.
SO_RCVBUFFORCE = 33

MAX_BUFFER_BYTES = 1 << 30
"""The kernel doubles the requested size, in an int."""

MAX_PENDING_CONNECTIONS = 1_024
"""Connections that the kernel holds until the reactor accepts them."""

_ANY_HOSTS = ("", "0.0.0.0")  # noqa: S104

_UNIX_ADVICE = "choose a path in a directory that exists and is writable"
_IP_ADVICE = "choose a free address of this machine"


def open_udp(flag: str, address: HostPort, read_buffer: int) -> socket.socket:
    """
    Open a non-blocking UDP socket with a receive buffer of `read_buffer` bytes.

    An empty host, or 0.0.0.0, is every interface, IPv4 and IPv6.
    """
    every_interface = address.host in _ANY_HOSTS
    is_ipv6 = ":" in address.host or (every_interface and socket.has_dualstack_ipv6())
    sock = socket.socket(
        socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM
    )
    with _binding(sock, read_buffer, flag, address, _IP_ADVICE):
        if is_ipv6:
            v6_only = not every_interface
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
        sock.bind(("" if every_interface else address.host, address.port))
    return sock


def open_unixgram(
    flag: str, path: str, *, mode: int | None, read_buffer: int
) -> socket.socket:
    """
    Open a non-blocking Unix datagram socket; a stale one at `path` is replaced.

    `path` may be `@name`, which is in Linux's abstract name space and has no file.
    `mode` is that of the file; None keeps the process's default.
    """
    address = remove_stale_socket(flag, path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with _binding(sock, read_buffer, flag, path, _UNIX_ADVICE):
        sock.bind(address)
        if mode is not None and not address.startswith("\0"):
            Path(address).chmod(mode)
    return sock


@contextmanager
def _binding(
    sock: socket.socket, read_buffer: int, flag: str, address: object, advice: str
) -> Iterator[None]:
    """Prepare a socket to be bound; close it and raise BindError if that fails."""
    try:
        sock.setblocking(False)
        enlarge_buffer(sock, read_buffer)
        yield
    except (OSError, UnicodeError) as error:
        # UnicodeError: a label of the host name is too long.
        sock.close()
        raise _bind_error(flag, address, error, advice) from error


def listen_tcp(reactor: Any, flag: str, address: HostPort, factory: Any) -> Any:
    """
    Make the reactor accept TCP connections for a factory; return its port.

    An empty host, or 0.0.0.0, is every interface, IPv4 and IPv6.
    """
    host = address.host
    if host in _ANY_HOSTS:
        host = "::" if socket.has_dualstack_ipv6() else ""
    try:
        return reactor.listenTCP(
            address.port, factory, backlog=MAX_PENDING_CONNECTIONS, interface=host
        )
    except (CannotListenError, OSError, ValueError) as error:
        raise _bind_error(flag, address, error, _IP_ADVICE) from error


def listen_unix(reactor: Any, flag: str, path: str, mode: int, factory: Any) -> None:
    """
    Make the reactor accept Unix stream connections; a stale socket is replaced.

    `path` may be `@name`, which has no file; `mode` is that of the file.
    """
    address = remove_stale_socket(flag, path)
    try:
        reactor.listenUNIX(address, factory, backlog=MAX_PENDING_CONNECTIONS, mode=mode)
    except (CannotListenError, OSError, ValueError) as error:
        # ValueError: the path has a NUL or is too long.
        raise _bind_error(flag, path, error, _UNIX_ADVICE) from error


def remove_stale_socket(flag: str, path: str) -> str:
    """
    Remove the socket that a dead process left at `path`; return the address to bind.

    Raise BindError if a process listens on it or it is not a socket.
    """
    if path.startswith("@"):
        return "\0" + path[1:]
    file = Path(path)
    try:
        mode = file.lstat().st_mode
    except (OSError, ValueError):
        # It does not exist, or bind() raises the error.
        return path
    if not stat.S_ISSOCK(mode):
        raise BindError(
            f"--{flag}: {path} exists and is not a socket; choose another path, or"
            " remove it"
        )
    try:
        has_listener = _has_listener(path)
    except OSError as error:
        raise BindError(
            f"--{flag}: cannot check whether a process listens on {path}:"
            f" {error.strerror}; remove it, or choose another path"
        ) from error
    if has_listener:
        raise BindError(
            f"--{flag}: another process listens on {path}; choose another path, or"
            " stop it"
        )
    file.unlink()
    return path


def _has_listener(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(path)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                return False
            # EPROTOTYPE: the listener is a stream socket.
            if error.errno != errno.EPROTOTYPE:
                raise
    return True


def enlarge_buffer(sock: socket.socket, size: int) -> None:
    """Raise a socket's receive buffer to `size` bytes, or as near as permitted."""
    if buffer_size(sock) >= size:
        return
    size = min(size, MAX_BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    if buffer_size(sock) < size and sys.platform == "linux":
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
        except OSError:
            # Not permitted: the caller compares and warns.
            return


def buffer_size(sock: socket.socket) -> int:
    """Return the size of a socket's receive buffer, as `enlarge_buffer` takes it."""
    granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    # Linux doubles the size, to have space for its own bookkeeping.
    return granted // 2 if sys.platform == "linux" else granted


def _bind_error(flag: str, address: object, error: Exception, advice: str) -> BindError:
    error = getattr(error, "socketError", error)
    reason = getattr(error, "strerror", None) or error
    return BindError(f"--{flag}: cannot listen on {address}: {reason}; {advice}")
