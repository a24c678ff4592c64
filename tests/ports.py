"""Free ports, none of which two tests ever share."""

from __future__ import annotations

import itertools
import os
import socket

HOST = "127.0.0.1"
# Each worker of pytest-xdist has its own range, below 32,768, where the kernel takes
# ports for sockets that name none: nothing takes a port between the probe and its use.
_FIRST, _PORTS_PER_PROCESS, _PROCESSES = 10_000, 250, 88


def _own_range() -> tuple[socket.socket, range]:
    """Return the ports of this process, and the socket that shows that it has them."""
    for number in range(os.getpid(), os.getpid() + _PROCESSES):
        first = _FIRST + _PORTS_PER_PROCESS * (number % _PROCESSES)
        guard = socket.socket()
        try:
            guard.bind((HOST, first))
        except OSError:
            guard.close()
        else:
            return guard, range(first + 1, first + _PORTS_PER_PROCESS)
    raise RuntimeError("there are more processes of tests than ranges of ports")


_guard, _ports = _own_range()
_candidates = itertools.cycle(_ports)


def free_port() -> int:
    """Return a port of the loopback interface that is free for UDP and TCP."""
    return next(port for port in _candidates if _is_free(port))


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                return False
    return True
