"""The HTTP server: the response of each path."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from tests.statsd_bridge.web_in_memory import Backend

PAGE = b"a 1\nb 2\nc 3\n"

Ask = Callable[..., tuple[bytes, bytes]]


@pytest.fixture
def backend() -> Backend:
    """A backend in memory."""
    return Backend()


@pytest.fixture
def ask(backend: Backend) -> Ask:
    """Send a request; return head and body of the response."""

    def ask(
        method: str, path: str, headers: str = "", **options: Any
    ) -> tuple[bytes, bytes]:
        connection = backend.connect(backend.server(**options))
        request = f"{method} {path} HTTP/1.0\r\nHost: x\r\n{headers}\r\n"
        connection.send(request.encode())
        backend.reactor.run_pending()
        head, _, body = connection.received.partition(b"\r\n\r\n")
        return head, body

    return ask


def test_the_page_is_sent_slice_by_slice(ask: Ask, backend: Backend) -> None:
    """All slices arrive with their content type, and the scrape is counted."""
    head, body = ask("GET", "/metrics")

    assert head.startswith(b"HTTP/1.0 200 ")
    assert b"Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert b"Server:" not in head
    assert body == PAGE
    # A response without a page is counted, but it has neither size nor duration.
    ask("HEAD", "/metrics")
    assert backend.stats.scrapes == {"200": 2}
    assert backend.stats.scrape_bytes == len(PAGE)


def test_the_page_is_compressed_when_asked(ask: Ask) -> None:
    """gzip unpacks to the same page."""
    head, body = ask("GET", "/metrics", "Accept-Encoding: gzip\r\n")

    assert b"Content-Encoding: gzip" in head
    assert gzip.decompress(body) == PAGE


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/-/healthy", b"200", b"Statsd Exporter is Healthy.\n"),
        ("/-/ready", b"200", b"Statsd Exporter is Ready.\n"),
        ("/", b"200", b'<a href="metrics">'),
        ("/nothing", b"404", b"404 page not found\n"),
        ("/metrics/more", b"404", b"404 page not found\n"),
        ("/metrics?name=x", b"200", b"a 1\n"),
        # A request to a proxy.
        ("http://bridge.example.org:9102/metrics?name=x", b"200", b"a 1\n"),
        ("http://bridge.example.org", b"200", b'<a href="metrics">'),
        ("http://bridge.example.org/more", b"404", b"404 page not found\n"),
        ("/http://bridge.example.org/metrics", b"404", b"404 page not found\n"),
        # statsd_exporter's profiles, which are open to everyone, do not exist here.
        ("/debug/pprof/", b"404", b"404 page not found\n"),
        ("/debug/pprof/heap", b"404", b"404 page not found\n"),
        ("/debug/vars", b"404", b"404 page not found\n"),
    ],
)
def test_each_path_answers(ask: Ask, path: str, status: bytes, words: bytes) -> None:
    """Health, readiness, the landing page, and 404 for all other paths."""
    head, body = ask("GET", path)

    assert head.split(b" ")[1] == status
    assert words in body


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("//metrics", "/metrics"),
        ("//metrics?a=b//c", "/metrics?a=b//c"),
        ("/./metrics", "/metrics"),
        ("/x/../metrics", "/metrics"),
        ("/../../metrics", "/metrics"),
        ("/-//healthy", "/-/healthy"),
        ("//", "/"),
        ("/..", "/"),
        ("http://x//metrics", "/metrics"),
        ("//%6detrics", "/%6detrics"),
    ],
)
def test_a_path_is_cleaned(ask: Ask, target: str, location: str) -> None:
    """Like in Go, by a redirect that keeps the method."""
    head, _ = ask("POST", target)

    assert head.startswith(b"HTTP/1.0 307 ")
    assert f"\r\nLocation: {location}\r\n".encode() in head + b"\r\n"


@pytest.mark.parametrize(
    ("target", "location"),
    [
        ("/x//", "/x/"),
        ("//evil.example.org/x", "/evil.example.org/x"),
        ("//<b>?<i>", "/<b>?<i>"),
    ],
)
def test_a_redirect_stays_on_this_server(ask: Ask, target: str, location: str) -> None:
    """With metrics at every path each path that is not clean is redirected."""
    head, body = ask("GET", target, telemetry_path="/")

    assert head.startswith(b"HTTP/1.0 307 ")
    assert f"\r\nLocation: {location}\r\n".encode() in head + b"\r\n"
    assert b"<b>" not in body
    assert b"<i>" not in body


@pytest.mark.parametrize("path", ["/-%2Fhealthy", "/%2Fmetrics", "/%2e/metrics"])
def test_an_escaped_slash_is_not_a_slash(ask: Ask, path: str) -> None:
    """Like in Go; an escaped dot is not cleaned, either."""
    head, _ = ask("GET", path)

    assert head.startswith(b"HTTP/1.0 404 ")


@pytest.mark.parametrize(
    ("headers", "is_allowed"),
    [
        ("", True),
        ("Sec-Fetch-Site: same-origin\r\n", True),
        ("Sec-Fetch-Site: none\r\n", True),
        ("Sec-Fetch-Site: cross-site\r\n", False),
        ("Sec-Fetch-Site: same-site\r\n", False),
        ("Sec-Fetch-Site: same-origin\r\nOrigin: http://y\r\n", True),
        ("Sec-Fetch-Site: cross-site\r\nOrigin: http://x\r\n", False),
        ("Origin: http://x\r\n", True),
        ("Origin: https://x\r\n", True),
        ("Origin: http://x:80\r\n", False),
        ("Origin: http://evil.example.org\r\n", False),
        ("Origin: null\r\n", False),
        ("Origin: x\r\n", False),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", ["/-/reload", "/-/quit"])
def test_forms_of_other_sites_change_nothing(
    ask: Ask,
    backend: Backend,
    *,
    method: str,
    path: str,
    headers: str,
    is_allowed: bool,
) -> None:
    """Browsers say where a request comes from; other clients send no such header."""
    backend.refused = "reloaded"
    head, body = ask(method, path, headers)
    backend.reactor.advance(1)

    assert head.startswith(b"HTTP/1.0 403 ") is not is_allowed
    assert (body == b"reloaded\n") is (is_allowed and path == "/-/reload")
    assert backend.quits == int(is_allowed and path == "/-/quit")


@pytest.mark.parametrize("path", ["/explain?line=a:1", "/debug/unmapped"])
def test_pages_that_only_read_refuse_other_methods(ask: Ask, path: str) -> None:
    """With 405 and the methods that they have."""
    for method in ("POST", "DELETE", "NONSENSE"):
        head, _ = ask(method, path)
        assert head.startswith(b"HTTP/1.0 405 ")
        assert b"\r\nAllow: GET, HEAD" in head
    head, body = ask("HEAD", path)

    assert head.startswith(b"HTTP/1.0 200 ")
    assert body == b""


def test_reload_returns_why_a_file_is_refused(ask: Ask, backend: Backend) -> None:
    """200 if the new rules are in force, 500 and the reason if the old ones stay."""
    good, _ = ask("POST", "/-/reload")
    backend.refused = "rules.yml: mappings[0].match: missing"
    bad, reason = ask("PUT", "/-/reload")

    assert good.startswith(b"HTTP/1.0 200 ")
    assert bad.startswith(b"HTTP/1.0 500 ")
    assert reason == b"rules.yml: mappings[0].match: missing\n"


def test_quit_responds_before_it_stops(ask: Ask, backend: Backend) -> None:
    """Only PUT and POST stop the bridge."""
    ask("GET", "/-/quit")
    backend.reactor.advance(1)
    assert backend.quits == 0

    head, _ = ask("POST", "/-/quit")
    assert head.startswith(b"HTTP/1.0 200 ")
    assert backend.quits == 0
    backend.reactor.advance(1)
    assert backend.quits == 1


@pytest.mark.parametrize("path", ["/-/reload", "/-/quit"])
def test_lifecycle_is_off_by_default(ask: Ask, backend: Backend, path: str) -> None:
    """Without the flag no HTTP client can stop or change the bridge."""
    head, _ = ask("POST", path, enable_lifecycle=False)

    assert head.startswith(b"HTTP/1.0 404 ")
    assert backend.quits == 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        # Like in statsd_exporter 0.30.0, 200 and empty for a method without meaning.
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
        ("HEAD", "/metrics", b""),
        ("POST", "/metrics", PAGE),
        ("DELETE", "/metrics", PAGE),
    ],
)
def test_other_methods(ask: Ask, method: str, path: str, body: bytes) -> None:
    """Only GET reads, only PUT and POST act, and every method gets the metrics."""
    head, received = ask(method, path)

    assert head.startswith(b"HTTP/1.0 200 ")
    assert received == body


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


def test_a_path_may_be_percent_encoded(ask: Ask) -> None:
    """An encoded path and a plain one are the same."""
    head, _ = ask("GET", "/%6d%C3%BC%20x", telemetry_path="/mü x")

    assert head.startswith(b"HTTP/1.0 200 ")


def test_a_bug_before_the_first_byte_is_a_500(ask: Ask, backend: Backend) -> None:
    """It is reported and counted, and the client gets a complete response."""
    backend.slices = [RuntimeError("a bug")]
    head, body = ask("GET", "/metrics", "Accept-Encoding: gzip\r\n")

    assert head.startswith(b"HTTP/1.0 500 ")
    assert b"gzip" not in head
    assert body.startswith(b"a bug prevented")
    assert [str(error) for error in backend.bugs] == ["a bug"]
    assert backend.stats.scrapes == {"500": 1}


def test_a_small_page_that_raises_is_status_500(ask: Ask, backend: Backend) -> None:
    """It is reported once; this backend explains only text."""
    head, body = ask("GET", "/explain?line=%FF")

    assert head.startswith(b"HTTP/1.0 500 ")
    assert body.startswith(b"a bug prevented")
    assert [type(error) for error in backend.bugs] == [UnicodeDecodeError]


def test_options_of_the_whole_server(ask: Ask) -> None:
    """RFC 9110, 9.3.7: a client may ask whether the server responds at all."""
    head, body = ask("OPTIONS", "*")

    assert head.startswith(b"HTTP/1.0 200 ")
    assert b"\r\nContent-Length: 0" in head
    assert body == b""
