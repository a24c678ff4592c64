"""Pages that are small: whoever made a Functions decides what they say."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import Request

PLAIN = b"text/plain; charset=utf-8"
JSON = b"application/json"

DOING = (b"PUT", b"POST")
"""Methods that do something; others are answered with nothing, as there."""

GOODBYE_SECONDS = 0.1
"""So long the last answer has to reach the kernel before the reactor stops."""

LONGEST_LINE = 65_535
"""Bytes of a line that may be asked about: as many as a datagram carries."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page in slices, and what it is; an empty slice is only a turn for others."""

    content_type: str
    slices: Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Functions:
    """
    What the door is handed.

    `metrics` gets the Accept header.  `began` is told of each scrape, `ended` of its
    status, seconds and bytes, `failed` of a bug of ours that broke one, `closed` of a
    connection that made room.  `reload` returns why the new file is refused, or
    nothing.  `explain` gets a line and, like `unmapped`, returns what JSON can hold.
    `later` calls what it is given after so many seconds; 0 is the reactor's next turn.
    """

    metrics: Callable[[str], Page]
    began: Callable[[], None]
    ended: Callable[[int, float, int], None]
    failed: Callable[[Exception], None]
    closed: Callable[[], None]
    reload: Callable[[], str]
    quit: Callable[[], None]
    explain: Callable[[bytes], Any]
    unmapped: Callable[[], Any]
    later: Callable[[float, Callable[[], None]], Any]


class Landing(Resource):
    """The page at `/`, whatever the method."""

    isLeaf = True

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self._page = page

    def render(self, request: Request) -> bytes:
        """Show it."""
        request.setHeader(b"content-type", b"text/html; charset=utf-8")
        return self._page


class Said(Resource):
    """A sentence; to other methods than GET nothing is said, as there."""

    isLeaf = True

    def __init__(self, words: bytes) -> None:
        super().__init__()
        self._words = words

    def render(self, request: Request) -> bytes:
        """Say it."""
        request.setHeader(b"content-type", PLAIN)
        return self._words if request.method in (b"GET", b"HEAD") else b""


class NotFound(Resource):
    """Every path that is not known."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Say so."""
        request.setResponseCode(404)
        request.setHeader(b"content-type", PLAIN)
        return b"404 page not found\n"


class Reload(Resource):
    """Reads the mapping file anew at PUT and POST."""

    isLeaf = True

    def __init__(self, reload: Callable[[], str]) -> None:
        super().__init__()
        self._reload = reload

    def render(self, request: Request) -> bytes:
        """Do it, and say why if the file is refused."""
        request.setHeader(b"content-type", PLAIN)
        if request.method not in DOING:
            return b""
        refused = self._reload()
        if refused:
            request.setResponseCode(500)
            return f"{refused}\n".encode()
        return b"Requesting reload\n"


class Quit(Resource):
    """Ends the bridge at PUT and POST."""

    isLeaf = True

    def __init__(self, functions: Functions) -> None:
        super().__init__()
        self._functions = functions

    def render(self, request: Request) -> bytes:
        """Say goodbye, then end."""
        request.setHeader(b"content-type", PLAIN)
        if request.method not in DOING:
            return b""
        self._functions.later(GOODBYE_SECONDS, self._functions.quit)
        return b"Requesting termination... Goodbye!\n"


class Explain(Resource):
    """What would become of `?line=`; nothing does."""

    isLeaf = True

    def __init__(self, explain: Callable[[bytes], Any]) -> None:
        super().__init__()
        self._explain = explain

    def render_GET(self, request: Request) -> bytes:
        """Tell, or say how to ask."""
        lines = (request.args or {}).get(b"line", [])
        if len(lines) != 1 or not lines[0] or len(lines[0]) > LONGEST_LINE:
            request.setResponseCode(400)
            request.setHeader(b"content-type", PLAIN)
            return b"ask for one line: /explain?line=api.hits:1%7Cc\n"
        return as_json(request, self._explain(lines[0]))


class Told(Resource):
    """What a function returns now, as JSON."""

    isLeaf = True

    def __init__(self, tell: Callable[[], Any]) -> None:
        super().__init__()
        self._tell = tell

    def render_GET(self, request: Request) -> bytes:
        """Tell."""
        return as_json(request, self._tell())


def as_json(request: Request, said: Any) -> bytes:
    """Write what was said as JSON; senders chose some of it, so all is ASCII."""
    request.setHeader(b"content-type", JSON)
    request.setHeader(b"x-content-type-options", b"nosniff")
    return json.dumps(said, indent=2).encode() + b"\n"


def landing(telemetry_path: str, version: str) -> bytes:
    """Write the page at `/`."""
    path = html.escape(telemetry_path)
    return (
        "<!doctype html><html lang=en><title>StatsD Exporter</title>"
        "<h1>statsd-bridge</h1><p>Statsd in, Prometheus out."
        f" Version {html.escape(version)}.</p>"
        f'<ul><li><a href="{path}">Metrics</a></li>'
        '<li><a href="/debug/unmapped">Names without a rule, lines refused</a></li>'
        "</ul><form action=/explain><label>What becomes of a line:"
        ' <input name=line size=60 value="api.hits:1|c"></label></form>\n'
    ).encode()
