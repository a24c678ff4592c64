"""
The HTTP server: its paths.

    connection.py --> request.py, guard.py --> the page of the path
"""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote_to_bytes

from twisted.web.http import HTTPFactory

from statsd_bridge.settings import (
    API_PATH,
    EXPLAIN_PATH,
    UI_PATH,
    UNMAPPED_PATH,
    Settings,
)
from statsd_bridge.web import base, pages
from statsd_bridge.web.api import UnknownPath, api_paths
from statsd_bridge.web.bodies import Bodies
from statsd_bridge.web.connection import (
    MAX_IDLE_SECONDS,
    BoundedFactory,
    HttpConnection,
)
from statsd_bridge.web.guard import Guard
from statsd_bridge.web.jobs import Jobs
from statsd_bridge.web.request import HttpRequest
from statsd_bridge.web.scrape import MetricsResource
from statsd_bridge.web.trial import Try
from statsd_bridge.web.ui import ui_paths

TRY_PATH = f"{API_PATH}try"
BODY_PATHS = (os.fsencode(TRY_PATH), os.fsencode(f"{UI_PATH}/try"))
"""Paths whose pages read the body of a request."""

_API = tuple(API_PATH.encode().removesuffix(b"/").split(b"/"))


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
    not_found = pages.NotFound()
    paths: dict[str, base.Page] = {
        "/": pages.Landing(telemetry_path, version),
        "/-/healthy": pages.StaticText(b"Statsd Exporter is Healthy.\n"),
        "/-/ready": pages.StaticText(b"Statsd Exporter is Ready.\n"),
        EXPLAIN_PATH: pages.Explain(backend),
        UNMAPPED_PATH: pages.Unmapped(backend),
    }
    api: base.Page = not_found
    if settings.web_ui:
        jobs = Jobs(backend)
        api = UnknownPath()
        paths |= api_paths(backend, jobs)
        paths |= ui_paths(backend, jobs, telemetry_path)
        paths[TRY_PATH] = Try(backend)
    if settings.enable_lifecycle:
        paths |= {"/-/reload": pages.Reload(backend), "/-/quit": pages.Quit(backend)}
    paths[telemetry_path] = metrics
    # Like in statsd_exporter, metrics at `/` are at every path that no other page has.
    root = _Pages(paths, api, metrics if telemetry_path == "/" else not_found)
    factory: Any = _Site(root, guard, backend)
    if guard.is_tls:
        from twisted.protocols.tls import TLSMemoryBIOFactory

        context_factory: Any = guard
        factory = TLSMemoryBIOFactory(context_factory, False, factory)
    return BoundedFactory(factory, max_connections, backend.stats)


class _Site(HTTPFactory):
    """HTTP/1.1 behind a guard."""

    protocol: Any = HttpConnection

    def __init__(self, pages: _Pages, guard: Guard, backend: base.Backend) -> None:
        super().__init__(timeout=MAX_IDLE_SECONDS, reactor=backend.reactor)
        self.pages = pages
        self.guard = guard
        self.bugs = backend.bugs
        self.bodies = Bodies(BODY_PATHS)

    def buildProtocol(self, addr: Any) -> Any:
        channel: Any = super().buildProtocol(addr)
        channel.requestFactory = HttpRequest
        channel.site = self
        return channel


class _Pages:
    """The pages by their whole paths, those of the API, and that of all others."""

    def __init__(
        self, paths: dict[str, base.Page], api: base.Page, default: base.Page
    ) -> None:
        self._pages = {
            tuple(os.fsencode(path).split(b"/")): page for path, page in paths.items()
        }
        self._api = api
        self._default = default

    def find(self, target: bytes) -> base.Page:
        """Return the page of a request target without its query."""
        if target == b"*":
            return pages.Star()
        path = _path(target)
        cleaned = clean_path(path)
        # Split first, like Go: an escaped slash is not one.
        segments = tuple(map(unquote_to_bytes, cleaned.split(b"/")))
        is_api = segments[: len(_API)] == _API
        page = self._pages.get(segments, self._api if is_api else self._default)
        if cleaned == path or isinstance(page, pages.NotFound):
            return page
        return pages.Redirect(cleaned)


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
