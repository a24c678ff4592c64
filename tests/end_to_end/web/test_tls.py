"""--web.config.file, judged by Python's TLS and HTTP clients."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.certificates import Authority
from tests.end_to_end.programs import Start

PATIENCE = 90.0


class Response(NamedTuple):
    """A response, and the TLS connection that it came over."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    version: str | None
    cipher: str
    serial: str


class TlsBridge:
    """A bridge with TLS, its web configuration file and a client for it."""

    def __init__(
        self, launch: Start, authority: Authority, name: str = "web.yml"
    ) -> None:
        self.file = authority.folder / name
        self.authority = authority
        self.certificate, self.key = authority.issue("server")
        self.configure()
        flags = f"--web.config.file={self.file}", "--web.enable-lifecycle"
        self.bridge = launch(*flags).wait()

    def configure(self, more: str = "", **tls: Any) -> None:
        """Replace the file by one with these TLS settings, and more sections."""
        files = {"cert_file": str(self.certificate), "key_file": str(self.key)}
        new = self.file.with_suffix(".new")
        new.write_text(f"tls_server_config: {json.dumps(files | tls)}\n{more}\n")
        new.replace(self.file)

    def require_clients(self, **tls: Any) -> None:
        """Replace the file by one that requires certificates of the authority."""
        ca = str(self.authority.file)
        auth = {"client_auth_type": "RequireAndVerifyClientCert"}
        self.configure(client_ca_file=ca, **(auth | tls))

    def client(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """Return a client that trusts the authority and shows a certificate."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        if certificate is not None:
            context.load_cert_chain(*certificate)
        return context

    def ask(
        self,
        context: ssl.SSLContext | None = None,
        user: str = "",
        path: str = "/-/healthy",
        method: str = "GET",
    ) -> Response:
        """Send a request over a new connection."""
        headers = {}
        if user:
            encoded = base64.b64encode(user.encode()).decode()
            headers["Authorization"] = f"Basic {encoded}"
        connection = http.client.HTTPSConnection(
            "127.0.0.1",
            self.bridge.http,
            context=context or self.client(),
            timeout=PATIENCE,
        )
        try:
            connection.request(method, path, headers=headers)
            tls: Any = connection.sock
            serial = tls.getpeercert()["serialNumber"]
            version, cipher = tls.version(), tls.cipher()[0]
            got = connection.getresponse()
            return Response(
                got.status, got.headers, got.read(), version, cipher, serial
            )
        finally:
            connection.close()

    def accepts(self, context: ssl.SSLContext) -> bool:
        """Whether a client gets a page."""
        try:
            return self.ask(context).status == 200
        except (ssl.SSLError, ConnectionError):
            return False


@pytest.fixture(scope="module")
def server(launch: Start, authority: Authority) -> TlsBridge:
    """A bridge with TLS."""
    return TlsBridge(launch, authority)


def test_the_page_is_sent_over_tls(server: TlsBridge) -> None:
    """In the newest version."""
    server.configure()
    response = server.ask(path="/metrics")

    assert response.status == 200
    assert b"statsd_exporter_lines_total" in response.body
    assert response.version == "TLSv1.3"


NONE, KNOWN, UNKNOWN = "no certificate", "of our authority", "of another one"


@pytest.mark.parametrize(
    ("auth", "accepted"),
    [
        ("NoClientCert", {NONE, KNOWN, UNKNOWN}),
        ("RequestClientCert", {NONE, KNOWN, UNKNOWN}),
        ("RequireAnyClientCert", {KNOWN, UNKNOWN}),
        ("RequireClientCert", {KNOWN, UNKNOWN}),
        ("VerifyClientCertIfGiven", {NONE, KNOWN}),
        ("RequireAndVerifyClientCert", {KNOWN}),
    ],
)
def test_client_authentication(
    server: TlsBridge, other_authority: Authority, auth: str, accepted: set[str]
) -> None:
    """Each type of exporter-toolkit against each sort of client."""
    if auth == "NoClientCert":
        server.configure(client_auth_type=auth)
    else:
        server.require_clients(client_auth_type=auth)
    clients = {
        NONE: None,
        KNOWN: server.authority.issue("client"),
        UNKNOWN: other_authority.issue("client"),
    }

    assert accepted == {
        name for name, each in clients.items() if server.accepts(server.client(each))
    }


@pytest.mark.parametrize(
    ("names", "is_accepted"),
    [(["x", "client"], True), (["x"], False), (["127.0.0.1"], True)],
)
def test_the_names_of_a_client_can_be_required(
    server: TlsBridge, names: list[str], is_accepted: bool
) -> None:
    """One of its alternative names, of any type, must be in the list."""
    server.require_clients(client_allowed_sans=names)

    client = server.client(server.authority.issue("client"))
    assert server.accepts(client) == is_accepted


def test_a_client_with_a_certificate_can_resume(server: TlsBridge) -> None:
    """The second handshake of a session succeeds, too."""
    server.require_clients(max_version="TLS12")
    client = server.client(server.authority.issue("client"))
    session = None
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", server.bridge.http)) as plain,
            client.wrap_socket(
                plain, server_hostname="127.0.0.1", session=session
            ) as tls,
        ):
            tls.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
            received = tls.recv(65_536)
            session = tls.session

        assert received.startswith(b"HTTP/1.0 200 ")


def test_versions_are_bounded(server: TlsBridge) -> None:
    """Neither below the minimum nor above the maximum."""
    old = server.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    server.configure(min_version="TLS13")
    assert not server.accepts(old)
    assert server.ask().version == "TLSv1.3"

    server.configure(max_version="TLS12")
    assert server.ask().version == "TLSv1.2"
    assert server.ask(old).version == "TLSv1.2"


@pytest.mark.parametrize(
    ("suite", "cipher"),
    [
        (
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ],
)
def test_ciphers_are_chosen(server: TlsBridge, suite: str, cipher: str) -> None:
    """By Go's names, like in exporter-toolkit."""
    server.configure(cipher_suites=[suite], max_version="TLS12")

    assert server.ask().cipher == cipher


def test_headers_are_in_every_response(server: TlsBridge, hashed: Any) -> None:
    """In a 401, too; http2 is accepted, and HTTP/1.1 is spoken."""
    users = json.dumps({"ann": hashed("secret")})
    server.configure(
        "http_server_config: {http2: true, headers: {X-Frame-Options: deny,"
        " Strict-Transport-Security: max-age=9}}\n"
        f"basic_auth_users: {users}"
    )
    client = server.client()
    client.set_alpn_protocols(["h2", "http/1.1"])
    for user, status in (("", 401), ("ann:secret", 200)):
        response = server.ask(client, user)

        assert response.status == status
        assert response.headers["X-Frame-Options"] == "deny"
        assert response.headers["Strict-Transport-Security"] == "max-age=9"
        assert "Server" not in response.headers


def test_users_change_without_a_restart(server: TlsBridge, hashed: Any) -> None:
    """The users and passwords of the file as it is now, for every path."""
    server.configure(f"basic_auth_users: {json.dumps({'ann': hashed('one')})}")
    refused = server.ask()
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"] == "Basic"
    for user in ("ann:two", "bob:one", "\0:\0"):
        assert server.ask(user=user).status == 401
    assert server.ask(user="ann:one", path="/metrics").status == 200

    users = {"ann": hashed("two"), "bob": hashed("ü:")}
    server.configure(f"basic_auth_users: {json.dumps(users)}")
    assert server.ask(user="ann:one").status == 401
    assert server.ask(user="ann:two").status == 200
    assert server.ask(user="bob:ü:", path="/-/ready").status == 200

    server.configure()
    assert server.ask().status == 200


def test_a_renewed_certificate_is_used_unless_it_is_broken(server: TlsBridge) -> None:
    """Without a restart; an error is logged once, and the last good one is kept."""
    server.configure()
    before = server.ask().serial
    server.certificate, server.key = server.authority.issue("server")
    after = server.ask().serial
    good = server.certificate.read_bytes()
    server.certificate.write_text("nonsense")
    broken = [server.ask().serial for _ in range(3)]
    server.certificate.write_bytes(good)

    assert before != after
    assert broken == [after] * 3
    assert server.ask().serial == after
    server.bridge.log_until("web configuration refused")
    assert server.bridge.log().count("web configuration refused") == 1


def test_clients_that_break_off_are_not_bugs(server: TlsBridge) -> None:
    """In a handshake, in a request, after a malformed one, with or without an end."""
    server.configure()
    address = ("127.0.0.1", server.bridge.http)
    for sent in (b"", b"\x16\x03\x01\x3f\xff", b"GET / HTTP/1.0\r\n\r\n"):
        with socket.create_connection(address, PATIENCE) as plain:
            plain.sendall(sent)
            with suppress(OSError):
                plain.shutdown(socket.SHUT_WR)
                while plain.recv(1000):
                    pass
    for lines in ([b"nonsense\r\n", b"\r\n", b"\r\n"], [b"GET / HTTP/1.1\r\n"]):
        with (
            socket.create_connection(address, PATIENCE) as plain,
            server.client().wrap_socket(plain, server_hostname="127.0.0.1") as tls,
            # It may be closed already after the first line.
            suppress(OSError),
        ):
            for line in lines:
                tls.sendall(line)
            tls.shutdown(socket.SHUT_WR)

    page = server.ask(path="/metrics").body
    assert b"\nstatsd_bridge_bugs_total 0.0\n" in page


def test_too_many_requests_are_a_429(server: TlsBridge) -> None:
    """Until the file allows more."""
    server.configure("rate_limit: {interval: 1h, burst: 3}")
    statuses = [server.ask().status for _ in range(5)]
    server.configure()

    assert statuses == [200, 200, 200, 429, 429]
    assert server.ask().status == 200


def test_lifecycle_needs_a_user_if_there_are_users(
    launch: Start, authority: Authority, hashed: Any
) -> None:
    """Only a client with the password stops the bridge."""
    # Not that of all tests, whose order is not known.
    server = TlsBridge(launch, authority, "lifecycle.yml")
    server.configure(f"basic_auth_users: {json.dumps({'ann': hashed('one')})}")
    statuses = [
        server.ask(user=user, path="/-/quit", method="POST").status
        for user in ("ann:two", "ann:one")
    ]

    assert statuses == [401, 200]
    assert server.bridge.process.wait(PATIENCE) == 0
