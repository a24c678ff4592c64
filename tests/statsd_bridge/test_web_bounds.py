"""The HTTP door: its bounds, and what slow readers and talkers come up against."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from statsd_bridge.web.scrape import (
    LONGEST_SECONDS,
    MOST_SCRAPES,
    MOST_WAITING,
    STALL_SECONDS,
)
from statsd_bridge.web.server import IDLE_SECONDS, REQUEST_SECONDS

PAGE = b"a 1\nb 2\nc 3\n"


def test_a_slow_reader_is_not_written_to(bridge: Any) -> None:
    """While the transport is full nothing more is made; afterwards the rest follows."""
    channel = bridge.door().buildProtocol(None)
    transport = StringTransport()
    channel.makeConnection(transport)
    channel.dataReceived(b"GET /metrics HTTP/1.0\r\n\r\n")
    transport.producer.pauseProducing()
    bridge.turns.pop()()
    paused = transport.value()
    transport.producer.resumeProducing()
    bridge.take_turns()

    assert b"b 2" not in paused
    assert transport.value().endswith(PAGE)


def test_half_a_page_does_not_look_like_a_whole_one(bridge: Any) -> None:
    """A bug after the first slice cuts the connection: no last chunk is sent."""
    bridge.slices = [b"a 1\n", RuntimeError("a bug")]
    opened = bridge.connect()
    opened.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    bridge.take_turns()

    assert b"a 1\n" in opened.transport.value()
    assert not opened.transport.value().endswith(b"0\r\n\r\n")
    assert opened.transport.disconnected
    assert len(bridge.failures) == 1


def test_compression_gives_others_their_turn(bridge: Any) -> None:
    """One slice a turn, even if nothing comes out of the compressor yet."""
    bridge.slices = [b"a" * 1000] * 50
    opened = bridge.connect()
    opened.send(b"GET /metrics HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
    turns = bridge.take_turns()

    assert turns > 50
    body = opened.transport.value().partition(b"\r\n\r\n")[2]
    assert gzip.decompress(body) == b"a" * 50_000


SCRAPE = b"GET /metrics HTTP/1.0\r\n\r\n"


def stall(bridge: Any, opened: Any) -> list[Any]:
    """Have as many scrapes under way as allowed, none of which is read."""
    stalled = [bridge.connect(opened) for _ in range(MOST_SCRAPES)]
    for each in stalled:
        each.send(SCRAPE)
        each.transport.producer.pauseProducing()
    bridge.turns.clear()
    return stalled


def test_readers_who_stall_make_room(bridge: Any) -> None:
    """The next scrape waits until it is clear that they do; the oldest goes."""
    opened = bridge.door()
    stalled = stall(bridge, opened)
    scraper = bridge.connect(opened)
    scraper.send(SCRAPE)
    before = scraper.transport.value()
    bridge.clock.advance(STALL_SECONDS)
    bridge.take_turns()

    assert before == b""
    assert scraper.transport.value().endswith(PAGE)
    assert [each.transport.disconnected for each in stalled] == [
        True,
        *[False] * (MOST_SCRAPES - 1),
    ]


def test_readers_who_go_on_in_time_stay(bridge: Any) -> None:
    """A pause that is not a stall costs nobody the page, and those who wait come."""
    opened = bridge.door()
    slow = stall(bridge, opened)
    scraper = bridge.connect(opened)
    scraper.send(SCRAPE)
    bridge.clock.advance(STALL_SECONDS / 2)
    for each in slow:
        each.transport.producer.resumeProducing()
    bridge.clock.advance(STALL_SECONDS)
    bridge.take_turns()

    assert all(each.transport.value().endswith(PAGE) for each in (*slow, scraper))
    assert bridge.statuses == [200] * (MOST_SCRAPES + 1)


def test_who_waits_and_goes_is_forgotten(bridge: Any) -> None:
    """A scraper that gives up while it waits is counted as ended."""
    opened = bridge.door()
    stall(bridge, opened)
    scraper = bridge.connect(opened)
    scraper.send(SCRAPE)
    scraper.transport.connectionLost(Failure(ConnectionDone()))

    assert bridge.in_flight == MOST_SCRAPES


def test_one_scrape_too_many_comes_again(bridge: Any) -> None:
    """When too many wait, the next is told 503, and the count of it is right."""
    opened = bridge.door(most_connections=500)
    stall(bridge, opened)
    for _ in range(MOST_WAITING):
        bridge.connect(opened).send(SCRAPE)
    late = bridge.connect(opened)
    late.send(SCRAPE)

    assert late.transport.value().startswith(b"HTTP/1.0 503 ")
    assert bridge.statuses == [503]
    assert bridge.in_flight == MOST_SCRAPES + MOST_WAITING


def test_a_page_that_is_not_taken_is_given_up(bridge: Any) -> None:
    """After the bound of time the connection is cut."""
    opened = bridge.connect()
    opened.send(b"GET /metrics HTTP/1.0\r\n\r\n")
    opened.transport.producer.pauseProducing()
    bridge.clock.advance(LONGEST_SECONDS - 1)
    assert not opened.is_cut

    bridge.clock.advance(2)
    assert opened.is_cut


def test_the_quietest_connection_makes_room(bridge: Any) -> None:
    """Idle connections keep nobody out: the one that said nothing the longest goes."""
    opened = bridge.door(most_connections=3)
    talks, idles, idles_less = (bridge.connect(opened) for _ in range(3))
    talks.send(b"GET /-/hea")
    scraper = bridge.connect(opened)
    scraper.send(b"GET /-/healthy HTTP/1.0\r\n\r\n")

    assert idles.is_cut
    assert not talks.is_cut
    assert not idles_less.is_cut
    assert scraper.transport.value().endswith(b"Statsd Exporter is Healthy.\n")
    assert bridge.connections_closed == 1


@pytest.mark.parametrize(
    "trickle",
    [
        b"",
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n",
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
    ],
)
def test_a_request_that_does_not_end_is_cut_off(bridge: Any, trickle: bytes) -> None:
    """Nothing, half a head or half a body, and a byte now and then."""
    opened = bridge.connect()
    if trickle:
        opened.send(trickle)
    for _ in range(REQUEST_SECONDS - 1):
        bridge.clock.advance(1)
        if trickle:
            opened.send(b"x")
    assert not opened.is_cut

    bridge.clock.advance(2)
    assert opened.is_cut


@pytest.fixture
def protected(tmp_path: Path) -> str:
    """A web configuration file with a certificate that signed itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    day, now = datetime.timedelta(days=1), datetime.datetime.now(datetime.UTC)
    certificate = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now - day, now + day
    ).sign(key, hashes.SHA256())
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "cert").write_bytes(certificate.public_bytes(pem))
    (tmp_path / "key").write_bytes(
        key.private_bytes(pem, pkcs8, serialization.NoEncryption())
    )
    file = tmp_path / "web.yml"
    file.write_text("tls_server_config: {cert_file: cert, key_file: key}")
    return str(file)


