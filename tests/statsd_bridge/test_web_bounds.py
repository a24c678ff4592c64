"""The HTTP server: its bounds against slow, silent and oversized requests."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from statsd_bridge.web.scrape import (
    MAX_SCRAPE_SECONDS,
    MAX_SCRAPES,
    MAX_WAITING_SCRAPES,
    STALL_SECONDS,
)
from statsd_bridge.web.server import MAX_IDLE_SECONDS, REQUEST_SECONDS
from tests.certificates import Authority
from tests.statsd_bridge.web_in_memory import Backend, Connection

PAGE = b"a 1\nb 2\nc 3\n"
SCRAPE = b"GET /metrics HTTP/1.0\r\n\r\n"


@pytest.fixture
def backend() -> Backend:
    """A backend in memory."""
    return Backend()


def test_a_slow_reader_is_not_written_to(backend: Backend) -> None:
    """While the transport is full no slice is rendered; the others follow later."""
    scraper = backend.connect()
    scraper.send(SCRAPE)
    scraper.transport.producer.pauseProducing()
    backend.reactor.pending.pop()()
    paused = scraper.received
    scraper.transport.producer.resumeProducing()
    backend.reactor.run_pending()

    assert b"b 2" not in paused
    assert scraper.received.endswith(PAGE)


def test_half_a_page_does_not_look_like_a_whole_one(backend: Backend) -> None:
    """A bug after the first slice cuts the connection: no last chunk is sent."""
    backend.slices = [b"a 1\n", RuntimeError("a bug")]
    scraper = backend.connect()
    scraper.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    backend.reactor.run_pending()

    assert b"a 1\n" in scraper.received
    assert not scraper.received.endswith(b"0\r\n\r\n")
    assert scraper.is_closed
    assert len(backend.bugs) == 1


def test_compression_sends_one_slice_a_turn(backend: Backend) -> None:
    """Even while the compressor holds everything back."""
    backend.slices = [b"a" * 1000] * 50
    scraper = backend.connect()
    scraper.send(b"GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")

    assert backend.reactor.run_pending() > 50
    assert gzip.decompress(scraper.received.partition(b"\r\n\r\n")[2]) == b"a" * 50_000


def stall(backend: Backend, server: Any) -> list[Connection]:
    """Start the maximum number of scrapes and read none of them."""
    stalled = [backend.connect(server) for _ in range(MAX_SCRAPES)]
    for each in stalled:
        each.send(SCRAPE)
        each.transport.producer.pauseProducing()
    backend.reactor.run_pending()
    return stalled


def test_a_stalled_reader_gives_way_to_a_waiting_scrape(backend: Backend) -> None:
    """The scrape waits until a reader has stalled long enough; the oldest is cut."""
    server = backend.server()
    stalled = stall(backend, server)
    scraper = backend.connect(server)
    scraper.send(SCRAPE)
    before = scraper.received
    backend.reactor.advance(STALL_SECONDS)
    backend.reactor.run_pending()

    assert before == b""
    assert scraper.received.endswith(PAGE)
    assert [each.is_closed for each in stalled] == [True, *[False] * (MAX_SCRAPES - 1)]


def test_a_short_pause_is_not_a_stall(backend: Backend) -> None:
    """A reader that goes on in time gets its page, and so do those that wait."""
    server = backend.server()
    slow = stall(backend, server)
    scraper = backend.connect(server)
    scraper.send(SCRAPE)
    backend.reactor.advance(STALL_SECONDS / 2)
    for each in slow:
        each.transport.producer.resumeProducing()
    backend.reactor.advance(STALL_SECONDS)
    backend.reactor.run_pending()

    assert all(each.received.endswith(PAGE) for each in (*slow, scraper))
    assert backend.stats.scrapes == {"200": MAX_SCRAPES + 1}


def test_a_waiting_scraper_that_leaves_is_forgotten(backend: Backend) -> None:
    """Its scrape is no longer in flight."""
    server = backend.server()
    stall(backend, server)
    scraper = backend.connect(server)
    scraper.send(SCRAPE)
    scraper.transport.connectionLost(Failure(ConnectionDone()))

    assert backend.stats.scrapes_in_flight == MAX_SCRAPES


def test_one_scrape_too_many_is_a_503(backend: Backend) -> None:
    """It is counted, and those that wait still wait."""
    server = backend.server(max_connections=500)
    stall(backend, server)
    for _ in range(MAX_WAITING_SCRAPES):
        backend.connect(server).send(SCRAPE)
    late = backend.connect(server)
    late.send(SCRAPE)

    assert late.received.startswith(b"HTTP/1.0 503 ")
    assert backend.stats.scrapes == {"503": 1}
    assert backend.stats.scrapes_in_flight == MAX_SCRAPES + MAX_WAITING_SCRAPES


def test_a_page_that_is_not_taken_in_time_is_given_up(backend: Backend) -> None:
    """The connection is cut."""
    scraper = backend.connect()
    scraper.send(SCRAPE)
    scraper.transport.producer.pauseProducing()
    backend.reactor.advance(MAX_SCRAPE_SECONDS - 1)
    assert not scraper.is_closed

    backend.reactor.advance(2)
    assert scraper.is_closed


def test_the_longest_inactive_connection_is_closed(backend: Backend) -> None:
    """Idle connections, however many, do not keep a new one out."""
    server = backend.server(max_connections=3)
    active, idle, idle_for_less = (backend.connect(server) for _ in range(3))
    active.send(b"GET /-/hea")
    scraper = backend.connect(server)
    scraper.send(b"GET /-/healthy HTTP/1.0\r\n\r\n")

    assert [active.is_closed, idle.is_closed, idle_for_less.is_closed] == [
        *(False, True, False)
    ]
    assert scraper.received.endswith(b"Statsd Exporter is Healthy.\n")
    assert backend.stats.http_closed == 1


def trickle(backend: Backend, connection: Connection, byte: bytes) -> None:
    """Send a byte a second, for as long as a request may take and longer."""
    for _ in range(REQUEST_SECONDS - 1):
        backend.reactor.advance(1)
        connection.send(byte)
    assert not connection.is_closed

    backend.reactor.advance(2)
    assert connection.is_closed


@pytest.mark.parametrize(
    ("start", "byte"),
    [
        (b"", b""),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n", b"x"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", b"x"),
    ],
    ids=["silence", "head", "body"],
)
def test_a_request_that_does_not_end_is_cut_off(
    backend: Backend, start: bytes, byte: bytes
) -> None:
    """Nothing, half a head or half a body, and then a byte a second."""
    connection = backend.connect()
    connection.send(start)
    trickle(backend, connection, byte)


@pytest.fixture
def tls_config(tmp_path: Path) -> str:
    """A web configuration file with TLS."""
    certificate, key = Authority(tmp_path).issue("bridge")
    file = tmp_path / "web.yml"
    file.write_text(f"tls_server_config: {{cert_file: {certificate}, key_file: {key}}}")
    return str(file)


def test_a_handshake_that_does_not_end_is_cut_off(
    backend: Backend, tls_config: str
) -> None:
    """The time for a request begins with the connection."""
    connection = backend.connect(backend.server(web_config=tls_config))
    # The head of a TLS record of the maximum length.
    connection.send(b"\x16\x03\x01\x3f\xff")
    trickle(backend, connection, b"x")


def test_plain_http_on_a_tls_port_is_cut_off(backend: Backend, tls_config: str) -> None:
    """At once and without a response."""
    connection = backend.connect(backend.server(web_config=tls_config))
    connection.send(SCRAPE)

    assert connection.is_closed
    assert b"HTTP" not in connection.received


def test_a_connection_may_idle_between_requests(backend: Backend) -> None:
    """A scraper keeps its connection for longer than a request may take."""
    connection = backend.connect()
    for _ in range(3):
        connection.send(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        backend.reactor.advance(REQUEST_SECONDS * 2)
        assert not connection.is_closed
    backend.reactor.advance(MAX_IDLE_SECONDS)

    assert connection.received.count(b"Statsd Exporter is Healthy.\n") == 3
    assert connection.is_closed


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(600)),
        b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n",
        b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"nonsense\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n" + b"y" * 2_000_000,
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        + (b"20000\r\n" + b"y" * 0x20000 + b"\r\n") * 20,
    ],
    ids=["many", "long", "long path", "two lengths", "nonsense", "body", "chunks"],
)
def test_a_request_that_is_too_large_is_cut_off(
    backend: Backend, request_: bytes
) -> None:
    """Headers, paths and bodies are bounded."""
    connection = backend.connect()
    for start in range(0, len(request_), 65_536):
        connection.send(request_[start : start + 65_536])
        if connection.is_closed:
            break

    assert connection.is_closed
    assert b" 200 " not in connection.received
