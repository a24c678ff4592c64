"""
The HTTP door: the page, and what an operator or an orchestrator asks.

    /metrics    /-/healthy    /-/ready    /-/reload, /-/quit (when enabled)    /

It is handed functions and decides nothing.  The page is written slice by slice, each
when the one before has been taken, so the sockets get their turns in between.
"""

from __future__ import annotations

import html
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from twisted.internet.interfaces import IPushProducer
from twisted.web.http import Request as PlainRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

Later = Callable[[Callable[[], None]], object]

PLAIN = b"text/plain; charset=utf-8"

IDLE_SECONDS = 60
"""A connection on which nothing happens for so long is closed."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page in slices, and what it is."""

    content_type: str
    slices: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Functions:
    """
    What the door is handed.

    `reload` returns why the new file is refused, or nothing.  `answered` is told the
    status of each scrape.  `later` calls what it is given in the reactor's next turn.
    """

    metrics: Callable[[], Page]
    answered: Callable[[int], None]
    reload: Callable[[], str]
    quit: Callable[[], None]
    later: Later


def site(functions: Functions, *, telemetry_path: str, lifecycle: bool) -> Site:
    """Build what the reactor listens with."""
    root = _Root()
    metrics = _Metrics(functions)
    root.paths[telemetry_path.encode()] = metrics
    if telemetry_path != "/":
        root.paths[b"/"] = _Text(_landing(telemetry_path), b"text/html; charset=utf-8")
    root.paths[b"/-/healthy"] = _Text(b"Statsd Exporter is Healthy.\n")
    root.paths[b"/-/ready"] = _Text(b"Statsd Exporter is Ready.\n")
    if lifecycle:
        root.paths[b"/-/reload"] = _Reload(functions.reload)
        root.paths[b"/-/quit"] = _Quit(functions.quit)
    found = Site(root, requestFactory=_Request, timeout=IDLE_SECONDS)
    found.displayTracebacks = False
    return found


class _Request(Request):
    """A request whose answer does not name the server's software."""

    def process(self) -> None:
        super().process()

    def write(self, data: bytes) -> None:
        self.responseHeaders.removeHeader(b"server")
        super().write(data)


class _Root(Resource):
    """Whole paths to what answers them."""

    def __init__(self) -> None:
        super().__init__()
        self.paths: dict[bytes, Resource] = {}

    def getChild(self, path: bytes, request: PlainRequest) -> Resource:
        return self.paths.get(request.path, _NotFound())

    def render(self, request: Request) -> bytes | int:
        # Only the empty path comes here; getChild is asked for all others.
        found: bytes | int = self.getChild(b"", request).render(request)
        return found


class _Text(Resource):
    isLeaf = True

    def __init__(self, text: bytes, content_type: bytes = PLAIN) -> None:
        super().__init__()
        self._text = text
        self._content_type = content_type

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"content-type", self._content_type)
        return self._text


class _NotFound(Resource):
    isLeaf = True

    def render(self, request: Request) -> bytes:
        request.setResponseCode(404)
        request.setHeader(b"content-type", PLAIN)
        return b"404 page not found\n"


class _Reload(Resource):
    isLeaf = True

    def __init__(self, reload: Callable[[], str]) -> None:
        super().__init__()
        self._reload = reload

    def render_POST(self, request: Request) -> bytes:
        request.setHeader(b"content-type", PLAIN)
        refused = self._reload()
        if refused:
            request.setResponseCode(500)
            return f"{refused}\n".encode()
        return b"Requesting reload\n"

    render_PUT = render_POST


class _Quit(Resource):
    isLeaf = True

    def __init__(self, quit: Callable[[], None]) -> None:
        super().__init__()
        self._quit = quit

    def render_POST(self, request: Request) -> bytes:
        request.setHeader(b"content-type", PLAIN)
        request.notifyFinish().addBoth(lambda _: self._quit())
        return b"Requesting termination... Goodbye!\n"

    render_PUT = render_POST


class _Metrics(Resource):
    isLeaf = True

    def __init__(self, functions: Functions) -> None:
        super().__init__()
        self._functions = functions

    def render_GET(self, request: Request) -> int:
        page = self._functions.metrics()
        slices = page.slices
        request.setHeader(b"content-type", page.content_type.encode())
        if b"gzip" in (request.getHeader(b"accept-encoding") or b""):
            request.setHeader(b"content-encoding", b"gzip")
            slices = _gzipped(slices)
        self._functions.answered(200)
        if request.method == b"HEAD":
            request.finish()
        else:
            _Slices(request, slices, self._functions.later).start()
        return NOT_DONE_YET

    render_POST = render_GET
    render_HEAD = render_GET


@implementer(IPushProducer)
class _Slices:
    """A page on its way out: one slice a turn of the reactor, while it is taken."""

    def __init__(self, request: Request, slices: Iterator[bytes], later: Later) -> None:
        self._request = request
        self._slices = slices
        self._later = later
        self._going = False
        self._due = False

    def start(self) -> None:
        self._request.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._going = True
        if not self._due:
            self._next()

    def pauseProducing(self) -> None:
        """Wait: the other side reads more slowly than we write."""
        self._going = False

    def stopProducing(self) -> None:
        """Forget the rest: the other side has gone."""
        self._going = False

    def _next(self) -> None:
        self._due = False
        if not self._going:
            return
        part = next(self._slices, None)
        if part is None:
            self._request.unregisterProducer()
            self._request.finish()
            return
        self._request.write(part)
        self._due = True
        self._later(self._next)


def _gzipped(slices: Iterator[bytes]) -> Iterator[bytes]:
    # 31: the largest window, with gzip's header.
    packer = zlib.compressobj(level=1, wbits=31)
    for part in slices:
        packed = packer.compress(part)
        if packed:
            yield packed
    yield packer.flush()


def _landing(telemetry_path: str) -> bytes:
    path = html.escape(telemetry_path)
    return (
        "<!doctype html><html lang=en><title>StatsD Exporter</title>"
        "<h1>statsd-bridge</h1><p>Statsd in, Prometheus out.</p>"
        f'<p><a href="{path}">Metrics</a></p>\n'
    ).encode()
