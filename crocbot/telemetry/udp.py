"""
Datagrams to the statsd receiver: fire and forget, but every loss is counted.

    look up (off the loop, in the background) --> connected, non-blocking UDP socket
    send(datagram) ------------------------------------^

Rules:

- `send` never waits and never raises; what the kernel does not take is lost, and
  counted by reason.
- A refusal is told by the *next* send: it is charged to the datagram before, and the
  current one, which was not sent, is tried once more.
- Names are looked up at the start, every 30 s, and 1 s after trouble; the old address
  stays while that fails.  A changed address and trouble both get a new socket, since a
  new source port leaves a stale NAT entry behind.  Trouble also moves on to the next
  address of the name: `localhost` may be ::1 first and answer only on 127.0.0.1.
- At most one look-up is under way, however long the resolver takes.
- Until the first look-up succeeds there is no socket.  Whoever sends must hold back
  then (`connected`); nothing is lost, since everything above this file adds up.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from crocbot import log
from crocbot.telemetry.catalogue import Loss

ChatThread = tuple[int, Any]
"""An address family and what connect() takes in it."""

Resolve = Callable[[str, int], Awaitable[list[ChatThread]]]
Connect = Callable[[ChatThread], socket.socket | None]

_REASONS = {
    errno.ECONNREFUSED: Loss.REFUSED,
    errno.EAGAIN: Loss.BUFFER_FULL,
    errno.EWOULDBLOCK: Loss.BUFFER_FULL,
    errno.ENOBUFS: Loss.BUFFER_FULL,
    errno.ENETUNREACH: Loss.UNREACHABLE,
    errno.EHOSTUNREACH: Loss.UNREACHABLE,
    errno.ENETDOWN: Loss.UNREACHABLE,
    errno.EHOSTDOWN: Loss.UNREACHABLE,
}

logger = log.logger(__name__)


async def resolve(host: str, port: int) -> list[ChatThread]:
    """
    Ask the system's resolver, in a thread that nobody waits for.

    A resolver may be silent for half a minute.  asyncio's own threads would hold up
    the end of the program for as long, beyond the grace that a container gets.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[ChatThread]] = loop.create_future()

    def tell(addresses: list[ChatThread], error: Exception | None) -> None:
        if answer.cancelled():
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)

    def ask() -> None:
        addresses: list[ChatThread] = []
        fault: Exception | None = None
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
            addresses = [(family, address) for family, _, _, _, address in found]
        except Exception as error:
            fault = error
        try:
            loop.call_soon_threadsafe(tell, addresses, fault)
        except RuntimeError:
            # The loop has ended meanwhile.
            pass

    threading.Thread(target=ask, name="statsd-look-up", daemon=True).start()
    return await answer


def connect(address: ChatThread) -> socket.socket | None:
    """Return a connected socket that never blocks, or None if there is no route."""
    family, peer = address
    try:
        fresh = socket.socket(family, socket.SOCK_DGRAM)
    except OSError:
        return None
    try:
        fresh.setblocking(False)
        fresh.connect(peer)
    except (OSError, OverflowError):
        fresh.close()
        return None
    return fresh


class UdpSender:
    """The way to one receiver.  Owned by the event loop."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        resolve: Resolve = resolve,
        connect: Connect = connect,
        every_seconds: float = 30.0,
        trouble_seconds: float = 1.0,
        limit_seconds: float = 5.0,
    ) -> None:
        self._host = host
        self._port = port
        self._resolve = resolve
        self._new = connect
        self._every = every_seconds
        self._after_trouble = trouble_seconds
        self._limit = limit_seconds

        self.sent = 0
        self.lost = dict.fromkeys(Loss, 0)
        self.generation = 0
        """Which socket this is; a new one may lead to a receiver that knows nothing."""

        self._socket: socket.socket | None = None
        self._peer: ChatThread | None = None
        self._previous = 0
        self._connected = asyncio.Event()
        self._troubled = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[list[ChatThread]] | None = None
        self._reachable = True

    @property
    def connected(self) -> bool:
        """Whether there is an address to send to."""
        return self._socket is not None

    def start(self) -> None:
        """Look the name up from now on."""
        self._watch = asyncio.create_task(self._keep_looking())

    async def settle(self, seconds: float) -> None:
        """Wait for the first address, not longer than that."""
        try:
            async with asyncio.timeout(seconds):
                await self._connected.wait()
        except TimeoutError:
            pass

    async def stop(self) -> None:
        """Stop looking up and close the socket."""
        tasks = [task for task in (self._watch, self._asking) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watch = self._asking = None
        self._close()

    def send(self, datagram: bytes) -> None:
        """Hand a datagram to the kernel, or count its lines as lost."""
        lines = datagram.count(b"\n") + 1
        problem = self._try(datagram)
        if problem == errno.ECONNREFUSED:
            self._charge_previous()
            problem = self._try(datagram)
        if problem == 0:
            self.sent += lines
            self._previous = lines
        else:
            self._lose(problem, lines)

    def _try(self, datagram: bytes) -> int:
        """Return 0, or the error number."""
        if self._socket is None:
            return errno.ENOTCONN
        try:
            self._socket.send(datagram)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def _charge_previous(self) -> None:
        self._lose(errno.ECONNREFUSED, self._previous)
        self._previous = 0

    def _lose(self, problem: int, lines: int) -> None:
        self.lost[_REASONS.get(problem, Loss.OTHER)] += lines
        self._troubled.set()

    async def _keep_looking(self) -> None:
        pause = self._after_trouble
        while True:
            if await self.look_up():
                pause = self._after_trouble
                await self._next_time()
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, self._every)

    async def _next_time(self) -> None:
        """Wait for the regular interval, or a little after trouble."""
        try:
            async with asyncio.timeout(self._every):
                await self._troubled.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._after_trouble)

    async def look_up(self) -> bool:
        """Look the name up once and connect if need be; false: no usable address."""
        addresses = await self._ask()
        if self._peer in addresses and not self._troubled.is_set():
            return True
        usable = self._connect(addresses)
        self._tell(usable)
        return usable

    async def _ask(self) -> list[ChatThread]:
        """Wait for the look-up under way, or for a new one; empty if there is none."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._answer())
        done, _ = await asyncio.wait({self._asking}, timeout=self._limit)
        if not done:
            return []
        addresses, self._asking = self._asking.result(), None
        return addresses

    async def _answer(self) -> list[ChatThread]:
        try:
            return await self._resolve(self._host, self._port)
        # A name can be unknown, no text for DNS, or hold a NUL.
        except (OSError, ValueError):
            return []

    def _connect(self, addresses: list[ChatThread]) -> bool:
        """Connect a new socket, first to addresses after the present one."""
        turn = addresses.index(self._peer) + 1 if self._peer in addresses else 0
        for address in addresses[turn:] + addresses[:turn]:
            fresh = self._new(address)
            if fresh is None:
                continue
            self._close()
            self._socket, self._peer = fresh, address
            self.generation += 1
            self._troubled.clear()
            self._connected.set()
            return True
        return False

    def _close(self) -> None:
        if self._socket is None:
            return
        # The last word on the last datagram.
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._charge_previous()
        self._socket.close()
        self._socket = None
        self._previous = 0

    def _tell(self, usable: bool) -> None:
        """Log when it changes, never more often."""
        if usable is self._reachable:
            return
        self._reachable = usable
        if usable:
            logger.info("statsd address found", host=self._host, port=self._port)
        else:
            logger.warning(
                "statsd address not found; metrics wait, all else goes on",
                host=self._host,
                port=self._port,
            )
