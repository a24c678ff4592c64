"""
The small pages, and what all pages need of the bridge.

    health    reload    quit    explain    unmapped    the landing page
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.web.resource import Resource
from twisted.web.server import Request

from statsd_bridge.log import BugReporter
from statsd_bridge.model import Stats

PLAIN = b"text/plain; charset=utf-8"
HTML = b"text/html; charset=utf-8"
JSON = b"application/json"

QUIT_DELAY_SECONDS = 0.1
"""Time for the response of /-/quit to be sent before the reactor stops."""


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A metrics page in slices; an empty slice only lets other events have a turn."""

    content_type: str
    slices: Iterator[bytes]


class Backend(Protocol):
    """
    The bridge behind the pages; service/http.py implements it.

    All methods are called on the reactor's thread.
    """

    stats: Stats
    bugs: BugReporter
    reactor: Any

    def render_metrics(self, accept: str) -> RenderedPage:
        """Render the metrics in the format that an Accept header asks for."""

    def reload(self) -> str:
        """Reload the mapping file; return why it is refused, or an empty text."""

    def quit(self) -> None:
        """Stop the bridge."""

    def explain(self, line: bytes) -> Any:
        """Explain what would become of a line, as JSON can hold it."""

    def unmapped(self) -> Any:
        """List unmapped names and rejected lines, as JSON can hold them."""


class Page(Resource):
    """A page without children."""

    isLeaf = True


class Landing(Page):
    """The page at `/`, for every method."""

    def __init__(self, telemetry_path: str, version: str) -> None:
        super().__init__()
        path = html.escape(telemetry_path)
        self._body = (
            "<!doctype html><html lang=en><title>StatsD Exporter</title>"
            "<h1>statsd-bridge</h1><p>Statsd in, Prometheus out."
            f" Version {html.escape(version)}.</p>"
            f'<ul><li><a href="{path}">Metrics</a></li>'
            '<li><a href="/debug/unmapped">Unmapped names, rejected lines</a></li>'
            "</ul><form action=/explain><label>Explain a line:"
            ' <input name=line size=60 value="api.hits:1|c"></label></form>\n'
        ).encode()

    def render(self, request: Request) -> bytes:
        """Return the page."""
        request.setHeader(b"content-type", HTML)
        return self._body


class StaticText(Page):
    """A fixed text for GET; like statsd_exporter, 200 and empty for other methods."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._body = body

    def render(self, request: Request) -> bytes:
        """Return the text."""
        request.setHeader(b"content-type", PLAIN)
        return self._body if request.method in (b"GET", b"HEAD") else b""


class NotFound(Page):
    """The response to an unknown path."""

    def render(self, request: Request) -> bytes:
        """Return status 404."""
        return plain_error(request, 404, b"404 page not found\n")


class _BackendPage(Page):
    def __init__(self, backend: Backend) -> None:
        super().__init__()
        self.backend = backend


class _Action(_BackendPage):
    """An action for PUT and POST; like statsd_exporter, other methods do nothing."""

    def render(self, request: Request) -> bytes:
        """Act if the method asks for it."""
        request.setHeader(b"content-type", PLAIN)
        return self.act(request) if request.method in (b"PUT", b"POST") else b""

    def act(self, request: Request) -> bytes:
        """Act, and return the body of the response."""
        raise NotImplementedError


class Reload(_Action):
    """Reload the mapping file; 500 and the reason if it is refused."""

    def act(self, request: Request) -> bytes:
        """Reload."""
        refused = self.backend.reload()
        if refused:
            return plain_error(request, 500, f"{refused}\n".encode())
        return b"Requesting reload\n"


class Quit(_Action):
    """Stop the bridge."""

    def act(self, request: Request) -> bytes:
        """Respond, then stop."""
        self.backend.reactor.callLater(QUIT_DELAY_SECONDS, self.backend.quit)
        return b"Requesting termination... Goodbye!\n"


class _JsonPage(_BackendPage):
    """A page as JSON."""

    def write(self, request: Request, document: Any) -> bytes:
        """Encode a document; senders choose parts of it, so it is escaped to ASCII."""
        request.setHeader(b"content-type", JSON)
        request.setHeader(b"x-content-type-options", b"nosniff")
        return json.dumps(document, indent=2).encode() + b"\n"


class Explain(_JsonPage):
    """Explain what would become of `?line=`; it is not counted."""

    def render_GET(self, request: Request) -> bytes:
        """Return the explanation, or 400 and an example."""
        lines = (request.args or {}).get(b"line", [])
        if len(lines) != 1 or not lines[0]:
            body = b"ask for one line: /explain?line=api.hits:1%7Cc\n"
            return plain_error(request, 400, body)
        return self.write(request, self.backend.explain(lines[0]))


class Unmapped(_JsonPage):
    """List unmapped names and rejected lines, newest first."""

    def render_GET(self, request: Request) -> bytes:
        """Return the lists."""
        return self.write(request, self.backend.unmapped())


def plain_error(request: Request, status: int, body: bytes) -> bytes:
    """Set the status and type of a response in plain text; return its body."""
    request.setResponseCode(status)
    request.setHeader(b"content-type", PLAIN)
    return body
