"""
Where to listen for streams, to ports of the reactor; a BindError names the flag.

    127.0.0.1:9125, [::1]:9125, :9125 (every interface)     /run/statsd.sock, @abstract
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.error import CannotListenError

from statsd_bridge.errors import BindError
from statsd_bridge.listener.sockets import make_way

EVERYWHERE = "::" if socket.has_dualstack_ipv6() else ""

WAITING = 1_024
"""Connections that the kernel may hold until the reactor accepts them."""


def listen_tcp(reactor: Any, flag: str, host: str, port: int, factory: Any) -> Any:
    """
    Have the reactor listen; returns its port.

    An empty host, or 0.0.0.0, is every interface, IPv4 and IPv6: only if asked for.
    """
    interface = EVERYWHERE if host in ("", "0.0.0.0") else host  # noqa: S104
    return _opened(
        flag,
        f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        "choose a free address of this machine",
        lambda: reactor.listenTCP(port, factory, backlog=WAITING, interface=interface),
    )


def listen_unix(reactor: Any, flag: str, path: str, mode: int, factory: Any) -> Any:
    """
    Have the reactor listen on a Unix socket; returns its port.

    `path` may be `@name`, which has no file; `mode` is the file's, as chmod takes it.
    """
    where = make_way(flag, path)
    return _opened(
        flag,
        path,
        "choose a path in a directory that exists and may be written",
        lambda: reactor.listenUNIX(where, factory, backlog=WAITING, mode=mode),
    )


def _opened(flag: str, where: str, right: str, listen: Callable[[], Any]) -> Any:
    try:
        return listen()
    except (CannotListenError, OSError, ValueError) as error:
        # ValueError: a name that cannot be one, as it has a NUL or is too long.
        reason = getattr(error, "socketError", error)
        raise BindError(
            f"--{flag}: cannot listen on {where}: {reason}; {right}"
        ) from error
