"""The HTTP door, spoken to in bytes over a transport in memory."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.base import DelayedCall
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from statsd_bridge import web

SLICES = [b"a 1\n", b"b 2\n", b"c 3\n"]


class Bridge:
    """What the door is handed, and what it did with it."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        self.quits = 0
        self.turns: list[Callable[[], None]] = []
        self.refused = ""
        self.in_flight = 0
        self.sizes: list[int] = []

    def metrics(self, accept: str) -> web.Page:
        """Give a page of three slices."""
        return web.Page("text/plain; version=0.0.4; charset=utf-8", self._slices())

    def _slices(self) -> Iterator[bytes]:
        yield from SLICES

    def quit(self) -> None:
        """Count."""
        self.quits += 1

    def functions(self) -> web.Functions:
        """Hand everything over."""
        return web.Functions(
            metrics=self.metrics,
            began=self.began,
            ended=self.ended,
            reload=lambda: self.refused,
            quit=self.quit,
            explain=lambda line: {"line": line.decode()},
            unmapped=lambda: {"unmapped_names": ["<b>"]},
            later=self.later,
        )

    def began(self) -> None:
        """Count."""
        self.in_flight += 1

    def ended(self, status: int, seconds: float, size: int) -> None:
        """Remember."""
        self.in_flight -= 1
        self.statuses.append(status)
        self.sizes.append(size)

    def later(self, seconds: float, call: Callable[[], None]) -> DelayedCall:
        """Keep what is to be done next; the bounds of time never come here."""
        if not seconds:
            self.turns.append(call)
        return Clock().callLater(seconds, call)


def door(bridge: Bridge, *, lifecycle: bool = True) -> Any:
    """Build the door of a bridge that lets everybody in."""
    return web.door(
        bridge.functions(),
        web.Guard("", lambda why: None),
        telemetry_path="/metrics",
        lifecycle=lifecycle,
        version="1.2.3",
    )


Ask = Callable[..., tuple[bytes, bytes]]


@pytest.fixture
def bridge() -> Bridge:
    """A bridge in memory."""
    return Bridge()


@pytest.fixture
def ask(bridge: Bridge) -> Ask:
    """Ask for a path; gives head and body."""

    def asking(
        method: str, path: str, headers: str = "", *, lifecycle: bool = True
    ) -> tuple[bytes, bytes]:
        channel = door(bridge, lifecycle=lifecycle).buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(
            f"{method} {path} HTTP/1.0\r\nHost: x\r\n{headers}\r\n".encode()
        )
        while bridge.turns:
            bridge.turns.pop()()
        head, _, body = transport.value().partition(b"\r\n\r\n")
        return head, body

    return asking


def test_the_page_is_written_slice_by_slice(ask: Ask, bridge: Bridge) -> None:
    """All slices arrive with the content type, and the scrape is told."""
    head, body = ask("GET", "/metrics")

    assert head.startswith(b"HTTP/1.0 200 ")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert b"Server:" not in head
    assert body == b"".join(SLICES)
    assert bridge.statuses == [200]


def test_a_slow_reader_is_not_written_to(bridge: Bridge) -> None:
    """While the transport is full nothing more is made; afterwards the rest follows."""
    channel = door(bridge).buildProtocol(None)
    transport = StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(b"GET /metrics HTTP/1.0\r\n\r\n")
    transport.producer.pauseProducing()
    bridge.turns.pop()()
    paused = transport.value()
    transport.producer.resumeProducing()
    while bridge.turns:
        bridge.turns.pop()()

    assert SLICES[1] not in paused
    assert transport.value().endswith(b"".join(SLICES))


def test_the_page_is_compressed_when_asked(ask: Ask) -> None:
    """gzip unpacks to the same page."""
    head, body = ask("GET", "/metrics", "Accept-Encoding: gzip\r\n")

    assert b"Content-Encoding: gzip" in head
    assert gzip.decompress(body) == b"".join(SLICES)


def test_head_has_no_body(ask: Ask) -> None:
    """HEAD answers as GET does, without the page."""
    head, body = ask("HEAD", "/metrics")

    assert head.startswith(b"HTTP/1.0 200 ")
    assert body == b""


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/-/healthy", b"200", b"Statsd Exporter is Healthy.\n"),
        ("/-/ready", b"200", b"Statsd Exporter is Ready.\n"),
        ("/", b"200", b'<a href="/metrics">'),
        ("/nothing", b"404", b"404 page not found\n"),
        ("/metrics/more", b"404", b"404 page not found\n"),
        ("/metrics?name=x", b"200", b"a 1\n"),
    ],
)
def test_each_path_answers(ask: Ask, path: str, status: bytes, words: bytes) -> None:
    """Health, readiness, the landing page, and 404 for the rest."""
    head, body = ask("GET", path)

    assert head.split(b" ")[1] == status
    assert words in body


def test_reload_says_why_a_file_is_refused(ask: Ask, bridge: Bridge) -> None:
    """200 when the new rules hold, 500 and the reason when the old ones stay."""
    good, _ = ask("POST", "/-/reload")
    bridge.refused = "rules.yml: mappings[0].match: missing"
    bad, reason = ask("PUT", "/-/reload")

    assert good.startswith(b"HTTP/1.0 200 ")
    assert bad.startswith(b"HTTP/1.0 500 ")
    assert reason == b"rules.yml: mappings[0].match: missing\n"


def test_quit_answers_and_then_stops(ask: Ask, bridge: Bridge) -> None:
    """Only PUT and POST stop the bridge."""
    ask("GET", "/-/quit")
    assert bridge.quits == 0

    head, _ = ask("POST", "/-/quit")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert bridge.quits == 1


@pytest.mark.parametrize("path", ["/-/reload", "/-/quit"])
def test_lifecycle_is_off_unless_switched_on(
    ask: Ask, bridge: Bridge, path: str
) -> None:
    """Without the flag nobody can stop or change the bridge over HTTP."""
    head, _ = ask("POST", path, lifecycle=False)

    assert head.startswith(b"HTTP/1.0 404 ")
    assert bridge.quits == 0
