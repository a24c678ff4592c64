"""--web.config.file, judged by Python's TLS and HTTP clients."""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

PATIENCE = 90.0


class Answer(NamedTuple):
    """What came back, and over what."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    version: str | None
    cipher: str
    serial: str


class Door:
    """A bridge with TLS, its web configuration file and a client for it."""

    def __init__(self, bridge: Any, file: Path, authority: Any, server: Any) -> None:
        self.bridge = bridge
        self.file = file
        self.authority = authority
        self.certificate, self.key = server

    def configure(self, more: str = "", **tls: Any) -> None:
        """Write the file: TLS with what is given, and more of the file."""
        write(self.file, self.certificate, self.key, more, **tls)

    def client(self, shown: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """Make a client that trusts our authority and shows a certificate."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        if shown is not None:
            context.load_cert_chain(*shown)
        return context

    def ask(
        self,
        context: ssl.SSLContext | None = None,
        user: str = "",
        path: str = "/-/healthy",
    ) -> Answer:
        """Ask over a new connection."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1",
            self.bridge.http,
            context=context or self.client(),
            timeout=PATIENCE,
        )
        try:
            headers = {"Authorization": _basic(user)} if user else {}
            connection.request("GET", path, headers=headers)
            wire: Any = connection.sock
            serial = wire.getpeercert()["serialNumber"]
            version, cipher = wire.version(), wire.cipher()[0]
            answer = connection.getresponse()
            body = answer.read()
            return Answer(answer.status, answer.headers, body, version, cipher, serial)
        finally:
            connection.close()

    def lets_in(self, context: ssl.SSLContext) -> bool:
        """Whether a client gets an answer."""
        try:
            return self.ask(context).status == 200
        except (ssl.SSLError, ConnectionError):
            return False


def _basic(user: str) -> str:
    return "Basic " + base64.b64encode(user.encode()).decode()


def write(file: Path, certificate: Path, key: Path, more: str = "", **tls: Any) -> None:
    """Write a web configuration file at once, as a careful operator does."""
    section = {"cert_file": str(certificate), "key_file": str(key), **tls}
    new = file.with_suffix(".new")
    new.write_text(f"tls_server_config: {json.dumps(section)}\n{more}\n")
    os.replace(new, file)


@pytest.fixture(scope="module")
def door(launch: Callable[..., Any], authority: Any) -> Door:
    """Start the bridge."""
    file = authority.folder / "web.yml"
    server = authority.issue("server")
    write(file, *server)
    bridge = launch(f"--web.config.file={file}", "--web.enable-lifecycle").wait()
    return Door(bridge, file, authority, server)


def test_the_page_comes_over_tls(door: Door) -> None:
    """Who checks the certificate gets it, and who speaks no TLS gets nothing."""
    door.configure()
    answer = door.ask(path="/metrics")
    with socket.create_connection(("127.0.0.1", door.bridge.http)) as plain:
        plain.settimeout(PATIENCE)
        plain.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            said = plain.recv(65_536)
        except ConnectionResetError:
            said = b""

    assert answer.status == 200
    assert b"statsd_exporter_lines_total" in answer.body
    assert answer.version == "TLSv1.3"
    assert b"statsd" not in said


NOBODY, FRIEND, STRANGER = "nobody", "friend", "stranger"


@pytest.mark.parametrize(
    ("auth", "let_in"),
    [
        ("NoClientCert", {NOBODY, FRIEND, STRANGER}),
        ("RequestClientCert", {NOBODY, FRIEND, STRANGER}),
        ("RequireAnyClientCert", {FRIEND, STRANGER}),
        ("RequireClientCert", {FRIEND, STRANGER}),
        ("VerifyClientCertIfGiven", {NOBODY, FRIEND}),
        ("RequireAndVerifyClientCert", {FRIEND}),
    ],
)
def test_who_must_show_what(
    door: Door, stranger: Any, auth: str, let_in: set[str]
) -> None:
    """Each policy of the toolkit, against no certificate, a good one and another's."""
    ca = {} if auth == "NoClientCert" else {"client_ca_file": str(door.authority.file)}
    door.configure(client_auth_type=auth, **ca)
    shown = {
        NOBODY: None,
        FRIEND: door.authority.issue("friend"),
        STRANGER: stranger.issue("friend"),
    }
    came = {who for who, each in shown.items() if door.lets_in(door.client(each))}

    assert came == let_in


@pytest.mark.parametrize(
    ("names", "is_let_in"),
    [(["x", "friend"], True), (["x"], False), (["127.0.0.1"], True)],
)
def test_a_client_s_names_may_be_asked_for(
    door: Door, names: list[str], is_let_in: bool
) -> None:
    """One of the alternative names must be on the list, whatever its sort."""
    door.configure(
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(door.authority.file),
        client_allowed_sans=names,
    )

    assert door.lets_in(door.client(door.authority.issue("friend"))) == is_let_in


