"""
Sockets that systemd opened before the bridge started, and keeps while it is down.

    LISTEN_PID=812  LISTEN_FDS=2  LISTEN_FDNAMES=udp:http     set by systemd
                    descriptors 3 and 4

A socket replaces the address of its flag.  Its name is FileDescriptorName= in the
socket unit: udp, tcp or http.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from typing import Any

from twisted.python.systemd import ListenFDs

from statsd_bridge.errors import BindError
from statsd_bridge.listener import bind
from statsd_bridge.model import HostPort

FLAGS = {
    "udp": "statsd.listen-udp",
    "tcp": "statsd.listen-tcp",
    "http": "web.listen-address",
}
"""The names that a socket may have, and the flag that each stands for."""


class InheritedSockets:
    """The sockets of one start, by flag; each can be taken over once."""

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        """Read the variables of systemd and remove them from `environment`."""
        is_for_this_process = environment.get("LISTEN_PID") == str(os.getpid())
        names = environment.get("LISTEN_FDNAMES", "")
        inherited = ListenFDs.fromEnvironment(environment)
        named = inherited.inheritedNamedDescriptors()
        is_complete = named and len(named) == len(inherited.inheritedDescriptors())
        if is_for_this_process and not (is_complete and named.keys() <= FLAGS.keys()):
            raise BindError(
                f"LISTEN_FDNAMES: {names!r} does not name each of the sockets once;"
                " set FileDescriptorName= in each socket unit to udp, tcp or http"
            )
        self._sockets = {FLAGS[name]: _adopt(name, fd) for name, fd in named.items()}

    def open_udp(self, flag: str, address: HostPort, read_buffer: int) -> socket.socket:
        """Return the inherited UDP socket, or one that listens on `address`."""
        sock = self._sockets.pop(flag, None)
        if sock is None:
            return bind.open_udp(flag, address, read_buffer)
        bind.enlarge_buffer(sock, read_buffer)
        return sock

    def listen_tcp(
        self, reactor: Any, flag: str, address: HostPort, factory: Any
    ) -> HostPort:
        """
        Accept connections on the inherited socket, or on `address`.

        Return the address that the reactor listens on.
        """
        sock = self._sockets.pop(flag, None)
        if sock is None:
            port = bind.listen_tcp(reactor, flag, address, factory)
        else:
            # The reactor duplicates the descriptor.
            with sock:
                port = reactor.adoptStreamPort(sock.fileno(), sock.family, factory)
        host = port.getHost()
        return HostPort(host.host, host.port)

    def reject_unused(self) -> None:
        """Raise BindError for a socket that was not taken over: it would fill up."""
        for flag in self._sockets:
            raise BindError(
                f"--{flag}: is empty, but systemd holds a socket for it; remove the"
                " flag, or the socket unit"
            )


def _adopt(name: str, descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise BindError(
            f"LISTEN_FDS: descriptor {descriptor}, {name!r}, is not a socket:"
            f" {error.strerror}; let systemd set LISTEN_FDS"
        ) from error
    os.set_inheritable(descriptor, False)
    sock.setblocking(False)
    is_udp = name == "udp"
    expected = socket.SOCK_DGRAM if is_udp else socket.SOCK_STREAM
    if sock.type != expected or sock.family not in (socket.AF_INET, socket.AF_INET6):
        key = "ListenDatagram" if is_udp else "ListenStream"
        raise BindError(
            f"LISTEN_FDNAMES: the socket {name!r} has the wrong type; its unit needs"
            f" {key}= with an address and a port"
        )
    return sock
