"""The HTTP door: what each path answers."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.testing import StringTransport

PAGE = b"a 1\nb 2\nc 3\n"

Ask = Callable[..., tuple[bytes, bytes]]


@pytest.fixture
def ask(bridge: Any) -> Ask:
    """Ask for a path; gives head and body."""

    def asking(
        method: str, path: str, headers: str = "", **flags: Any
    ) -> tuple[bytes, bytes]:
        channel = bridge.door(**flags).buildProtocol(None)
        transport = StringTransport()
        channel.makeConnection(transport)
        channel.dataReceived(
            f"{method} {path} HTTP/1.0\r\nHost: x\r\n{headers}\r\n".encode()
        )
        bridge.take_turns()
        head, _, body = transport.value().partition(b"\r\n\r\n")
        return head, body

    return asking


def test_the_page_is_written_slice_by_slice(ask: Ask, bridge: Any) -> None:
    """All slices arrive with the content type, and the scrape is told."""
    head, body = ask("GET", "/metrics")

    assert head.startswith(b"HTTP/1.0 200 ")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert b"Server:" not in head
    assert body == PAGE
    assert bridge.statuses == [200]


def test_the_page_is_compressed_when_asked(ask: Ask) -> None:
    """gzip unpacks to the same page."""
    head, body = ask("GET", "/metrics", "Accept-Encoding: gzip\r\n")

    assert b"Content-Encoding: gzip" in head
    assert gzip.decompress(body) == PAGE


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
        # As a proxy is asked.
        ("http://bridge.example.org:9102/metrics?name=x", b"200", b"a 1\n"),
        ("http://bridge.example.org", b"200", b'<a href="/metrics">'),
        ("http://bridge.example.org/more", b"404", b"404 page not found\n"),
        ("/http://bridge.example.org/metrics", b"404", b"404 page not found\n"),
    ],
)
def test_each_path_answers(ask: Ask, path: str, status: bytes, words: bytes) -> None:
    """Health, readiness, the landing page, and 404 for the rest."""
    head, body = ask("GET", path)

    assert head.split(b" ")[1] == status
    assert words in body


def test_reload_says_why_a_file_is_refused(ask: Ask, bridge: Any) -> None:
    """200 when the new rules hold, 500 and the reason when the old ones stay."""
    good, _ = ask("POST", "/-/reload")
    bridge.refused = "rules.yml: mappings[0].match: missing"
    bad, reason = ask("PUT", "/-/reload")

    assert good.startswith(b"HTTP/1.0 200 ")
    assert bad.startswith(b"HTTP/1.0 500 ")
    assert reason == b"rules.yml: mappings[0].match: missing\n"


def test_quit_answers_and_then_stops(ask: Ask, bridge: Any) -> None:
    """Only PUT and POST stop the bridge."""
    ask("GET", "/-/quit")
    bridge.clock.advance(1)
    assert bridge.quits == 0

    head, _ = ask("POST", "/-/quit")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert bridge.quits == 0
    bridge.clock.advance(1)
    assert bridge.quits == 1


@pytest.mark.parametrize("path", ["/-/reload", "/-/quit"])
def test_lifecycle_is_off_unless_switched_on(ask: Ask, bridge: Any, path: str) -> None:
    """Without the flag nobody can stop or change the bridge over HTTP."""
    head, _ = ask("POST", path, lifecycle=False)

    assert head.startswith(b"HTTP/1.0 404 ")
    assert bridge.quits == 0


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        # As statsd_exporter 0.30.0 has it: what a method does not mean is 200, empty.
        ("HEAD", "/-/healthy", b""),
        ("POST", "/-/healthy", b""),
        ("PUT", "/-/ready", b""),
        ("DELETE", "/-/ready", b""),
        ("GET", "/-/reload", b""),
        ("HEAD", "/-/reload", b""),
        ("GET", "/-/quit", b""),
        ("DELETE", "/-/quit", b""),
        ("PUT", "/-/reload", b"Requesting reload\n"),
        ("PUT", "/-/quit", b"Requesting termination... Goodbye!\n"),
        ("POST", "/metrics", PAGE),
        ("DELETE", "/metrics", PAGE),
    ],
)
def test_other_methods_are_answered_as_there(
    ask: Ask, method: str, path: str, words: bytes
) -> None:
    """Only GET reads, only PUT and POST do something, and the page is for all."""
    head, body = ask(method, path)

    assert head.startswith(b"HTTP/1.0 200 ")
    assert body == words


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/", b"a 1\n"),
        ("/nothing", b"a 1\n"),
        ("/-/healthy", b"Statsd Exporter is Healthy.\n"),
    ],
)
def test_metrics_at_the_root_are_everywhere(ask: Ask, path: str, words: bytes) -> None:
    """There is no landing page then, and no path is unknown."""
    head, body = ask("GET", path, telemetry_path="/")

    assert head.startswith(b"HTTP/1.0 200 ")
    assert words in body


def test_a_path_may_be_written_with_escapes(ask: Ask) -> None:
    """What a client must escape, and what it may, is the same path."""
    head, _ = ask("GET", "/%6d%C3%BC%20x", telemetry_path="/mü x")

    assert head.startswith(b"HTTP/1.0 200 ")


def test_there_is_nothing_to_profile(ask: Ask) -> None:
    """The profiles that statsd_exporter shows to everybody are not here."""
    for path in ("/debug/pprof/", "/debug/pprof/heap", "/debug/vars"):
        assert ask("GET", path)[0].startswith(b"HTTP/1.0 404 ")


def test_a_bug_before_the_first_byte_is_a_500(ask: Ask, bridge: Any) -> None:
    """It is told, counted as 500, and the reader is not left waiting."""
    bridge.slices = [RuntimeError("a bug")]
    head, body = ask("GET", "/metrics", "Accept-Encoding: gzip\r\n")

    assert head.startswith(b"HTTP/1.0 500 ")
    assert b"gzip" not in head
    assert body.startswith(b"a bug kept")
    assert [str(error) for error in bridge.failures] == ["a bug"]
    assert bridge.statuses == [500]
