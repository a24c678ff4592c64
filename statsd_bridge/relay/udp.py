"""Send UDP packets to a host whose name is resolved again and again."""

from __future__ import annotations

import errno
import socket
from enum import StrEnum
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from statsd_bridge.log import RateLimitedLog
from statsd_bridge.model import HostPort
from statsd_bridge.threads import DaemonThreads

SocketAddress = tuple[socket.AddressFamily, Any]
"""A resolved address, as `sendto` of a socket of this family takes it."""

RESOLVE_SECONDS = 30.0
"""Between two look-ups of a name that was resolved."""

RETRY_SECONDS = 5.0
"""Between two look-ups of a name that was not."""


class LossReason(StrEnum):
    """Why a packet was not sent: `reason` of statsd_bridge_relay_lines_lost_total."""

    UNRESOLVED = "unresolved"
    FULL = "full"
    ERROR = "error"
    REFUSED = "refused"
    """The target's host has no listener on the port, or cannot be reached."""


class Resolver:
    """Resolves names in at most `max_threads` threads."""

    def __init__(self, reactor: Any, max_threads: int) -> None:
        self._threads = DaemonThreads(reactor, "relay", max_threads)

    def resolve(self, address: HostPort) -> Deferred[SocketAddress]:
        """Look a name up; the result fails with an OSError or UnicodeError."""
        return self._threads.run(_look_up, address)


class UdpTarget:
    """One destination.  Nothing here waits; the caller counts what is lost."""

    def __init__(self, address: HostPort, resolver: Resolver) -> None:
        self._address = address
        self._resolver = resolver
        self._errors = RateLimitedLog()
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self.destination = _parse_literal(address)
        """The address of the host, if it is known."""
        self._is_literal = self.destination is not None
        self._is_resolving = False
        self._resolve_at = 0.0
        self.is_unknown = False
        """Whether the name was looked up and has no address."""

    def refresh(self, now: float) -> None:
        """Start to look the name up, if that is due and no look-up is running."""
        if self._is_literal or self._is_resolving or now < self._resolve_at:
            return
        # This may raise, and then the next call tries again.
        resolved = self._resolver.resolve(self._address)
        self._is_resolving = True
        resolved.addBoth(self._resolved, now)

    def resolve_soon(self) -> None:
        """Look the name up at the next `refresh`: the host may have another address."""
        self._resolve_at = 0.0

    def send(self, packet: bytes) -> LossReason | None:
        """Send a packet; return why it is lost, or None if the kernel took it."""
        if self.destination is None:
            return LossReason.UNRESOLVED
        family, address = self.destination
        try:
            self._socket(family).sendto(packet, address)
        except OSError as error:
            is_full = error.errno in (errno.EAGAIN, errno.ENOBUFS)
            return LossReason.FULL if is_full else LossReason.ERROR
        return None

    def _resolved(self, result: SocketAddress | Failure, started: float) -> None:
        self._is_resolving = False
        if isinstance(result, Failure):
            # Go on with the last address, if there was one.
            self._errors.error(
                "a relay target cannot be looked up",
                target=str(self._address),
                error=result.getErrorMessage(),
            )
            self.is_unknown = self.destination is None
            return
        self.destination = result
        self.is_unknown = False
        self._resolve_at = started + RESOLVE_SECONDS

    def _socket(self, family: socket.AddressFamily) -> socket.socket:
        sock = self._sockets.get(family)
        if sock is None:
            sock = self._sockets[family] = socket.socket(family, socket.SOCK_DGRAM)
            sock.setblocking(False)
        return sock


def _look_up(address: HostPort, flags: int = 0) -> SocketAddress:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_DGRAM, flags=flags
    )
    # Prefer IPv4, like statsd_exporter: servers on `localhost` rarely listen on both.
    ipv4 = [each for each in found if each[0] == socket.AF_INET]
    family, _, _, _, sockaddr = (ipv4 or found)[0]
    return family, sockaddr


def _parse_literal(address: HostPort) -> SocketAddress | None:
    """Return the destination of an IP address, or None for a name."""
    try:
        return _look_up(address, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return None