def test_a_client_with_a_certificate_may_resume(door: Door) -> None:
    """The second handshake of a session is as good as the first."""
    door.configure(
        client_auth_type="RequireAndVerifyClientCert",
        client_ca_file=str(door.authority.file),
        max_version="TLS12",
    )
    client = door.client(door.authority.issue("friend"))
    session = None
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", door.bridge.http)) as plain,
            client.wrap_socket(
                plain, server_hostname="127.0.0.1", session=session
            ) as wire,
        ):
            wire.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
            said = wire.recv(65_536)
            session = wire.session

        assert said.startswith(b"HTTP/1.0 200 ")


def test_versions_are_bounded(door: Door) -> None:
    """Neither below the lowest nor above the highest."""
    old = door.client()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    door.configure(min_version="TLS13")
    assert not door.lets_in(old)
    assert door.ask().version == "TLSv1.3"

    door.configure(max_version="TLS12")
    assert door.ask().version == "TLSv1.2"
    assert door.ask(old).version == "TLSv1.2"


def test_ciphers_are_chosen(door: Door) -> None:
    """By Go's names, as the toolkit has them."""
    for suite, cipher in (
        (
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
        ),
        ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ):
        door.configure(cipher_suites=[suite], max_version="TLS12")
        assert door.ask().cipher == cipher


def test_headers_are_on_every_answer(door: Door, hashed: Any) -> None:
    """On the refusals, too; http2 is accepted, and HTTP/1.1 is spoken."""
    users = json.dumps({"ann": hashed("secret")})
    door.configure(
        "http_server_config: {http2: true, headers: {X-Frame-Options: deny,"
        " Strict-Transport-Security: max-age=9}}\n"
        f"basic_auth_users: {users}"
    )
    client = door.client()
    client.set_alpn_protocols(["h2", "http/1.1"])
    for user, status in (("", 401), ("ann:secret", 200)):
        answer = door.ask(client, user)

        assert answer.status == status
        assert answer.headers["X-Frame-Options"] == "deny"
        assert answer.headers["Strict-Transport-Security"] == "max-age=9"
        assert "Server" not in answer.headers


def test_users_come_and_go_without_a_restart(door: Door, hashed: Any) -> None:
    """Who is in the file now, with the password that is in it now, for every path."""
    door.configure(f"basic_auth_users: {json.dumps({'ann': hashed('one')})}")
    refused = door.ask()
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"] == "Basic"
    for user in ("ann:two", "ann:", "ann", "bob:one", ":one", "ann:one:", "\0:\0"):
        assert door.ask(user=user).status == 401
    for _ in range(2):
        assert door.ask(user="ann:one", path="/metrics").status == 200

    door.configure(
        f"basic_auth_users: {json.dumps({'ann': hashed('two'), 'bob': hashed('ü:')})}"
    )
    assert door.ask(user="ann:one").status == 401
    assert door.ask(user="ann:two").status == 200
    assert door.ask(user="bob:ü:", path="/-/ready").status == 200

    door.configure()
    assert door.ask().status == 200


def test_a_renewed_certificate_is_shown_and_a_broken_one_is_not(door: Door) -> None:
    """Without a restart; what cannot be used is told once, and the old one stays."""
    door.configure()
    before = door.ask().serial
    door.certificate, door.key = door.authority.issue("server")
    after = door.ask().serial
    good = door.certificate.read_bytes()
    door.certificate.write_text("nonsense")
    broken = [door.ask().serial for _ in range(3)]
    door.certificate.write_bytes(good)
    mended = door.ask().serial

    assert before != after
    assert broken == [after] * 3
    assert mended == after
    assert door.bridge.log().count("web configuration refused") == 1


def test_too_many_requests_are_told_so(door: Door) -> None:
    """A bucket of tokens, as the toolkit has it."""
    door.configure("rate_limit: {interval: 1h, burst: 3}")
    statuses = [door.ask().status for _ in range(5)]
    door.configure()

    assert statuses == [200, 200, 200, 429, 429]
    assert door.ask().status == 200


def test_lifecycle_needs_a_user_when_there_are_users(door: Door, hashed: Any) -> None:
    """Nobody without a password ends the bridge; who has one does."""
    door.configure(f"basic_auth_users: {json.dumps({'ann': hashed('one')})}")

    def leave(user: str) -> int:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", door.bridge.http, context=door.client(), timeout=PATIENCE
        )
        connection.request("POST", "/-/quit", headers={"Authorization": _basic(user)})
        with connection.getresponse() as answer:
            answer.read()
        connection.close()
        return answer.status

    assert leave("ann:two") == 401
    assert door.ask(user="ann:one").status == 200
    assert leave("ann:one") == 200
    assert door.bridge.process.wait(PATIENCE) == 0
