"""
A request: what is checked before its page is rendered.

    well-formed? --> within the rate limit? --> of a user? --> the page
       400                 429                 401, 429, 503
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from twisted.python.failure import Failure

from statsd_bridge.connections import peer_of_host
from statsd_bridge.web import base
from statsd_bridge.web.bodies import MAX_BODY_BYTES, ReceivedBody
from statsd_bridge.web.checks import Admission, PasswordCheck

REFUSALS: Final = {
    Admission.UNAUTHORIZED: (401, b"Unauthorized\n"),
    Admission.TOO_MANY_OF_PEER: (429, b"too many password checks of this client\n"),
    Admission.OVERLOADED: (503, base.TRY_LATER),
}

# The characters of RFC 3986 in a host, as Go checks them.
_HOST: Final = re.compile(rb"[A-Za-z0-9!$%&'()*+,\-.:;=@\[\]_~]*").fullmatch

# A path, or a URL for a proxy; other forms are for other methods than a page has.
_TARGET: Final = re.compile(
    rb"(?:[A-Za-z][A-Za-z0-9+.-]*://[!-~]*|/[!-~]*|\*)"
).fullmatch

_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})").search


class HttpRequest(base.PageRequest):
    """A request that must be well-formed and admitted; most bodies are ignored."""

    _body_bytes = 0
    _check: PasswordCheck | None = None
    _received: ReceivedBody | None = None

    def gotLength(self, length: int | None) -> None:
        # Twisted reserves memory or a file for the body; none is needed.
        super().gotLength(0)
        bodies = self.channel.site.bodies
        if bodies.takes(self.channel.request_line):
            peer = peer_of_host(str(getattr(self.channel.getPeer(), "host", "")))
            self._received = received = ReceivedBody(bodies, peer)
            self.notifyFinish().addBoth(lambda _: received.release())

    def handleContentChunk(self, data: bytes) -> None:
        if self._received is not None:
            is_read = self._received.add(data)
        else:
            self._body_bytes += len(data)
            is_read = self._body_bytes <= MAX_BODY_BYTES
        if not is_read:
            self.channel.forceAbortClient()

    def process(self) -> None:
        self.args = _parameters(self.uri)
        if self._received is not None:
            self.body = self._received.content()
            self.body_problem = self._received.problem
        problem = _problem(self)
        if problem:
            self._refuse_malformed(problem)
            return
        guard = self.channel.site.guard
        if not guard.allow_request():
            self._reject(429, b"Too Many Requests\n")
            return
        self._check = guard.authenticate(self.getHeader(b"authorization"), self)
        self._check.result.addCallback(self._checked).addErrback(self._failed)

    def stop_waiting(self) -> None:
        if self._check is not None and self._check.cancel():
            self._reject(*REFUSALS[Admission.OVERLOADED])
        else:
            super().stop_waiting()

    def connectionLost(self, reason: Failure) -> None:
        if self._check is not None:
            self._check.cancel()
        super().connectionLost(reason)

    def _checked(self, admission: Admission) -> None:
        if self._disconnected:
            return
        if admission is Admission.ADMITTED:
            self._set_headers()
            super().process()
            return
        if admission is Admission.UNAUTHORIZED:
            self.setHeader(b"www-authenticate", b"Basic")
        self._reject(*REFUSALS[admission])

    def _failed(self, failure: Failure) -> None:
        """Report an exception of the check, or of the response."""
        self.channel.site.bugs.report(failure.value)
        if not self._disconnected:
            self.channel.forceAbortClient()

    def _refuse_malformed(self, problem: bytes) -> None:
        """Respond 400, and close: what follows on the connection cannot be trusted."""
        self.channel.persistent = False
        self.setHeader(b"connection", b"close")
        self._reject(400, b"400 Bad Request: " + problem + b"\n")

    def _reject(self, status: int, body: bytes) -> None:
        self._set_headers()
        self.write(base.plain_error(self, status, body))
        self.finish()

    def _set_headers(self) -> None:
        for name, value in self.channel.site.guard.headers.items():
            self.setHeader(name.encode(), value.encode())


def _parameters(target: bytes) -> dict[bytes, list[bytes]]:
    """
    Return the query of a request target; a parameter without `=` has an empty value.

    Twisted leaves those out, and divides a value such as a:1|c|#x;y at its semicolon.
    """
    found: dict[bytes, list[bytes]] = {}
    for part in filter(None, target.partition(b"?")[2].split(b"&")):
        name, _, value = part.replace(b"+", b" ").partition(b"=")
        found.setdefault(unquote_to_bytes(name), []).append(unquote_to_bytes(value))
    return found


def _problem(request: HttpRequest) -> bytes:
    """Return why the head of a request is malformed, like Go; empty if it is not."""
    hosts = request.requestHeaders.getRawHeaders(b"host", [])
    if len(hosts) > 1:
        return b"too many Host headers"
    if not hosts and request.clientproto == b"HTTP/1.1":
        return b"missing required Host header"
    if hosts and not _HOST(hosts[0]):
        return b"malformed Host header"
    is_star = request.uri == b"*" and request.method != b"OPTIONS"
    if is_star or not _TARGET(request.uri) or _BAD_ESCAPE(request.path):
        return b"invalid URI for request"
    return b""
