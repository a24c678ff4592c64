"""
Datagrams to the statsd receiver: fire and forget, but every loss is counted.

    resolve, in a thread --> connected, non-blocking UDP socket
    send(datagram) ----------------^

Rules:

- `send` never blocks and never raises; a datagram that the kernel does not take is
  lost, and its lines are counted by reason.
- The kernel reports a refusal at the *next* send: it is charged to the datagram before,
  and the current one, which was not sent, is tried once more.
- The name is resolved at start, every 30 s, and 1 s after a loss; the old address stays
  if that fails.  A changed address and a loss both get a new socket, since a new source
  port bypasses a stale NAT entry.  A loss also moves on to the next address of the
  name: `localhost` may be ::1 first and answer only on 127.0.0.1.
- At most one look-up is in progress, however slow the resolver is.
- Until the first look-up succeeds there is no socket (`connected` is false); callers
  keep their numbers until then.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from crocbot import log
from crocbot.backoff import Backoff
from crocbot.model import HostPort
from crocbot.telemetry.labels import LossReason

SocketAddress = tuple[int, Any]
"""An address family and what connect() takes in it."""

Resolve = Callable[[HostPort], Awaitable[list[SocketAddress]]]
Connect = Callable[[SocketAddress], socket.socket | None]

_LOSS_REASONS = {
    errno.ECONNREFUSED: LossReason.REFUSED,
    errno.EAGAIN: LossReason.BUFFER_FULL,
    errno.EWOULDBLOCK: LossReason.BUFFER_FULL,
    errno.ENOBUFS: LossReason.BUFFER_FULL,
    errno.ENETUNREACH: LossReason.UNREACHABLE,
    errno.EHOSTUNREACH: LossReason.UNREACHABLE,
    errno.ENETDOWN: LossReason.UNREACHABLE,
    errno.EHOSTDOWN: LossReason.UNREACHABLE,
}

logger = log.logger(__name__)


async def resolve(receiver: HostPort) -> list[SocketAddress]:
    """
    Ask the system's resolver in a daemon thread; raises what getaddrinfo raises.

    A resolver may take half a minute.  The executor of asyncio would delay the end of
    the program by as much, beyond the grace period of a container.
    """
    future: Future[list[SocketAddress]] = Future()
    # From here on it cannot be cancelled, so that the thread can always set it.
    future.set_running_or_notify_cancel()

    def look_up() -> None:
        host, port = receiver.host, receiver.port
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            future.set_result([(family, peer) for family, _, _, _, peer in found])
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=look_up, name="statsd-resolver", daemon=True).start()
    return await asyncio.wrap_future(future)


def connect(address: SocketAddress) -> socket.socket | None:
    """Return a connected, non-blocking socket, or None if there is no route."""
    family, peer = address
    try:
        connected = socket.socket(family, socket.SOCK_DGRAM)
    except OSError:
        return None
    try:
        connected.setblocking(False)
        connected.connect(peer)
    except (OSError, OverflowError):
        connected.close()
        return None
    return connected


class UdpTarget:
    """
    One receiver of datagrams.  Owned by the event loop.

    `sent` and `lost` are totals of lines.  `generation` counts the sockets: a new one
    may lead to a receiver that has no state yet.
    """

    def __init__(
        self,
        receiver: HostPort,
        *,
        resolve: Resolve = resolve,
        connect: Connect = connect,
        resolve_seconds: float = 30.0,
        retry_seconds: float = 1.0,
        timeout_seconds: float = 5.0,
    ) -> None:
        self.sent = 0
        self.lost = dict.fromkeys(LossReason, 0)
        self.generation = 0
        self._receiver = receiver
        self._resolve = resolve
        self._connect = connect
        self._resolve_seconds = resolve_seconds
        self._retry_seconds = retry_seconds
        self._timeout_seconds = timeout_seconds
        self._socket: socket.socket | None = None
        self._address: SocketAddress | None = None
        self._last_datagram_lines = 0
        self._first_connected = asyncio.Event()
        self._lossy = asyncio.Event()
        self._resolver: asyncio.Task[None] | None = None
        self._look_up: asyncio.Task[list[SocketAddress]] | None = None
        self._reported_reachable = True

    @property
    def connected(self) -> bool:
        """Return whether there is a socket to send on."""
        return self._socket is not None

    def start(self) -> None:
        """Resolve the name now and then periodically."""
        self._resolver = asyncio.create_task(self._keep_resolving())

    async def wait_connected(self, seconds: float) -> None:
        """Wait for the first socket, but not longer than this."""
        try:
            async with asyncio.timeout(seconds):
                await self._first_connected.wait()
        except TimeoutError:
            pass

    async def stop(self) -> None:
        """Stop resolving and close the socket."""
        tasks = [task for task in (self._resolver, self._look_up) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._resolver = self._look_up = None
        self._close()

    def send(self, datagram: bytes) -> None:
        """Hand a datagram to the kernel, or count its lines as lost."""
        lines = datagram.count(b"\n") + 1
        error = self._try_send(datagram)
        if error == errno.ECONNREFUSED:
            self._charge_last_datagram()
            error = self._try_send(datagram)
        if error == 0:
            self.sent += lines
            self._last_datagram_lines = lines
        else:
            self._count_lost(error, lines)

    def _try_send(self, datagram: bytes) -> int:
        """Return 0, or the error number."""
        if self._socket is None:
            return errno.ENOTCONN
        try:
            self._socket.send(datagram)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _charge_last_datagram(self) -> None:
        self._count_lost(errno.ECONNREFUSED, self._last_datagram_lines)
        self._last_datagram_lines = 0

    def _count_lost(self, error: int, lines: int) -> None:
        self.lost[_LOSS_REASONS.get(error, LossReason.OTHER)] += lines
        self._lossy.set()

    async def _keep_resolving(self) -> None:
        backoff = Backoff(
            first=self._retry_seconds, factor=2.0, longest=self._resolve_seconds
        )
        while True:
            if await self.reconnect():
                backoff.reset()
                await self._wait_for_next_look_up()
            else:
                await asyncio.sleep(backoff.next_pause())

    async def _wait_for_next_look_up(self) -> None:
        """Wait for the regular interval, or a retry interval after a loss."""
        try:
            async with asyncio.timeout(self._resolve_seconds):
                await self._lossy.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._retry_seconds)

    async def reconnect(self) -> bool:
        """
        Resolve the name once, and connect a new socket if the old one will not do.

        Return whether an address was found that can be connected.
        """
        addresses, error = await self._addresses()
        if self._address in addresses and not self._lossy.is_set():
            return True
        reachable = self._connect_next(addresses)
        self._report(reachable, error)
        return reachable

    async def _addresses(self) -> tuple[list[SocketAddress], str]:
        """Return the addresses of the name, or none and what went wrong."""
        if self._look_up is None:
            self._look_up = asyncio.create_task(self._resolved())
        done, _ = await asyncio.wait({self._look_up}, timeout=self._timeout_seconds)
        if not done:
            return [], f"no answer from the resolver in {self._timeout_seconds:g} s"
        look_up, self._look_up = self._look_up, None
        # Besides OSError: a name may be malformed, threads may have run out.
        error = look_up.exception()
        return ([], str(error)) if error else (look_up.result(), "no route")

    async def _resolved(self) -> list[SocketAddress]:
        return await self._resolve(self._receiver)

    def _connect_next(self, addresses: list[SocketAddress]) -> bool:
        """Connect a new socket; addresses after the present one come first."""
        known = self._address in addresses
        start = addresses.index(self._address) + 1 if known else 0  # type: ignore[arg-type]
        for address in addresses[start:] + addresses[:start]:
            connected = self._connect(address)
            if connected is None:
                continue
            self._close()
            self._socket, self._address = connected, address
            self.generation += 1
            self._lossy.clear()
            self._first_connected.set()
            return True
        return False

    def _close(self) -> None:
        if self._socket is None:
            return
        # A refusal of the last datagram that no later send has reported.
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._charge_last_datagram()
        self._socket.close()
        self._socket = None
        self._last_datagram_lines = 0

    def _report(self, reachable: bool, error: str) -> None:
        """Log changes only."""
        if reachable is self._reported_reachable:
            return
        self._reported_reachable = reachable
        address = str(self._receiver)
        if reachable:
            logger.info("statsd address found", address=address)
        else:
            logger.warning(
                "statsd address not found; metrics wait, all else goes on",
                address=address,
                error=error,
            )
