"""The web configuration file: what is read, and what is refused in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from statsd_bridge.errors import ConfigError
from statsd_bridge.web import config
from statsd_bridge.web.config import ClientAuth, RateLimit, WebConfig

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"


def read(folder: Path, text: str) -> WebConfig:
    """Write a file and read it."""
    file = folder / "web.yml"
    file.write_text(text)
    return config.read(str(file))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files that look like certificates from afar."""
    for name in ("cert", "key", "ca"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_an_empty_file_protects_nothing(folder: Path) -> None:
    """Like in exporter-toolkit: plain HTTP without users."""
    for text in ("", "{}", "basic_auth_users:\nhttp_server_config:\n"):
        assert read(folder, text) == WebConfig()


def test_files_are_found_beside_the_file(folder: Path) -> None:
    """A relative path starts at the configuration's folder."""
    tls = read(folder, "tls_server_config: {cert_file: cert, key_file: key}").tls

    assert tls is not None
    assert (tls.certificate, tls.key) == (b"cert", b"key")
    assert (tls.min_version, tls.max_version) == (0x303, 0x304)
    assert tls.client_auth == ClientAuth()


def test_certificates_may_stand_in_the_file(folder: Path) -> None:
    """Instead of paths."""
    found = read(
        folder,
        "tls_server_config: {cert: CERT, key: KEY, client_ca: CA,"
        " client_auth_type: RequireAndVerifyClientCert}",
    )

    assert found.tls is not None
    assert (found.tls.certificate, found.tls.key) == (b"CERT", b"KEY")
    assert found.tls.client_ca == b"CA"


def test_the_rest_of_the_file(folder: Path) -> None:
    """Users, headers, the rate; http2 is accepted."""
    found = read(
        folder,
        f"basic_auth_users: {{ann: '{HASH}'}}\n"
        "http_server_config: {http2: false, headers: {X-Frame-Options: deny,"
        " X-XSS-Protection: ''}}\n"
        "rate_limit: {interval: 500ms, burst: 3}\n",
    )

    assert found.users == {"ann": HASH.encode()}
    assert found.headers == {"X-Frame-Options": "deny"}
    assert found.rate == RateLimit(0.5, 3)


def test_a_rate_of_no_time_is_none(folder: Path) -> None:
    """As with the toolkit, an interval of 0 switches it off."""
    assert read(folder, "rate_limit: {interval: 0s, burst: 3}").rate is None


TLS = "cert_file: cert, key_file: key"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense: 1", "nonsense"),
        ("- 1", "mapping"),
        ("a: [", "web.yml: "),
        ("tls_server_config: {cert_file: cert}", "tls_server_config.key_file"),
        ("tls_server_config: {key_file: key}", "tls_server_config.cert_file"),
        ("tls_server_config: {min_version: TLS12}", "tls_server_config.cert_file"),
        (f"tls_server_config: {{{TLS}, cert: x}}", "keep one of them"),
        ("tls_server_config: {cert_file: none, key_file: key}", "cannot be read"),
        (f"tls_server_config: {{{TLS}, min_version: SSL3}}", "TLS12"),
        (
            f"tls_server_config: {{{TLS}, min_version: TLS13, max_version: TLS12}}",
            "below min_version",
        ),
        (f"tls_server_config: {{{TLS}, cipher_suites: [RC4]}}", "cipher_suites"),
        (f"tls_server_config: {{{TLS}, client_ca_file: ca}}", "client_auth_type"),
        (f"tls_server_config: {{{TLS}, client_auth_type: Any}}", "NoClientCert"),
        (
            f"tls_server_config: {{{TLS}, client_auth_type: VerifyClientCertIfGiven}}",
            "client_ca_file",
        ),
        (
            f"tls_server_config: {{{TLS}, client_allowed_sans: [x]}}",
            "client_allowed_sans",
        ),
        (
            f"tls_server_config: {{{TLS}, client_ca_file: ca, client_auth_type:"
            " VerifyClientCertIfGiven, client_allowed_sans: [x]}",
            "RequireAndVerifyClientCert",
        ),
        (f"tls_server_config: {{{TLS}, curve_preferences: [X25519]}}", "remove it"),
        (f"tls_server_config: {{{TLS}, cerd: x}}", "did you mean cert"),
        ("basic_auth_users: {ann: secret}", "htpasswd"),
        ("http_server_config: {headers: {X-Powered-By: us}}", "X-Powered-By"),
        (
            'http_server_config: {headers: {X-Frame-Options: "a\\nb"}}',
            "more than one line",
        ),
        ("rate_limit: {interval: 1s}", "rate_limit.burst"),
        ("rate_limit: {interval: 1x, burst: 1}", "rate_limit.interval"),
    ],
)
def test_a_mistake_is_one_line(folder: Path, text: str, words: str) -> None:
    """The line has the file, the key and what would be right; no hash, no key."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    error = str(caught.value)

    assert error.startswith(f"{folder / 'web.yml'}: ")
    assert words in error
    assert "\n" not in error
    assert "secret" not in error


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The path and the reason."""
    with pytest.raises(ConfigError, match=r"none\.yml: .*[Nn]o such file"):
        config.read(str(tmp_path / "none.yml"))
