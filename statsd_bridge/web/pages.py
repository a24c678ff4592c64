"""The small pages: health, reload, quit, explain, unmapped, landing page."""

from __future__ import annotations

import html
import json
from typing import Any

from statsd_bridge.web.base import (
    NOT_DONE_YET,
    PLAIN,
    BackendPage,
    Page,
    PageRequest,
    plain_error,
)

HTML = b"text/html; charset=utf-8"
JSON = b"application/json"

QUIT_DELAY_SECONDS = 0.1
"""Time for the response of /-/quit to be sent before the reactor stops."""


class Landing(Page):
    """The page at `/`, for every method."""

    def __init__(self, telemetry_path: str, version: str) -> None:
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

    def render(self, request: PageRequest) -> bytes:
        """Return the page."""
        request.setHeader(b"content-type", HTML)
        return self._body


class StaticText(Page):
    """A fixed text for GET; like statsd_exporter, 200 and empty for other methods."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def render(self, request: PageRequest) -> bytes:
        """Return the text."""
        request.setHeader(b"content-type", PLAIN)
        return self._body if request.method in (b"GET", b"HEAD") else b""


class Star(Page):
    """The response to OPTIONS for `*`, which is no path (RFC 9110, 9.3.7)."""

    def render(self, request: PageRequest) -> bytes:
        """Return an empty body."""
        return b""


class NotFound(Page):
    """The response to an unknown path."""

    def render(self, request: PageRequest) -> bytes:
        """Return status 404."""
        return plain_error(request, 404, b"404 page not found\n")


class Redirect(Page):
    """
    The response to a path that is not clean: where it leads to.

    The status keeps the method; it is that of Go since 1.26.
    """

    def __init__(self, path: bytes) -> None:
        self._path = path

    def render(self, request: PageRequest) -> bytes:
        """Return the path, with the query of the request."""
        query = request.uri.partition(b"?")[2]
        location = self._path + (b"?" + query if query else b"")
        request.setResponseCode(307)
        request.setHeader(b"location", location)
        if request.method not in (b"GET", b"HEAD"):
            return b""
        request.setHeader(b"content-type", HTML)
        link = html.escape(location.decode("ascii"))
        return f'<a href="{link}">Temporary Redirect</a>.\n\n'.encode()


class _Action(BackendPage):
    """
    An action for PUT and POST; like statsd_exporter, other methods do nothing.

    A request that a page of another site made a browser send is refused.
    """

    def render(self, request: PageRequest) -> bytes | int:
        """Act on PUT and POST; otherwise return an empty body."""
        request.setHeader(b"content-type", PLAIN)
        if request.method not in (b"PUT", b"POST"):
            return b""
        if is_cross_origin(request):
            return plain_error(request, 403, b"requests of other sites are refused\n")
        return self.act(request)

    def act(self, request: PageRequest) -> bytes | int:
        """Act, and return the body of the response, or NOT_DONE_YET."""
        raise NotImplementedError


def is_cross_origin(request: PageRequest) -> bool:
    """
    Return whether a browser sent a request for a page of another origin.

    The algorithm is that of Go's CrossOriginProtection: browsers of today send
    Sec-Fetch-Site, older ones Origin, other clients neither.
    """
    site = request.getHeader(b"sec-fetch-site")
    if site:
        return site not in (b"same-origin", b"none")
    origin = request.getHeader(b"origin")
    host = (origin or b"").partition(b"://")[2]
    return bool(origin) and host != request.getHeader(b"host")


class Reload(_Action):
    """Reload the mapping file; 500 and the reason if it is refused."""

    def act(self, request: PageRequest) -> int:
        """Reload; respond when the new rules are in force or refused."""
        closed = request.notifyFinish()
        # Not an error: the client has closed its connection.
        closed.addErrback(lambda _: None)

        def respond(refused: str) -> None:
            if not closed.called:
                request.write(self._response(request, refused))
                request.finish()

        self.backend.reload().addCallback(respond)
        return NOT_DONE_YET

    def _response(self, request: PageRequest, refused: str) -> bytes:
        if refused:
            return plain_error(request, 500, f"{refused}\n".encode())
        return b"Requesting reload\n"


class Quit(_Action):
    """Stop the bridge."""

    def act(self, request: PageRequest) -> bytes:
        """Respond, then stop."""
        self.backend.reactor.callLater(QUIT_DELAY_SECONDS, self.backend.quit)
        return b"Requesting termination... Goodbye!\n"


class _JsonPage(BackendPage):
    """A page as JSON, for GET and HEAD."""

    def render(self, request: PageRequest) -> bytes:
        """Return the page, or 405 for another method."""
        if request.method in (b"GET", b"HEAD"):
            return self.get(request)
        request.setHeader(b"allow", b"GET, HEAD")
        return plain_error(request, 405, b"405 method not allowed\n")

    def get(self, request: PageRequest) -> bytes:
        """Return the page."""
        raise NotImplementedError

    def write(self, request: PageRequest, document: Any) -> bytes:
        """Encode a document; senders choose parts of it, so it is escaped to ASCII."""
        request.setHeader(b"content-type", JSON)
        request.setHeader(b"x-content-type-options", b"nosniff")
        return json.dumps(document, indent=2).encode() + b"\n"


class Explain(_JsonPage):
    """Explain what would become of `?line=`; it is not counted."""

    def get(self, request: PageRequest) -> bytes:
        """Return the explanation, or 400 and an example."""
        lines = (request.args or {}).get(b"line", [])
        if len(lines) != 1 or not lines[0]:
            body = b"the parameter `line` is missing or repeated: use ?line=a:1%7Cc\n"
            return plain_error(request, 400, body)
        return self.write(request, self.backend.explain(lines[0]))


class Unmapped(_JsonPage):
    """List unmapped names and failed lines, newest first."""

    def get(self, request: PageRequest) -> bytes:
        """Return the lists."""
        return self.write(request, self.backend.list_unmapped_and_failed())
