"""The HTTP server: its bounds against slow, silent and oversized requests."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statsd_bridge.web.connection import MAX_IDLE_SECONDS, REQUEST_SECONDS
from statsd_bridge.web.scrape import (
    MAX_SCRAPE_SECONDS,
    MAX_SCRAPES,
    MAX_WAITING_SCRAPES,
    SLOW_SECONDS,
    STALL_SECONDS,
)
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
    scraper.close()

    assert backend.stats.scrapes_in_flight == MAX_SCRAPES


def test_a_waiting_scraper_that_closes_its_side_is_forgotten(backend: Backend) -> None:
    """It may be gone, and many like it would keep out others."""
    server = backend.server()
    stall(backend, server)
    scraper = backend.connect(server)
    scraper.send(SCRAPE)
    scraper.close_sending()

    assert scraper.is_closed
    scraper.close()
    assert backend.stats.scrapes_in_flight == MAX_SCRAPES


def read_slowly(backend: Backend, readers: list[Connection], seconds: float) -> None:
    """Let time pass in which clients read a little, too often to be stalled."""
    for _ in range(int(seconds / STALL_SECONDS * 2)):
        for each in readers:
            if not each.is_closed:
                each.transport.producer.resumeProducing()
                each.transport.producer.pauseProducing()
        backend.reactor.advance(STALL_SECONDS / 2)


def test_slow_readers_of_one_peer_give_way_to_another(backend: Backend) -> None:
    """They read too often to be stalled; the first of them is cut, after a while."""
    backend.slices = [b"a 1\n"] * 1000
    server = backend.server()
    slow = stall(backend, server)
    neighbour = backend.connect(server)
    scraper = backend.connect(server, "192.0.2.2")
    for each in (neighbour, scraper):
        each.send(SCRAPE)
    read_slowly(backend, slow, SLOW_SECONDS - 1)
    before = sum(each.is_closed for each in slow)
    read_slowly(backend, slow, 2)
    backend.reactor.run_pending()

    assert before == 0
    assert [each.is_closed for each in slow] == [True, *[False] * (MAX_SCRAPES - 1)]
    assert scraper.received.endswith(b"a 1\n")
    # One of the same peer waits until the other has ended.
    assert neighbour.received.endswith(b"a 1\n")


def test_one_peer_does_not_take_all_places_to_wait(backend: Backend) -> None:
    """Its last scrape is refused for that of another one, which is then the next."""
    server = backend.server(max_connections=500)
    stalled = stall(backend, server)
    crowd = [backend.connect(server) for _ in range(MAX_WAITING_SCRAPES)]
    scraper = backend.connect(server, "192.0.2.2")
    for each in (*crowd, scraper):
        each.send(SCRAPE)
    refused = [each for each in crowd if each.received]
    stalled[0].close()
    backend.reactor.run_pending()

    assert refused == crowd[-1:]
    assert refused[0].received.startswith(b"HTTP/1.0 503 ")
    assert scraper.received.endswith(PAGE)


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


@pytest.mark.parametrize("is_tls", [False, True])
def test_a_scraper_between_its_scrapes_is_not_closed(
    backend: Backend, tls_config: str, is_tls: bool
) -> None:
    """The peer with the most connections gives up one; then those without a request."""
    server = backend.server(max_connections=5, web_config=tls_config if is_tls else "")
    other = backend.connect(server, "192.0.2.2")
    scraper = backend.connect(server, "192.0.2.9")
    if not is_tls:
        scraper.send(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
    idle = [backend.connect(server, "192.0.2.9") for _ in range(9)]

    assert not other.is_closed
    assert scraper.is_closed is is_tls
    assert sum(not each.is_closed for each in idle) == 3 + is_tls


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


def test_the_end_of_a_connection_ends_tls(backend: Backend, tls_config: str) -> None:
    """Without a last message of TLS; there is no half-closed TLS connection."""
    connection = backend.connect(backend.server(web_config=tls_config))
    connection.send(b"\x16\x03\x01\x3f\xff")
    connection.close_sending()

    assert connection.is_closed


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


HUGE = [
    b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(600)),
    b"GET / HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n",
    b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 9000000\r\n\r\n" + b"y" * 2_000_000,
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    + (b"20000\r\n" + b"y" * 0x20000 + b"\r\n") * 20,
]


@pytest.mark.parametrize(
    "request_", HUGE, ids=["many", "long", "long path", "body", "chunks"]
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


MALFORMED = [
    b"nonsense\r\n",
    b"\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET / HTTP/2.0\r\n\r\n",
    b"GET  / HTTP/1.1\r\n\r\n",
    b"G\0T / HTTP/1.1\r\n\r\n",
    b"GET /" + b"y" * 16_380 + b" HTTP/1.1\r\n\r\n",
    # Content-Length and Transfer-Encoding
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"0" * 5000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: %d\r\nHost: x\r\n\r\n" % (1 << 63),
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1 1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nTransfer-Encoding: rot13\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 2000,
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n",
    b"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\r\n\n",
    # headers
    b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA b: c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x01c\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x7f\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 1\r\n\r\n",
    b"GET / HTTP/1.1\r\n folded: first\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n",
    # Host: one, except in HTTP/1.0
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
    b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
    # targets
    b"GET metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%2 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
]


CUT = [b"GET / HTTP/1.0\n", b"GET / HTTP/1.1\nHost: x\nA: b"]
BODY = b"POST / HTTP/1.1\nHost: x\nContent-Length: 3\n\nab"


@pytest.mark.parametrize("request_", [*CUT, BODY])
def test_a_request_whose_end_does_not_come_is_a_400(
    backend: Backend, request_: bytes
) -> None:
    """The client has closed its side: the bridge does not wait."""
    connection = backend.connect()
    connection.send(request_)
    connection.close_sending()

    assert connection.received.startswith(b"HTTP/1.1 400 ")
    assert connection.is_closed


@pytest.mark.parametrize("request_", MALFORMED)
def test_a_malformed_request_is_a_400(backend: Backend, request_: bytes) -> None:
    """Nothing is raised, and the connection is closed."""
    connection = backend.connect()
    connection.send(request_)

    assert connection.received.split(b" ")[1] == b"400"
    assert connection.is_closed
    assert backend.bugs == []


def test_what_follows_a_malformed_head_is_ignored(backend: Backend) -> None:
    """TLS delivers it in spite of the response; other transports stop to read."""
    connection = backend.connect()
    connection.send(b"nonsense\r\n")
    received = connection.received
    for line in (b"\r\n", b"GET / HTTP/1.0\r\n\r\n"):
        connection.send(line)

    assert connection.received == received
    assert backend.bugs == []


@given(
    st.lists(
        st.sampled_from(
            [
                *(
                    b"GET ",
                    b"POST ",
                    b"HEAD ",
                    b"OPTIONS ",
                    b"/ ",
                    b"* ",
                    b"//metrics ",
                ),
                *(b"/metrics ", b"/explain?line=a:1%7Cc ", b"/-/reload ", b"x://y/z "),
                *(b"HTTP/1.1\r\n", b"HTTP/1.0\n", b"HTTP/3\r\n", b"Host: x\r\n"),
                *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"),
                *(b"Content-Type: multipart/form-data\r\n", b"Expect: 100-continue\n"),
                *(b"Accept-Encoding: gzip;q=x\r\n", b"Authorization: Basic ===\r\n"),
                *(b"Cookie: =;a=b;;\r\n", b"Connection: close\r\n", b"Origin: null\n"),
                *(
                    b"\r\n",
                    b"\n",
                    b"3\r\nabc\r\n",
                    b"0\r\n\r\n",
                    b"\0",
                    b"\xff",
                    b" ",
                    b":",
                ),
            ]
        )
        | st.binary(max_size=5),
        max_size=20,
    )
)
def test_no_bytes_raise_an_exception(pieces: list[bytes]) -> None:
    """Parts of requests in any order, each in its own packet."""
    backend = Backend()
    connection = backend.connect()
    for piece in pieces:
        if not connection.is_closed:
            connection.send(piece)
            backend.reactor.run_pending()
    if not connection.is_closed:
        connection.close_sending()
        backend.reactor.run_pending()

    assert backend.bugs == []
    assert not connection.received or connection.received.startswith(b"HTTP/1.")
    assert connection.is_closed


PAGES = [
    (b"GET /metrics HTTP/1.0\r\n\r\n", PAGE),
    (b"GET /metrics HTTP/1.0\n\n", PAGE),
    (b"GET /-/ready HTTP/1.1\nHost: x\r\nA: b\n\r\n", b"Statsd Exporter is Ready.\n"),
    (b"POST /metrics HTTP/1.0\nContent-Length: 3\n\na\nb", PAGE),
    (b"\nGET /metrics HTTP/1.0\n\n", PAGE),
    (
        b"GET /-/ready HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n"
        b"3\r\na\n\n\r\n0\r\nA: b\r\n\r\n",
        b"Statsd Exporter is Ready.\n",
    ),
    (b"GET /metrics?\xc3\xbc HTTP/1.0\n\n", PAGE),
    (b"GET /metrics HTTP/1.0\nA: \xc3\xbc\tx\n\n", PAGE),
    (b"GET /metrics HTTP/1.0\nContent-Length: 1\nContent-length:1 \n\nx", PAGE),
]


@pytest.mark.parametrize(("request_", "body"), PAGES)
@pytest.mark.parametrize("is_half_closed", [False, True])
@pytest.mark.parametrize("size", [1, 1000])
def test_a_request_may_have_bare_newlines_and_end_its_connection(
    backend: Backend, request_: bytes, body: bytes, *, is_half_closed: bool, size: int
) -> None:
    """As with `printf ... | nc -N`: the response arrives, whole."""
    connection = backend.connect()
    for start in range(0, len(request_), size):
        connection.send(request_[start : start + size])
    if is_half_closed:
        connection.close_sending()
    backend.reactor.run_pending()

    assert connection.received.split(b" ")[1] == b"200"
    assert connection.received.endswith(body)
    assert connection.is_closed or b"HTTP/1.1" in request_


def test_requests_that_arrive_together_are_answered_one_at_a_time(
    backend: Backend,
) -> None:
    """The reactor handles other events in between, and reads no further ones."""
    request = b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n"
    connection = backend.connect()
    connection.send(request * 5)
    answered = []
    while backend.reactor.pending:
        assert connection.transport.producerState == "paused"
        answered.append(connection.received.count(b"Ready"))
        backend.reactor.pending.pop(0)()

    assert answered == [1, 2, 3, 4]
    assert connection.received.count(b"Ready") == 5
    assert connection.transport.producerState == "producing"
    connection.send(request)
    assert connection.received.count(b"Ready") == 6


def test_all_requests_before_a_half_close_are_answered(backend: Backend) -> None:
    """The rest of one that is not complete is not waited for."""
    connection = backend.connect()
    scrape = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
    connection.send(scrape * 3 + scrape[:-2])
    connection.close_sending()
    backend.reactor.run_pending()

    assert connection.received.count(b"b 2\n") == 3
    assert connection.is_closed


def test_requests_wait_for_a_client_that_does_not_read(backend: Backend) -> None:
    """Responses that are not read do not become more; reading them goes on."""
    connection = backend.connect()
    connection.transport.producer.pauseProducing()
    connection.send(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n" * 5)
    backend.reactor.run_pending()
    assert connection.received.count(b"HTTP/1.1 200") == 1

    connection.transport.producer.resumeProducing()
    backend.reactor.run_pending()
    assert connection.received.count(b"HTTP/1.1 200") == 5