def test_a_handshake_that_does_not_end_is_cut_off(bridge: Any, protected: str) -> None:
    """The time for a request begins with the connection, and trickles gain none."""
    opened = bridge.connect(bridge.door(config=protected))
    # The head of a record of TLS, as long as they may be.
    opened.send(b"\x16\x03\x01\x3f\xff")
    for _ in range(REQUEST_SECONDS - 1):
        bridge.clock.advance(1)
        opened.send(b"x")
    assert not opened.is_cut

    bridge.clock.advance(2)
    assert opened.is_cut


def test_what_is_no_tls_is_cut_off_at_once(bridge: Any, protected: str) -> None:
    """A request in the clear gets no answer of ours."""
    opened = bridge.connect(bridge.door(config=protected))
    opened.send(SCRAPE)

    assert opened.is_cut
    assert b"HTTP" not in opened.transport.value()


def test_a_connection_may_idle_between_requests(bridge: Any) -> None:
    """A scraper keeps its connection for longer than a request may take."""
    opened = bridge.connect()
    for _ in range(3):
        opened.send(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
        bridge.clock.advance(REQUEST_SECONDS * 2)
        assert not opened.is_cut
    bridge.clock.advance(IDLE_SECONDS)

    assert opened.transport.value().count(b"Statsd Exporter is Healthy.\n") == 3
    assert opened.is_cut


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
def test_a_request_that_is_too_large_is_cut_off(bridge: Any, request_: bytes) -> None:
    """Headers, paths and bodies have bounds."""
    opened = bridge.connect()
    for start in range(0, len(request_), 65_536):
        opened.send(request_[start : start + 65_536])
        if opened.is_cut:
            break

    assert opened.is_cut
    assert b" 200 " not in opened.transport.value()
