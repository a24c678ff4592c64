"""
The paths, and the bounds of a connection: how many, how large a head, for how long.

    accept --> bounded --> (TLS) --> HTTP --> guard --> the page of the path
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.internet.error import ConnectionAborted
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http import Request as PlainRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from statsd_bridge.web import pages
from statsd_bridge.web.guard import Guard
from statsd_bridge.web.pages import Functions
from statsd_bridge.web.scrape import Metrics
from statsd_bridge.web.tls import Connections

IDLE_SECONDS = 180
"""A connection on which nothing happens for so long is closed."""

REQUEST_SECONDS = 30
"""A request must be there after so long, the handshake too, however it trickles."""

MOST_BODY = 1024 * 1024
"""Bytes of a request's body that are read, to be dropped: no path wants one."""


def door(
    functions: Functions,
    guard: Guard,
    *,
    telemetry_path: str,
    lifecycle: bool,
    version: str,
    most_connections: int,
) -> Any:
    """Build what the reactor listens with."""
    factory: Any = _site(functions, guard, telemetry_path, lifecycle, version)
    if guard.is_tls:
        creator: Any = Connections(guard.context)
        factory = TLSMemoryBIOFactory(creator, False, factory)
    return _Bounded(factory, most_connections, functions.closed)


def _site(
    functions: Functions,
    guard: Guard,
    telemetry_path: str,
    lifecycle: bool,
    version: str,
) -> Site:
    metrics = Metrics(functions)
    # As there, metrics at `/` are at every path that means nothing else.
    root = _Root(metrics if telemetry_path == "/" else pages.NotFound())
    paths = root.paths
    paths[b"/"] = pages.Landing(pages.landing(telemetry_path, version))
    paths[b"/-/healthy"] = pages.Said(b"Statsd Exporter is Healthy.\n")
    paths[b"/-/ready"] = pages.Said(b"Statsd Exporter is Ready.\n")
    paths[b"/explain"] = pages.Explain(functions.explain)
    paths[b"/debug/unmapped"] = pages.Told(functions.unmapped)
    if lifecycle:
        paths[b"/-/reload"] = pages.Reload(functions.reload)
        paths[b"/-/quit"] = pages.Quit(functions)
    paths[os.fsencode(telemetry_path)] = metrics
    return _Site(root, guard, functions.later)


class _Watched(ProtocolWrapper):
    """A connection, before HTTP and TLS; it tells when something happens on it."""

    factory: Any

    def dataReceived(self, data: bytes) -> None:
        self.factory.moved(self)
        super().dataReceived(data)

    def write(self, data: bytes) -> None:
        self.factory.moved(self)
        super().write(data)


class _Bounded(WrappingFactory):
    """
    As many connections as allowed; for one more, the one that is quiet the longest
    goes.  So idle connections keep no scraper out, however many there are.
    """

    noisy = False
    protocol = _Watched
    protocols: dict[Any, int]

    def __init__(self, factory: Any, most: int, closed: Callable[[], None]) -> None:
        super().__init__(factory)
        self._most = most
        self._closed = closed

    def buildProtocol(self, addr: Any) -> Any:
        if len(self.protocols) >= self._most:
            quiet = next(iter(self.protocols))
            del self.protocols[quiet]
            # At once, not in the next turn: this turn may accept a hundred more, and
            # files are few.
            quiet.transport.connectionLost(Failure(ConnectionAborted()))
            self._closed()
        return super().buildProtocol(addr)

    def moved(self, connection: Any) -> None:
        """Put a connection behind those on which nothing happened since."""
        if self.protocols.pop(connection, None):
            self.protocols[connection] = 1

    def unregisterProtocol(self, connection: Any) -> None:
        self.protocols.pop(connection, None)


class _Site(Site):
    """HTTP/1.1 without tracebacks, and who may come in."""

    displayTracebacks = False

    def __init__(self, root: Resource, guard: Guard, later: Callable[..., Any]) -> None:
        super().__init__(root, requestFactory=_Request, timeout=IDLE_SECONDS)
        self.guard = guard
        self._later = later

    def buildProtocol(self, addr: Any) -> Any:
        channel: Any = _Channel()
        channel.factory = channel.site = self
        channel.requestFactory = self.requestFactory
        channel.callLater = self._later
        channel.timeOut = self.timeOut
        return channel


class _Channel(HTTPChannel):
    """One connection; a request that does not end is cut off."""

    _deadline: Any = None
    site: Any

    def connectionMade(self) -> None:
        self._wait()
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if self._deadline is None and not self.requests:
            self._wait()
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        self._request_is_here()
        super().allContentReceived()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._request_is_here()
        super().connectionLost(reason)

    def _wait(self) -> None:
        self._deadline = self.callLater(REQUEST_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        self._deadline = None
        self.forceAbortClient()

    def _request_is_here(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()


class _Request(Request):
    """A request that may have to show who asks; its body is dropped."""

    _body = 0
    channel: Any

    def gotLength(self, length: int | None) -> None:
        # Nothing is kept of the body, so it needs no room.
        super().gotLength(0)

    def handleContentChunk(self, data: bytes) -> None:
        self._body += len(data)
        if self._body > MOST_BODY:
            self.channel.forceAbortClient()

    def process(self) -> None:
        guard = self.channel.site.guard
        if not guard.has_time():
            self._answer(429, b"Too Many Requests\n")
            return
        checked = guard.check(self.getHeader(b"authorization"))
        checked.addCallback(self._checked).addErrback(self.processingFailed)

    def write(self, data: bytes) -> None:
        # It is nobody's business which software answers.
        self.responseHeaders.removeHeader(b"server")
        super().write(data)

    def _checked(self, may_come_in: bool) -> None:
        if self._disconnected:
            return
        if may_come_in:
            self._set_headers()
            super().process()
            return
        self.setHeader(b"www-authenticate", b"Basic")
        self._answer(401, b"Unauthorized\n")

    def _answer(self, status: int, words: bytes) -> None:
        self._set_headers()
        self.setResponseCode(status)
        self.setHeader(b"content-type", pages.PLAIN)
        self.write(words)
        self.finish()

    def _set_headers(self) -> None:
        for name, value in self.channel.site.guard.headers.items():
            self.setHeader(name.encode(), value.encode())


class _Root(Resource):
    """Whole paths to what answers them."""

    def __init__(self, other: Resource) -> None:
        super().__init__()
        self.paths: dict[bytes, Resource] = {}
        self._other = other

    def getChild(self, path: bytes, request: PlainRequest) -> Resource:
        return self.paths.get(_path(request.path), self._other)

    def render(self, request: Request) -> bytes | int:
        # Only the empty path comes here; getChild is asked for all others.
        found: bytes | int = self.getChild(b"", request).render(request)
        return found


def _path(target: bytes) -> bytes:
    """Give the path that is asked for; who asks by a proxy names the host, too."""
    _, is_absolute, rest = target.partition(b"://")
    if is_absolute and not target.startswith(b"/"):
        # RFC 9112, 3.2.2: http://bridge.example.org:9102/metrics
        target = b"/" + rest.partition(b"/")[2]
    return unquote_to_bytes(target)
