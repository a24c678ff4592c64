"""
Answers that take long: they are made in steps, between which the sockets are read.

    request --> waiting --> running, some at a time in turn --> sending --> the client

Too many at once get status 503.  A job ends with its client, and a client that does not
read its answer in time, or that many others wait behind, is disconnected.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from statsd_bridge.inspection import Json, Steps
from statsd_bridge.web.base import BUG, Backend, PageRequest, plain_error

MAX_RUNNING = 4
"""Jobs that run at the same time; each may hold a list of all keys."""

MAX_WAITING = 32
MAX_WAITING_OF_PEER = 8
"""Jobs that wait until one of those has ended."""

MAX_SENDING = 16
"""Answers that are not sent yet; one more disconnects the client of the oldest one."""

SLICE_SECONDS = 0.002
"""Work between two looks at the sockets."""

BACKLOG_SECONDS = 0.01
"""Between two slices while more packets wait than are read at once: these go first."""

MAX_JOB_SECONDS = 30.0
"""A job that takes longer ends with status 503."""

MAX_SEND_SECONDS = 30.0
"""A client that has not read its answer by then is disconnected."""

HALF_CLOSED_SECONDS = 1.0
"""
A job goes on for this long when the client has closed its side: most are gone, but
`nc -N` waits for the response.
"""

SENT_BYTES = 64 * 1024
"""Bytes that are written at once."""

JSON_TYPE = b"application/json"


class Jobs:
    """The jobs of one server, in the order of their requests."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._waiting: dict[_Job, None] = {}
        self._running: dict[_Job, None] = {}
        self._sending: dict[_Job, None] = {}
        self._is_scheduled = False

    def add(self, request: PageRequest, steps: Steps[bytes]) -> bool:
        """
        Do steps and send the body that they return; return False if there are too many.

        The last step sets the headers of the response.
        """
        of_peer = Counter(each.request.peer for each in self._waiting)[request.peer]
        if len(self._waiting) >= MAX_WAITING or of_peer >= MAX_WAITING_OF_PEER:
            return False
        job = _Job(self.backend, request, steps)
        self._waiting[job] = None
        request.is_waiting = True
        request.notifyFinish().addBoth(lambda _: self._ended(job))
        self._schedule()
        return True

    def _ended(self, job: _Job) -> None:
        """Forget a job: its answer is sent, or its client is gone."""
        job.close()
        for jobs in (self._waiting, self._running, self._sending):
            jobs.pop(job, None)
        self._schedule()

    def _schedule(self) -> None:
        while self._waiting and len(self._running) < MAX_RUNNING:
            job = next(iter(self._waiting))
            del self._waiting[job]
            job.request.is_waiting = False
            self._running[job] = None
        if self._running and not self._is_scheduled:
            self._is_scheduled = True
            delay = BACKLOG_SECONDS if self.backend.has_backlog() else 0
            self.backend.reactor.callLater(delay, self._run)

    def _run(self) -> None:
        """Do a slice of the next job."""
        self._is_scheduled = False
        if self._running:
            job = next(iter(self._running))
            del self._running[job]
            body = job.do_slice()
            if body is None:
                self._running[job] = None
            else:
                self._send(job, body)
        self._schedule()

    def _send(self, job: _Job, body: bytes) -> None:
        if len(self._sending) >= MAX_SENDING:
            oldest = next(iter(self._sending))
            del self._sending[oldest]
            oldest.abort()
        self._sending[job] = None
        job.send(body)


@implementer(IPushProducer)
class _Job:
    """One request, and the steps of its answer."""

    def __init__(
        self, backend: Backend, request: PageRequest, steps: Steps[bytes]
    ) -> None:
        self.request = request
        self._backend = backend
        self._steps = steps
        self._ends_at = time.monotonic() + MAX_JOB_SECONDS
        self._body = memoryview(b"")
        self._deadline: Any = None
        self._is_producing = self._is_scheduled = False

    def do_slice(self) -> bytes | None:
        """Do some steps; return the body of the response, or None for more to do."""
        now = time.monotonic()
        if self.request.is_half_closed:
            self._ends_at = min(self._ends_at, now + HALF_CLOSED_SECONDS)
        if now > self._ends_at:
            problem = f"this takes more than {MAX_JOB_SECONDS:.0f} s: ask for less"
            return json_error(self.request, 503, problem)
        try:
            while time.monotonic() < now + SLICE_SECONDS:
                next(self._steps)
        except StopIteration as ended:
            body: bytes = ended.value
            return body
        except Exception as error:
            self._backend.bugs.report(error)
            return plain_error(self.request, 500, BUG)
        return None

    def send(self, body: bytes) -> None:
        """Send the body of the response as the client reads it."""
        self.close()
        request = self.request
        request.setHeader(b"content-length", b"%d" % len(body))
        if len(body) <= SENT_BYTES:
            request.write(body)
            request.finish()
            return
        self._body = memoryview(body)
        self._deadline = self._backend.reactor.callLater(MAX_SEND_SECONDS, self.abort)
        request.registerProducer(self, True)
        self.resumeProducing()

    def close(self) -> None:
        """Do no more steps."""
        self._steps.close()
        self._is_producing = False
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def abort(self) -> None:
        """Disconnect the client."""
        self.request.channel.forceAbortClient()

    def resumeProducing(self) -> None:
        """Go on: the connection accepts data again."""
        self._is_producing = True
        if not self._is_scheduled:
            self._write()

    def pauseProducing(self) -> None:
        """Wait for the client."""
        self._is_producing = False

    def stopProducing(self) -> None:
        """Stop: the client has closed the connection."""
        self._is_producing = False

    def _write(self) -> None:
        self._is_scheduled = False
        if not self._is_producing:
            return
        part, self._body = self._body[:SENT_BYTES], self._body[SENT_BYTES:]
        self.request.write(bytes(part))
        if not self._body:
            self.request.unregisterProducer()
            self.request.finish()
            return
        self._is_scheduled = True
        self._backend.reactor.callLater(0, self._write)


def encode_json(request: PageRequest, steps: Steps[Json]) -> Steps[bytes]:
    """
    Do the steps, then encode what they return, an item of a list at a time.

    Set the headers of the response, too.
    """
    document = yield from steps
    fields: list[str] = []
    for name, value in document.items():
        if isinstance(value, list):
            encoded: list[str] = []
            for item in value:
                encoded.append(json.dumps(item))
                yield
            fields.append(f"{json.dumps(name)}: [{', '.join(encoded)}]")
        else:
            fields.append(f"{json.dumps(name)}: {json.dumps(value)}")
    set_json_headers(request)
    return f"{{{', '.join(fields)}}}\n".encode()


def set_json_headers(request: PageRequest) -> None:
    """Set the headers of an answer in JSON, which no cache keeps."""
    request.setHeader(b"content-type", JSON_TYPE)
    request.setHeader(b"x-content-type-options", b"nosniff")
    request.setHeader(b"cache-control", b"no-store")


def json_error(request: PageRequest, status: int, text: str) -> bytes:
    """Set the status of a refusal; return its body, escaped to ASCII."""
    request.setResponseCode(status)
    set_json_headers(request)
    if status == 503:
        request.setHeader(b"retry-after", b"1")
    return json.dumps({"error": text}).encode() + b"\n"
