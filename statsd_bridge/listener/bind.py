"""
Open listening sockets; a BindError names the flag and what to write instead.

    127.0.0.1:9125, [::1]:9125, :9125 (every interface)     /run/statsd.sock, @abstract
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from twisted.internet import tcp, unix
from twisted.internet.error import CannotListenError

from statsd_bridge.errors import BindError
from statsd_bridge.model import HostPort

# Linux: set the buffer regardless of net.core.rmem_max; needs CAP_NET_ADMIN.
SO_RCVBUFFORCE = 33

MAX_BUFFER_BYTES = 1 << 30
"""The kernel doubles the requested size, in an int."""

MAX_PENDING_CONNECTIONS = 1_024
"""Connections that the kernel holds until the reactor accepts them."""

_UNIX_ADVICE = "choose a path in a directory that exists and is writable"
_IP_ADVICE = "choose a free address of this machine"


class _Interface(NamedTuple):
    """Where to listen: an address for `bind`, and its IP address with a scope."""

    family: socket.AddressFamily
    sockaddr: Any
    ip: str
    is_every: bool = False
    """Whether it is every interface, IPv4 and IPv6 if the machine has both."""


def _resolve(flag: str, address: HostPort, type_: socket.SocketKind) -> _Interface:
    """
    Return what a host means, as in Go; raise BindError if it cannot be looked up.

    An empty host, 0.0.0.0 and [::] are every interface, IPv4 and IPv6.  Of a name an
    IPv4 address is preferred to an IPv6 address.
    """
    port = address.port
    try:
        found = socket.getaddrinfo(address.host or "::", port, type=type_)
    except (OSError, UnicodeError) as error:
        # UnicodeError: a label of the host name is too long.
        raise _bind_error(flag, address, error, _IP_ADVICE) from error
    ipv4 = [each for each in found if each[0] == socket.AF_INET]
    sockaddr: Any = (ipv4 or found)[0][4]
    text = str(sockaddr[0])
    ip = ipaddress.ip_address(text)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    if ip.is_unspecified:
        return _every_interface(port)
    if isinstance(ip, ipaddress.IPv4Address):
        return _Interface(socket.AF_INET, (str(ip), port), str(ip))
    scope = f"%{sockaddr[3]}" if sockaddr[3] and "%" not in text else ""
    return _Interface(socket.AF_INET6, sockaddr, text + scope)


def _every_interface(port: int) -> _Interface:
    if socket.has_dualstack_ipv6():
        return _Interface(socket.AF_INET6, ("::", port), "::", is_every=True)
    every = "0.0.0.0"  # noqa: S104
    return _Interface(socket.AF_INET, (every, port), every, is_every=True)


def open_udp(flag: str, address: HostPort, read_buffer: int) -> socket.socket:
    """
    Open a non-blocking UDP socket with a receive buffer of `read_buffer` bytes.

    An empty host, 0.0.0.0 and [::] are every interface, IPv4 and IPv6.
    """
    interface = _resolve(flag, address, socket.SOCK_DGRAM)
    sock = socket.socket(interface.family, socket.SOCK_DGRAM)
    with _binding(sock, read_buffer, flag, address, _IP_ADVICE):
        if interface.family == socket.AF_INET6:
            v6_only = not interface.is_every
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
        sock.bind(interface.sockaddr)
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

    An empty host, 0.0.0.0 and [::] are every interface, IPv4 and IPv6.
    """
    host = _resolve(flag, address, socket.SOCK_STREAM).ip
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
    backlog = MAX_PENDING_CONNECTIONS
    try:
        _UnixPort(
            os.fsencode(address), factory, backlog, mode, reactor
        ).startListening()
    except (CannotListenError, OSError, ValueError) as error:
        # ValueError: the path has a NUL or is too long.
        raise _bind_error(flag, path, error, _UNIX_ADVICE) from error


class SocketFile:
    """
    The file of a Unix socket that was just bound; an abstract name has none.

    Another process may bind its path meanwhile, so device and inode are remembered.
    No other file has them while the socket is open.
    """

    def __init__(self, sock: socket.socket) -> None:
        name = sock.getsockname()
        # An abstract name is bytes and ends with its socket.
        self._path = Path(name) if isinstance(name, str) and name else None
        self._identity = self._look()

    def remove(self) -> None:
        """Remove the file, unless the path leads to another one, or to none."""
        if self._path is not None and self._identity and self._look() == self._identity:
            with suppress(OSError):
                self._path.unlink()

    def _look(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            status = self._path.lstat()
        except OSError:
            return None
        return status.st_dev, status.st_ino


class _UnixPort(unix.Port):
    """A port of Twisted that removes its file only if it is still its own."""

    _file: SocketFile

    def startListening(self) -> None:
        super().startListening()
        self._file = SocketFile(self.socket)

    def connectionLost(self, reason: Any) -> None:
        self._file.remove()
        # Not unix.Port's: that removes whatever is at the path.
        tcp.Port.connectionLost(self, reason)


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
