"""
The HTTP server: its paths, and the bounds of a connection (count, size, time).

    accept --> bounded --> (TLS) --> HTTP --> guard --> the page of the path
"""

from __future__ import annotations

import os
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

from statsd_bridge.model import Stats
from statsd_bridge.settings import EXPLAIN_PATH, UNMAPPED_PATH, Settings
from statsd_bridge.web import base, pages
from statsd_bridge.web.guard import Guard
from statsd_bridge.web.scrape import MetricsResource

MAX_IDLE_SECONDS = 180
"""A connection without any bytes for this long is closed."""

REQUEST_SECONDS = 30
"""A request, and the TLS handshake, must be complete within this time."""

MAX_BODY_BYTES = 1024 * 1024
"""The body of a request is read up to this size and ignored: no path uses one."""


def http_factory(
    backend: base.Backend,
    guard: Guard,
    settings: Settings,
    *,
    version: str,
    max_connections: int,
) -> Any:
    """Build the factory that the reactor listens with."""
    telemetry_path = settings.telemetry_path
    metrics = MetricsResource(backend)
    paths: dict[bytes, Resource] = {
        b"/": pages.Landing(telemetry_path, version),
        b"/-/healthy": pages.StaticText(b"Statsd Exporter is Healthy.\n"),
        b"/-/ready": pages.StaticText(b"Statsd Exporter is Ready.\n"),
        os.fsencode(EXPLAIN_PATH): pages.Explain(backend),
        os.fsencode(UNMAPPED_PATH): pages.Unmapped(backend),
    }
    if settings.enable_lifecycle:
        paths[b"/-/reload"] = pages.Reload(backend)
        paths[b"/-/quit"] = pages.Quit(backend)
    paths[os.fsencode(telemetry_path)] = metrics
    # Like in statsd_exporter, metrics at `/` are at every path that no other page has.
    root = _Root(paths, metrics if telemetry_path == "/" else pages.NotFound())
    factory: Any = _Site(root, guard, backend.reactor)
    if guard.is_tls:
        context_factory: Any = guard
        factory = TLSMemoryBIOFactory(context_factory, False, factory)
    return _BoundedFactory(factory, max_connections, backend.stats)


class _BoundedConnection(ProtocolWrapper):
    """A connection below TLS and HTTP that reports its activity to the factory."""

    factory: Any

    def dataReceived(self, data: bytes) -> None:
        self.factory.record_activity(self)
        super().dataReceived(data)

    def write(self, data: bytes) -> None:
        self.factory.record_activity(self)
        super().write(data)


class _BoundedFactory(WrappingFactory):
    """
    At most `max_connections`; one more closes the one that was inactive the longest.

    So idle connections, however many there are, do not prevent a scrape.
    """

    noisy = False
    protocol = _BoundedConnection
    protocols: dict[Any, int]

    def __init__(self, factory: Any, max_connections: int, stats: Stats) -> None:
        super().__init__(factory)
        self._max_connections = max_connections
        self._stats = stats

    def buildProtocol(self, addr: Any) -> Any:
        if len(self.protocols) >= self._max_connections:
            inactive = next(iter(self.protocols))
            del self.protocols[inactive]
            # At once, not in the next iteration of the reactor: this one may accept a
            # hundred more connections, and open files are few.
            inactive.transport.connectionLost(Failure(ConnectionAborted()))
            self._stats.http_closed += 1
        return super().buildProtocol(addr)

    def record_activity(self, connection: Any) -> None:
        """Move a connection behind those that were active before it."""
        if self.protocols.pop(connection, None):
            self.protocols[connection] = 1

    def unregisterProtocol(self, connection: Any) -> None:
        self.protocols.pop(connection, None)


class _Channel(HTTPChannel):
    """One connection; a request that is not complete in time closes it."""

    _deadline: Any = None
    site: Any

    def connectionMade(self) -> None:
        self._start_deadline()
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if self._deadline is None and not self.requests:
            self._start_deadline()
        super().dataReceived(data)

    def allContentReceived(self) -> None:
        self._cancel_deadline()
        super().allContentReceived()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._cancel_deadline()
        super().connectionLost(reason)

    def _start_deadline(self) -> None:
        self._deadline = self.callLater(REQUEST_SECONDS, self._expire)

    def _expire(self) -> None:
        self._deadline = None
        self.forceAbortClient()

    def _cancel_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()


class _Request(Request):
    """A request that the guard must admit; its body is ignored."""

    _body_bytes = 0
    channel: Any

    def gotLength(self, length: int | None) -> None:
        # Twisted reserves memory or a file for the body; none is needed.
        super().gotLength(0)

    def handleContentChunk(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > MAX_BODY_BYTES:
            self.channel.forceAbortClient()

    def process(self) -> None:
        guard = self.channel.site.guard
        if not guard.allow_request():
            self._reject(429, b"Too Many Requests\n")
            return
        checked = guard.authenticate(self.getHeader(b"authorization"))
        checked.addCallback(self._checked).addErrback(self.processingFailed)

    def write(self, data: bytes) -> None:
        # Clients do not need to know the name and version of the server.
        self.responseHeaders.removeHeader(b"server")
        super().write(data)

    def _checked(self, is_admitted: bool) -> None:
        if self._disconnected:
            return
        if is_admitted:
            self._set_headers()
            super().process()
            return
        self.setHeader(b"www-authenticate", b"Basic")
        self._reject(401, b"Unauthorized\n")

    def _reject(self, status: int, body: bytes) -> None:
        self._set_headers()
        self.write(base.plain_error(self, status, body))
        self.finish()

    def _set_headers(self) -> None:
        for name, value in self.channel.site.guard.headers.items():
            self.setHeader(name.encode(), value.encode())


class _Site(Site):
    """HTTP/1.1 without tracebacks in responses, behind a guard."""

    displayTracebacks = False
    protocol: Any = _Channel

    def __init__(self, root: Resource, guard: Guard, reactor: Any) -> None:
        super().__init__(
            root, requestFactory=_Request, timeout=MAX_IDLE_SECONDS, reactor=reactor
        )
        self.guard = guard


class _Root(Resource):
    """The pages by their whole paths, and the page of every other path."""

    def __init__(self, paths: dict[bytes, Resource], default: Resource) -> None:
        super().__init__()
        self._paths = paths
        self._default = default

    def getChild(self, path: bytes, request: PlainRequest) -> Resource:
        return self._paths.get(_path(request.path), self._default)

    def render(self, request: Request) -> bytes | int:
        # Twisted calls getChild for every path except the empty one.
        response: bytes | int = self.getChild(b"", request).render(request)
        return response


def _path(target: bytes) -> bytes:
    """Return the path of a request target; one for a proxy names the host, too."""
    _, is_absolute, rest = target.partition(b"://")
    if is_absolute and not target.startswith(b"/"):
        # RFC 9112, 3.2.2: http://bridge.example.org:9102/metrics
        return unquote_to_bytes(b"/" + rest.partition(b"/")[2])
    return unquote_to_bytes(target)
