"""
Sockets that systemd holds to the doors that take them over.

    LISTEN_PID=812  LISTEN_FDS=2  LISTEN_FDNAMES=udp:http     set by systemd
                    descriptors 3 and 4

systemd opens them before the bridge starts and keeps them while it is down, so what
arrives meanwhile waits in the kernel.  An inherited socket takes the place of the
address of its flag.  The names are FileDescriptorName= in the socket units.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from statsd_bridge.errors import BindError
from statsd_bridge.listener.sockets import enlarge

FIRST = 3
"""The first descriptor, by the protocol of sd_listen_fds(3)."""

FLAGS = {
    "udp": "statsd.listen-udp",
    "tcp": "statsd.listen-tcp",
    "http": "web.listen-address",
}
"""What a socket may be called, and the flag that it stands for."""

CHOICE = "udp, tcp or http"


class Inherited:
    """The sockets of one start, by flag; each is taken over once."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        self._sockets: dict[str, socket.socket] = {}
        # Variables that were meant for another process are none of our business.
        if environment.get("LISTEN_PID") != str(pid):
            return
        count = environment.get("LISTEN_FDS", "")
        names = environment.get("LISTEN_FDNAMES", "").split(":")
        if str(len(names)) != count:
            raise BindError(
                f"LISTEN_FDNAMES: has {len(names)} names for {count!r} sockets; set"
                f" FileDescriptorName= in each socket unit to {CHOICE}"
            )
        for descriptor, name in enumerate(names, FIRST):
            self._adopt(name, descriptor)

    def udp(self, read_buffer: int) -> tuple[socket.socket, int] | None:
        """Take over the socket for UDP; returns it and the buffer granted."""
        sock = self._sockets.pop("statsd.listen-udp", None)
        return (sock, enlarge(sock, read_buffer)) if sock is not None else None

    def listen(self, flag: str, reactor: Any, factory: Any) -> Any:
        """Have the reactor take over a socket for streams; returns its port, if any."""
        sock = self._sockets.pop(flag, None)
        if sock is None:
            return None
        # The reactor makes a descriptor of its own.
        with sock:
            return reactor.adoptStreamPort(sock.fileno(), sock.family, factory)

    def refuse_rest(self) -> None:
        """A BindError tells of a socket that nobody took: data would rot in it."""
        for flag in self._sockets:
            raise BindError(
                f"--{flag}: is empty, but systemd holds a socket for it; leave out the"
                " flag, or the socket unit"
            )

    def _adopt(self, name: str, descriptor: int) -> None:
        flag = FLAGS.get(name)
        if flag is None or flag in self._sockets:
            raise BindError(
                f"LISTEN_FDNAMES: {name!r} names no socket of the bridge, or a second"
                f" one; set FileDescriptorName= in each socket unit to {CHOICE}"
            )
        sock = self._sockets[flag] = _opened(name, descriptor)
        kind, line = (
            (socket.SOCK_DGRAM, "ListenDatagram")
            if name == "udp"
            else (socket.SOCK_STREAM, "ListenStream")
        )
        if sock.type != kind or sock.family not in (socket.AF_INET, socket.AF_INET6):
            raise BindError(
                f"LISTEN_FDNAMES: the socket {name!r} is of another kind; its unit"
                f" needs {line}= with an address and a port"
            )


def _opened(name: str, descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise BindError(
            f"LISTEN_FDS: descriptor {descriptor}, {name!r}, is no socket:"
            f" {error.strerror}; let systemd set LISTEN_FDS"
        ) from error
    os.set_inheritable(descriptor, False)
    sock.setblocking(False)
    return sock
