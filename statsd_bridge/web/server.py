"""
The paths, and the bounds of a connection: how many, how large a head, for how long.

    accept --> bounded --> (TLS) --> HTTP --> guard --> the page of the path
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import WrappingFactory
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

MOST_CONNECTIONS = 512

IDLE_SECONDS = 180
"""A connection on which nothing happens for so long is closed."""

HEAD_SECONDS = 30
"""The head of a request must be there after so long, however it trickles."""

MOST_BODY = 1024 * 1024
"""Bytes of a request's body that are read, to be dropped: no path wants one."""


def door(
    functions: Functions,
    guard: Guard,
    *,
    telemetry_path: str,
    lifecycle: bool,
    version: str,
) -> Any:
    """Build what the reactor listens with."""
    factory: Any = _site(functions, guard, telemetry_path, lifecycle, version)
    if guard.is_tls:
        creator: Any = Connections(guard.context)
        factory = TLSMemoryBIOFactory(creator, False, factory)
    return _Bounded(factory)


def _site(
    functions: Functions,
    guard: Guard,
    telemetry_path: str,
    lifecycle: bool,
    version: str,
) -> Site:
    root = _Root()
    paths = root.paths
    paths[b"/"] = pages.Text(
        pages.landing(telemetry_path, version), b"text/html; charset=utf-8"
    )
    paths[b"/-/healthy"] = pages.Text(b"Statsd Exporter is Healthy.\n")
    paths[b"/-/ready"] = pages.Text(b"Statsd Exporter is Ready.\n")
    paths[b"/explain"] = pages.Explain(functions.explain)
    paths[b"/debug/unmapped"] = pages.Told(functions.unmapped)
    if lifecycle:
        paths[b"/-/reload"] = pages.Reload(functions.reload)
        paths[b"/-/quit"] = pages.Quit(functions.quit)
    paths[telemetry_path.encode()] = Metrics(functions)
    return _Site(root, guard)


class _Bounded(WrappingFactory):
    """Closes a connection that is one too many."""

    noisy = False

    def buildProtocol(self, addr: Any) -> Any:
        if len(self.protocols) >= MOST_CONNECTIONS:
            return None
        return super().buildProtocol(addr)


class _Site(Site):
    """HTTP/1.1 without tracebacks, and who may come in."""

    displayTracebacks = False

    def __init__(self, root: Resource, guard: Guard) -> None:
        super().__init__(root, requestFactory=_Request, timeout=IDLE_SECONDS)
        self.guard = guard

    def buildProtocol(self, addr: Any) -> Any:
        channel: Any = _Channel()
        channel.factory = channel.site = self
        channel.requestFactory = self.requestFactory
        channel.callLater = self.reactor.callLater
        channel.timeOut = self.timeOut
        return channel


class _Channel(HTTPChannel):
    """One connection; a head that does not end is cut off."""

    _deadline: Any = None
    site: Any

    def dataReceived(self, data: bytes) -> None:
        if self._deadline is None and not self.requests:
            self._deadline = self.callLater(HEAD_SECONDS, self._too_slow)
        super().dataReceived(data)

    def allHeadersReceived(self) -> None:
        self._head_is_over()
        super().allHeadersReceived()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._head_is_over()
        super().connectionLost(reason)

    def _too_slow(self) -> None:
        self._deadline = None
        self.forceAbortClient()

    def _head_is_over(self) -> None:
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
        checked = self.channel.site.guard.check(self.getHeader(b"authorization"))
        checked.addCallback(self._checked).addErrback(self.processingFailed)

    def write(self, data: bytes) -> None:
        # It is nobody's business which software answers.
        self.responseHeaders.removeHeader(b"server")
        super().write(data)

    def _checked(self, may_come_in: bool) -> None:
        if self._disconnected:
            return
        for name, value in self.channel.site.guard.headers.items():
            self.setHeader(name.encode(), value.encode())
        if may_come_in:
            super().process()
            return
        self.setResponseCode(401)
        self.setHeader(b"www-authenticate", b"Basic")
        self.setHeader(b"content-type", pages.PLAIN)
        self.write(b"Unauthorized\n")
        self.finish()


class _Root(Resource):
    """Whole paths to what answers them."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: dict[bytes, Resource] = {}

    def getChild(self, path: bytes, request: PlainRequest) -> Resource:
        return self.paths.get(request.path, pages.NotFound())

    def render(self, request: Request) -> bytes | int:
        # Only the empty path comes here; getChild is asked for all others.
        found: bytes | int = self.getChild(b"", request).render(request)
        return found
