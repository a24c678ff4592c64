"""
Where to listen, to open sockets; a BindError names the flag and what would be right.

    127.0.0.1:9125, [::1]:9125, :9125 (every interface)     /run/statsd.sock, @abstract
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable

from statsd_bridge.errors import BindError

# Linux: the buffer asked for whatever net.core.rmem_max says; for CAP_NET_ADMIN only.
SO_RCVBUFFORCE = 33

MOST_BUFFER = 1 << 30
"""Bytes of a buffer that a kernel can be asked for: it doubles them, in an int."""


def open_udp(host: str, port: int, read_buffer: int) -> tuple[socket.socket, int]:
    """
    Open a non-blocking UDP socket; returns it and the buffer granted, in bytes.

    An empty host, or 0.0.0.0, is every interface, IPv4 and IPv6: only if asked for.
    """
    everywhere = host in ("", "0.0.0.0")  # noqa: S104
    if everywhere and socket.has_dualstack_ipv6():
        family, where = socket.AF_INET6, "::"
    else:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        where = host or "0.0.0.0"  # noqa: S104

    def bind(sock: socket.socket) -> None:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not everywhere)
        sock.bind((where, port))

    try:
        sock = _open(family, read_buffer, bind)
    except (OSError, UnicodeError) as error:
        # UnicodeError: a name longer than names are.
        raise BindError(
            f"--statsd.listen-udp: cannot listen on {host}:{port}:"
            f" {getattr(error, 'strerror', None) or error}; choose a free address of"
            " this machine"
        ) from error
    return sock, _granted(sock)


def open_unixgram(
    path: str, mode: int | None, read_buffer: int
) -> tuple[socket.socket, int]:
    """
    Open a non-blocking Unix datagram socket; returns it and the buffer granted.

    `path` may be `@name`, which is in Linux's abstract name space and has no file.
    What another process has left behind is replaced.  `mode` is the file's, as chmod
    takes it; None leaves it as the system makes it.
    """
    flag = "statsd.listen-unixgram"
    where = make_way(flag, path)

    def bind(sock: socket.socket) -> None:
        sock.bind(where)
        if mode is not None and not where.startswith("\0"):
            os.chmod(where, mode)

    try:
        sock = _open(socket.AF_UNIX, read_buffer, bind)
    except OSError as error:
        raise BindError(
            f"--{flag}: cannot listen on {path}: {error.strerror or error}; choose a"
            " path in a directory that exists and may be written"
        ) from error
    return sock, _granted(sock)


def make_way(flag: str, path: str) -> str:
    """
    Remove the socket that a dead process left at a path; returns what to bind to.

    A BindError tells of a living listener, and of a file that is no socket.
    """
    if path.startswith("@"):
        return "\0" + path[1:]
    try:
        found = os.lstat(path).st_mode
    except OSError:
        # There is nothing, or bind will tell.
        return path
    if not stat.S_ISSOCK(found):
        raise BindError(
            f"--{flag}: {path} is there and no socket; choose another path, or remove"
            " it"
        )
    try:
        alive = _is_alive(path)
    except OSError as error:
        raise BindError(
            f"--{flag}: {path} is there, and whether somebody listens cannot be told:"
            f" {error.strerror}; remove it, or choose another path"
        ) from error
    if alive:
        raise BindError(
            f"--{flag}: another process listens on {path}; choose another path, or"
            " stop it"
        )
    os.unlink(path)
    return path


def enlarge(sock: socket.socket, read_buffer: int) -> int:
    """Have a receive buffer of so many bytes or more; returns what is granted."""
    if _granted(sock) < read_buffer:
        _ask_for_buffer(sock, read_buffer)
    return _granted(sock)


def _is_alive(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(path)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                return False
            # That is what a listener for streams says.
            if error.errno != errno.EPROTOTYPE:
                raise
    return True


def _open(
    family: socket.AddressFamily,
    read_buffer: int,
    bind: Callable[[socket.socket], None],
) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        enlarge(sock, read_buffer)
        bind(sock)
    except OSError:
        sock.close()
        raise
    return sock


def _ask_for_buffer(sock: socket.socket, size: int) -> None:
    size = min(size, MOST_BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    if _granted(sock) < size and _is_linux():
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
        except OSError:
            # Not allowed: whoever opens the door warns.
            return


def _granted(sock: socket.socket) -> int:
    granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    # Linux doubles what was asked for, to have room for its own bookkeeping.
    return granted // 2 if _is_linux() else granted


def _is_linux() -> bool:
    return os.uname().sysname == "Linux"
