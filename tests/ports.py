"""Free ports, none of which two tests ever share."""

from __future__ import annotations

import itertools
import os
import socket

HOST = "127.0.0.1"
# Each worker of pytest-xdist has its own range, below 32,768, where the kernel takes
# ports for sockets that name none: nothing takes a port between the probe and its use.
_FIRST, _PORTS_PER_PROCESS, _PROCESSES = 10_000, 250, 88
_first = _FIRST + _PORTS_PER_PROCESS * (os.getpid() % _PROCESSES)
_candidates = itertools.cycle(range(_first, _first + _PORTS_PER_PROCESS))


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
