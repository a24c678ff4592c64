"""
The HTTP server: its paths.

    connection.py --> request.py, guard.py --> the page of the path
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.web.http import Request as PlainRequest
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from statsd_bridge.settings import EXPLAIN_PATH, UNMAPPED_PATH, Settings
from statsd_bridge.web import base, pages
from statsd_bridge.web.connection import (
    MAX_IDLE_SECONDS,
    BoundedFactory,
    HttpConnection,
)
from statsd_bridge.web.guard import Guard
from statsd_bridge.web.request import HttpRequest
from statsd_bridge.web.scrape import MetricsResource


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
    factory: Any = _Site(root, guard, backend)
    if guard.is_tls:
        from twisted.protocols.tls import TLSMemoryBIOFactory

        context_factory: Any = guard
        factory = TLSMemoryBIOFactory(context_factory, False, factory)
    return BoundedFactory(factory, max_connections, backend.stats)


class _Site(Site):
    """HTTP/1.1 without tracebacks in responses, behind a guard."""

    displayTracebacks = False
    protocol: Any = HttpConnection

    def __init__(self, root: Resource, guard: Guard, backend: base.Backend) -> None:
        super().__init__(
            root,
            requestFactory=HttpRequest,
            timeout=MAX_IDLE_SECONDS,
            reactor=backend.reactor,
        )
        self.guard = guard
        self.bugs = backend.bugs


class _Root(Resource):
    """The pages by their whole paths, and the page of every other path."""

    def __init__(self, paths: dict[bytes, Resource], default: Resource) -> None:
        super().__init__()
        self._pages = {
            tuple(path.split(b"/")): resource for path, resource in paths.items()
        }
        self._default = default

    def getChild(self, path: bytes, request: PlainRequest) -> Resource:
        target = _path(request.path)
        cleaned = clean_path(target)
        # Split first, like Go: an escaped slash is not one.
        segments = tuple(map(unquote_to_bytes, cleaned.split(b"/")))
        resource = self._pages.get(segments, self._default)
        if cleaned == target or isinstance(resource, pages.NotFound):
            return resource
        return pages.Redirect(cleaned)

    def render(self, request: Request) -> bytes | int:
        # Twisted calls getChild for every path except the empty one.
        response: bytes | int = self.getChild(b"", request).render(request)
        return response


def _path(target: bytes) -> bytes:
    """Return the path of a request target; one for a proxy names the host, too."""
    if target.startswith(b"/"):
        return target
    # RFC 9112, 3.2.2: http://bridge.example.org:9102/metrics
    _, slash, path = target.partition(b"://")[2].partition(b"/")
    return slash + path or b"/"


def clean_path(path: bytes) -> bytes:
    """Return an absolute path without empty, `.` and `..` segments, like Go's."""
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    end = b"/" if kept and path.endswith(b"/") else b""
    return b"/" + b"/".join(kept) + end
