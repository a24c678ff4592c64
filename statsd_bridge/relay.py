r"""
Lines to other statsd servers: a copy of each, as it came, over UDP.

    line, line, line  ->  "line\nline\nline\n"  ->  each target

Nothing here waits.  Lines gather until a packet is full or a second has gone by; what
the kernel does not take at once is lost and counted, and the next packet is tried anew.
A target's name is looked up off the reactor's thread, again and again, so a target that
moves is found.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from statsd_bridge.settings import Address

Tell = Callable[[str, str, int], None]
"""Counts: what happened, in the words of model.Tally.relay; the target; how often."""

Failed = Callable[[str, str], None]
"""Hears of a target that cannot be looked up, and why."""

OUTCOMES = (
    "packets",
    "long_lines",
    "lines_relayed",
    "lost_unresolved",
    "lost_full",
    "lost_error",
)

FLUSH_SECONDS = 1.0
RESOLVE_SECONDS = 30.0

LARGEST = 65_507
"""Bytes that fit into one UDP datagram of IPv4."""

Destination = tuple[socket.AddressFamily, Any]


class Relay:
    """Every target of one bridge.  Owned by the reactor's thread."""

    def __init__(
        self,
        addresses: Iterable[Address],
        packet_length: int,
        tell: Tell,
        failed: Failed,
        reactor: Any,
    ) -> None:
        self._targets = [
            _Target(address, packet_length, tell, failed, reactor)
            for address in addresses
        ]
        self._reactor = reactor

    def start(self) -> None:
        """Look the names up, and from now on send what has gathered every second."""
        for call, seconds in (
            (self._resolve, RESOLVE_SECONDS),
            (self.flush, FLUSH_SECONDS),
        ):
            loop = LoopingCall(call)
            loop.clock = self._reactor
            loop.start(seconds)

    def forward(self, lines: Iterable[bytes]) -> None:
        """Take lines for all targets; empty ones say nothing and are left out."""
        for target in self._targets:
            for line in lines:
                if line:
                    target.add(line)

    def flush(self) -> None:
        """Send what has gathered."""
        for target in self._targets:
            target.flush()

    def _resolve(self) -> None:
        for target in self._targets:
            target.resolve()


class _Target:
    """One statsd server, and the packet for it that is not yet full."""

    def __init__(
        self,
        address: Address,
        packet_length: int,
        tell: Tell,
        failed: Failed,
        reactor: Any,
    ) -> None:
        self._address = address
        self._packet_length = packet_length
        # As there, 0 means that every line travels alone.
        self._longest = packet_length - 1 if packet_length else LARGEST - 1
        self._tell = partial(_told, tell, str(address))
        self._failed = partial(failed, str(address))
        self._reactor = reactor
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self._destination = _literal(address)
        self._is_literal = self._destination is not None
        self._is_asking = False
        self._gathered: list[bytes] = []
        self._size = 0
        for outcome in OUTCOMES:
            # A counter that is there at 0 can be seen to rise.
            self._tell(outcome, 0)

    def add(self, line: bytes) -> None:
        if len(line) > self._longest:
            self._tell("long_lines")
            return
        if self._size + len(line) + 1 > self._packet_length:
            self.flush()
        self._gathered.append(line)
        self._size += len(line) + 1
        self._tell("lines_relayed")

    def flush(self) -> None:
        if not self._gathered:
            return
        lines = len(self._gathered)
        packet = b"\n".join([*self._gathered, b""])
        self._gathered.clear()
        self._size = 0
        if self._destination is None:
            self._tell("lost_unresolved", lines)
            return
        family, where = self._destination
        self._tell("packets")
        try:
            self._socket(family).sendto(packet, where)
        except BlockingIOError:
            self._tell("lost_full", lines)
        except OSError:
            self._tell("lost_error", lines)

    def resolve(self) -> None:
        # One question at a time: a server for names that hangs holds one thread.
        if self._is_literal or self._is_asking:
            return
        self._is_asking = True
        pool = self._reactor.getThreadPool()
        asked = deferToThreadPool(self._reactor, pool, _look_up, self._address)
        asked.addBoth(self._resolved)

    def _resolved(self, answer: Destination | Failure) -> None:
        self._is_asking = False
        if isinstance(answer, Failure):
            # The last answer, if there was one, is the best there is.
            self._failed(answer.getErrorMessage())
        else:
            self._destination = answer

    def _socket(self, family: socket.AddressFamily) -> socket.socket:
        sock = self._sockets.get(family)
        if sock is None:
            sock = self._sockets[family] = socket.socket(family, socket.SOCK_DGRAM)
            sock.setblocking(False)
        return sock


def _told(tell: Tell, target: str, what: str, count: int = 1) -> None:
    tell(what, target, count)


def _look_up(address: Address, flags: int = 0) -> Destination:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_DGRAM, flags=flags
    )
    family, _, _, _, where = found[0]
    return family, where


def _literal(address: Address) -> Destination | None:
    """Read an address that needs no look-up."""
    try:
        return _look_up(address, socket.AI_NUMERICHOST)
    except OSError:
        return None
