r"""
Lines to other statsd servers: a copy of each, as it came, over UDP.

    line, line, line  ->  "line\nline\nline\n"  ->  each target

Nothing here waits.  Lines gather until a packet is full or a second has gone by; what
the kernel does not take at once is lost and counted, and the next packet is tried anew.
A target's name is looked up off the reactor's thread, again and again, so a target that
moves is found, and one that is not there yet.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from statsd_bridge.model import HostPort

Tell = Callable[[str, str, int], None]
"""Counts: what happened, in the words of model.Tally.relay; the target; how often."""

Failed = Callable[[str, str], None]
"""Hears of a target that cannot be looked up, and why."""

Destination = tuple[socket.AddressFamily, Any]

LookUp = Callable[[HostPort], Deferred[Destination]]

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
"""A name that is known is asked for so often."""

RETRY_SECONDS = 5.0
"""A name that is not known is asked for so often."""

LARGEST = 65_507
"""Bytes that fit into one UDP datagram of IPv4."""


class Relay:
    """
    Every target of one bridge.  Owned by the reactor's thread.

    `look_up` asks for the address of a target; by default the system does, in a thread.
    """

    def __init__(
        self,
        addresses: Sequence[HostPort],
        packet_length: int,
        tell: Tell,
        failed: Failed,
        reactor: Any,
        look_up: LookUp | None = None,
    ) -> None:
        look_up = look_up or _in_threads(reactor, len(addresses))
        self._targets = [
            _Target(
                address,
                packet_length,
                partial(_told, tell, str(address)),
                partial(failed, str(address)),
                look_up,
            )
            for address in addresses
        ]
        self._reactor = reactor

    def start(self) -> None:
        """Look the names up, and from now on send what has gathered every second."""
        for call, seconds in (
            (self._resolve, RETRY_SECONDS),
            (self.flush, FLUSH_SECONDS),
        ):
            loop = LoopingCall(call)
            loop.clock = self._reactor
            loop.start(seconds)

    def forward(self, lines: Sequence[bytes]) -> None:
        """Take lines for all targets; empty ones say nothing and are left out."""
        for target in self._targets:
            target.add(lines)

    def flush(self) -> None:
        """Send what has gathered."""
        for target in self._targets:
            target.flush()

    def close(self) -> None:
        """Let go of the sockets."""
        for target in self._targets:
            target.close()

    def _resolve(self) -> None:
        for target in self._targets:
            target.resolve(self._reactor.seconds())


class _Target:
    """One statsd server, and the packet for it that is not yet full."""

    def __init__(
        self,
        address: HostPort,
        packet_length: int,
        tell: Callable[..., None],
        failed: Callable[[str], None],
        look_up: LookUp,
    ) -> None:
        self._address = address
        # A packet that is larger than UDP allows would be refused by the kernel.
        self._packet_length = min(packet_length, LARGEST)
        # As there, 0 means that every line travels alone.
        self._longest = (self._packet_length or LARGEST) - 1
        self._tell = tell
        self._failed = failed
        self._look_up = look_up
        self._sockets: dict[socket.AddressFamily, socket.socket] = {}
        self._destination = _literal(address)
        self._is_literal = self._destination is not None
        self._is_asking = False
        self._ask_at = 0.0
        self._gathered: list[bytes] = []
        self._size = 0
        for outcome in OUTCOMES:
            # A counter that is there at 0 can be seen to rise.
            tell(outcome, 0)

    def add(self, lines: Iterable[bytes]) -> None:
        taken = too_long = 0
        for line in filter(None, lines):
            if len(line) > self._longest:
                too_long += 1
                continue
            if self._size + len(line) + 1 > self._packet_length:
                self.flush()
            self._gathered.append(line)
            self._size += len(line) + 1
            taken += 1
        self._tell("lines_relayed", taken)
        self._tell("long_lines", too_long)

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
        except OSError as error:
            is_full = error.errno in (errno.EAGAIN, errno.ENOBUFS)
            self._tell("lost_full" if is_full else "lost_error", lines)

    def resolve(self, now: float) -> None:
        # One question at a time: a server for names that hangs holds one thread.
        if self._is_literal or self._is_asking or now < self._ask_at:
            return
        self._is_asking = True
        self._look_up(self._address).addBoth(self._resolved, now)

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _resolved(self, answer: Destination | Failure, asked: float) -> None:
        self._is_asking = False
        if isinstance(answer, Failure):
            # The last answer, if there was one, is the best there is.
            self._failed(answer.getErrorMessage())
        else:
            self._destination = answer
            self._ask_at = asked + RESOLVE_SECONDS

    def _socket(self, family: socket.AddressFamily) -> socket.socket:
        sock = self._sockets.get(family)
        if sock is None:
            sock = self._sockets[family] = socket.socket(family, socket.SOCK_DGRAM)
            sock.setblocking(False)
        return sock


def _told(tell: Tell, target: str, what: str, count: int = 1) -> None:
    tell(what, target, count)


def _in_threads(reactor: Any, most: int) -> LookUp:
    """
    Have the system look names up, each in a thread.

    Daemon threads: nobody waits for a server for names that hangs, a stop neither.
    """
    pool = ThreadPool(0, most, "relay")
    pool.threadFactory = partial(pool.threadFactory, daemon=True)  # type: ignore[assignment]
    pool.start()

    def look_up(address: HostPort) -> Deferred[Destination]:
        return deferToThreadPool(reactor, pool, _ask, address)

    return look_up


def _ask(address: HostPort, flags: int = 0) -> Destination:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_DGRAM, flags=flags
    )
    # IPv4 first, as there: what listens on `localhost` rarely has both.
    four = [each for each in found if each[0] == socket.AF_INET]
    family, _, _, _, where = (four or found)[0]
    return family, where


def _literal(address: HostPort) -> Destination | None:
    """Read an address that needs no look-up."""
    try:
        return _ask(address, socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        # A name; one that cannot be is told of when it is looked up.
        return None
