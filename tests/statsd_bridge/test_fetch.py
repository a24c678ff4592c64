"""Requests of subcommands: addresses, users, TLS, and servers that are no bridge."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pytest
import trustme

from statsd_bridge import fetch
from statsd_bridge.errors import BridgeError
from tests.ports import free_port

Behave = Callable[[socket.socket], object]


@contextmanager
def server(behave: Behave) -> Iterator[str]:
    """Accept one connection; yield the URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(OSError):
            behave(connection)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        # A thread that waits for a connection that never came.
        thread.join(60)


def read_request(stream: BinaryIO) -> bytes:
    """
    Return a whole request.

    What is not read when a connection is closed resets it, and the answer is lost.
    """
    head = b"".join(iter(stream.readline, b"\r\n"))
    length = re.search(rb"(?mi)^content-length: (\d+)", head)
    return head + (stream.read(int(length[1])) if length else b"")


def answer(head: bytes, body: bytes) -> Behave:
    """Return a behaviour: read a request, then respond."""

    def behave(connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            requests.append(read_request(stream))
        connection.sendall(b"HTTP/1.1 %b\r\nConnection: close\r\n\r\n" % head + body)

    requests: list[bytes] = []
    behave.requests = requests  # type: ignore[attr-defined]
    return behave


def reply(text: bytes) -> Behave:
    """Return a behaviour: read a request, then send a text that is no answer."""

    def behave(connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            read_request(stream)
        connection.sendall(text)

    return behave


def drip(connection: socket.socket) -> None:
    """Send a head that never ends."""
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    stop = threading.Event()
    for number in range(600):
        connection.sendall(b"X-%d: y\r\n" % number if number < 50 else b"z")
        stop.wait(0.1)


def test_an_answer() -> None:
    """Path, query, user and body arrive; the object of the answer returns."""
    behave = answer(b"200 OK", b'{"a": 1}')
    with server(behave) as url:
        found = fetch.find_server(
            "against", url.replace("//", "//me%40x:a%3Ab@") + "/p/"
        )
        assert "a%3Ab" not in found.url
        assert fetch.fetch_json(found, "/q?x=1", b"body") == {"a": 1}
    (request,) = behave.requests  # type: ignore[attr-defined]
    assert request.startswith(b"POST /p/q?x=1 HTTP/1.1\r\n")
    assert b"Authorization: Basic " + base64.b64encode(b"me@x:a:b") in request


@pytest.mark.parametrize(
    ("behave", "problem"),
    [
        (answer(b"401 No", b""), "refuses user and password"),
        (answer(b"404 No", b"nothing"), "status 404; write http://host:9102"),
        (answer(b"503 No", b'{"error": "busy\\u001b"}'), r"status 503: busy\x1b"),
        (answer(b"302 No\r\nLocation: http://x/", b""), "with status 302"),
        (answer(b"200 OK", b"<html>"), "no JSON object"),
        (answer(b"200 OK", b"[" * 100_000), "no JSON object"),
        (answer(b"200 OK", b"[1]"), "no JSON object"),
        (answer(b"200 OK\r\nContent-Length: 9", b"{}"), "before the end"),
        (reply(b"hello\r\n"), "not answer in HTTP"),
        (reply(b""), "connection was closed"),
        (drip, "no answer within 0.5 s"),
        (answer(b"200 OK", b"x" * (fetch.MAX_ANSWER_BYTES + 1)), "more than 16 MiB"),
    ],
)
def test_servers_that_are_no_bridge(
    behave: Behave, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ends in one line that names the flag and the address."""
    if behave is drip:
        monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.5)
    with server(behave) as url:
        found = fetch.find_server("against", url)
        with pytest.raises(BridgeError) as error:
            fetch.fetch_json(found, "/q?x=1")
    text = str(error.value)
    assert text.startswith(f"--against: {url}: ")
    assert problem in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:9102",
        "ftp://x",
        "http://",
        "http://u:s3@x:99999",
        "http://u:s3/s3@x:9102",
        "http://u:12/s3@x:9102",
        "http://u:s3@s3\n@x:9102?y",
        "u:s3@x:9102",
        "http://x?y",
        "http://a b",
    ],
)
def test_urls_that_are_refused(url: str) -> None:
    """The message has no password."""
    with pytest.raises(BridgeError, match="is not the URL of a bridge") as error:
        fetch.find_server("bridge", url)
    assert "s3" not in str(error.value)


def test_files_of_passwords_and_certificates(tmp_path: Path) -> None:
    """A password is read without its newline; a file that cannot be used is named."""
    file = tmp_path / "f"
    file.write_text("secret\n")
    url, flags = "http://x", {"user": "me", "password_file": str(file)}
    found = fetch.find_server("bridge", url, **flags)
    token = base64.b64encode(b"me:secret").decode()
    assert found.authorization == f"Basic {token}"
    with pytest.raises(BridgeError, match="add --user"):
        fetch.find_server("bridge", url, password_file=str(file))
    missing = str(tmp_path / "missing")
    with pytest.raises(BridgeError, match=r"--password-file: .*missing: No such file"):
        fetch.find_server("bridge", url, user="me", password_file=missing)
    for ca_file, problem in ((missing, "No such file"), (str(file), "no certificate")):
        with pytest.raises(BridgeError, match=f"--ca-file: .*{problem}"):
            fetch.find_server("bridge", "https://x", ca_file=ca_file)


def test_an_unknown_certificate_is_refused(tmp_path: Path) -> None:
    """With --ca-file its server is trusted."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))

    def behave(connection: socket.socket) -> None:
        with (
            context.wrap_socket(connection, server_side=True) as tls,
            tls.makefile("rb") as stream,
        ):
            read_request(stream)
            tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with server(behave) as url:
        found = fetch.find_server("bridge", url.replace("http", "https"))
        with pytest.raises(BridgeError, match=r"TLS: .*certificate"):
            fetch.fetch_json(found, "/")
    with server(behave) as url:
        https = url.replace("http", "https")
        found = fetch.find_server("bridge", https, ca_file=str(ca_file))
        assert fetch.fetch_json(found, "/") == {}


def test_an_address_without_a_server() -> None:
    """The reason is that of the system."""
    found = fetch.find_server("bridge", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(BridgeError, match="cannot be reached: Connection refused"):
        fetch.fetch_json(found, "/")
