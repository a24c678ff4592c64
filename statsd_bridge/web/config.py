"""
Read --web.config.file: TLS, users, headers and the rate limit of the pages.

The format is that of Prometheus' exporter-toolkit: tls_server_config,
http_server_config, basic_auth_users, rate_limit.  Like exporter-toolkit, this
module refuses unknown keys; it also refuses what would leave a page less protected than
the file says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from statsd_bridge.document import tree
from statsd_bridge.document.diagnostics import Diagnostics, quote
from statsd_bridge.document.section import Section, non_null
from statsd_bridge.errors import ConfigError

# Of the costs that bcrypt has, 4 to 31.
_BCRYPT: Final = re.compile(
    r"\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}"
).fullmatch

_FILE_KEYS: Final = ("cert_file", "key_file", "client_ca_file")

HEADERS: Final = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)


class ClientAuth(NamedTuple):
    """Whether a client's certificate is requested, required, and verified with a CA."""

    is_requested: bool = False
    is_required: bool = False
    is_verified: bool = False


NO_CLIENT_AUTH: Final = ClientAuth()

# The names are Go's (crypto/tls, ClientAuthType).
_CLIENT_AUTH: Final = {
    "": NO_CLIENT_AUTH,
    "NoClientCert": NO_CLIENT_AUTH,
    "RequestClientCert": ClientAuth(is_requested=True),
    "RequireAnyClientCert": ClientAuth(is_requested=True, is_required=True),
    "RequireClientCert": ClientAuth(is_requested=True, is_required=True),
    "VerifyClientCertIfGiven": ClientAuth(is_requested=True, is_verified=True),
    "RequireAndVerifyClientCert": ClientAuth(
        is_requested=True, is_required=True, is_verified=True
    ),
}

# The protocol's version numbers (RFC 8446, 4.2.1).
_VERSIONS: Final = {"TLS10": 0x301, "TLS11": 0x302, "TLS12": 0x303, "TLS13": 0x304}

# Go's names of the TLS 1.2 suites that are still secure, and OpenSSL's.  Those of TLS
# 1.3 cannot be chosen, like in Go.
_CIPHERS: Final = {
    f"TLS_ECDHE_{key}_WITH_{suite}": f"ECDHE-{key}-{name}"
    for key in ("RSA", "ECDSA")
    for suite, name in (
        ("AES_128_GCM_SHA256", "AES128-GCM-SHA256"),
        ("AES_256_GCM_SHA384", "AES256-GCM-SHA384"),
        ("CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
        ("CHACHA20_POLY1305", "CHACHA20-POLY1305"),
        ("AES_128_CBC_SHA", "AES128-SHA"),
        ("AES_256_CBC_SHA", "AES256-SHA"),
        ("AES_128_CBC_SHA256", "AES128-SHA256"),
    )
} | {
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """
    The TLS part of a file.

    Certificates and keys are PEM; `ciphers` are OpenSSL's names, none for its
    defaults; a client's certificate must have one of `client_sans`, if there are any.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes = b""
    client_auth: ClientAuth = NO_CLIENT_AUTH
    client_sans: frozenset[str] = frozenset()
    min_version: int = _VERSIONS["TLS12"]
    max_version: int = _VERSIONS["TLS13"]
    ciphers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One request per `seconds` on average, and at most `burst` of them at once."""

    seconds: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """
    A whole file.

    `users` maps names to bcrypt hashes.
    """

    tls: Tls | None = None
    users: Mapping[str, bytes] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    rate: RateLimit | None = None


def read(path: str) -> WebConfig:
    """Read a file; raise ConfigError with file, key and what would be right."""
    root = _root(path)
    tls = root.section("tls_server_config")
    folder = Path(path).parent
    config = WebConfig(
        tls=_tls(tls, folder) if tls else None,
        users=_users(root),
        headers=_headers(root.section("http_server_config")),
        rate=_rate(root.section("rate_limit")),
    )
    root.reject_unknown_keys()
    return config


def referenced_files(path: str) -> list[Path]:
    """Return the files that a file refers to; none if it cannot be read."""
    try:
        tls = _root(path).section("tls_server_config")
        paths = [tls.text(key) for key in _FILE_KEYS] if tls else []
    except ConfigError:
        return []
    return [Path(path).parent / each for each in paths if each]


def _root(path: str) -> Section:
    composed = tree.compose(tree.read_file(path), path)
    return Section(Diagnostics(path, strict=True), "", non_null(composed))


def _tls(section: Section, folder: Path) -> Tls:
    auth = section.choice("client_auth_type", _CLIENT_AUTH) or NO_CLIENT_AUTH
    client_ca = _pem(section, "client_ca", folder)
    if client_ca and not auth.is_requested:
        raise section.error(
            "client_auth_type",
            "is required with a client CA: RequireAndVerifyClientCert",
        )
    if auth.is_verified and not client_ca:
        raise section.error("client_ca_file", "is required to verify clients")
    ciphers = [
        _cipher(section, name) for name in section.text_list("cipher_suites") or ()
    ]
    if section.text_list("curve_preferences"):
        problem = "cannot be chosen; remove it, OpenSSL's curves are used"
        raise section.error("curve_preferences", problem)
    section.boolean("prefer_server_cipher_suites")
    tls = Tls(
        certificate=_required(section, "cert", folder),
        key=_required(section, "key", folder),
        client_ca=client_ca,
        client_auth=auth,
        client_sans=frozenset(section.text_list("client_allowed_sans") or ()),
        min_version=section.choice("min_version", _VERSIONS) or _VERSIONS["TLS12"],
        max_version=section.choice("max_version", _VERSIONS) or _VERSIONS["TLS13"],
        ciphers=tuple(filter(None, ciphers)),
    )
    if tls.min_version > tls.max_version:
        raise section.error("max_version", "is below min_version")
    if tls.client_sans and not auth.is_required:
        problem = "needs client_auth_type RequireAnyClientCert or"
        problem += " RequireAndVerifyClientCert"
        raise section.error("client_allowed_sans", problem)
    section.reject_unknown_keys()
    return tls


def _required(section: Section, key: str, folder: Path) -> bytes:
    pem = _pem(section, key, folder)
    if not pem:
        raise section.error(f"{key}_file", "is missing, the path of a PEM file")
    return pem


def _pem(section: Section, key: str, folder: Path) -> bytes:
    """Return PEM data from the file itself or from a file that it refers to."""
    text, path = section.text(key), section.text(f"{key}_file")
    if text and path:
        raise section.error(key, f"and {key}_file are both set; keep one of them")
    if not path:
        return text.encode()
    try:
        return (folder / path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = f"{quote(path)} cannot be read: {reason}"
        raise section.error(f"{key}_file", problem) from error


def _cipher(section: Section, name: str) -> str:
    if name not in _CIPHERS:
        problem = f"{quote(name)} is not known; write one such as"
        problem += " TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
        raise section.error("cipher_suites", problem)
    return _CIPHERS[name]


def _users(root: Section) -> dict[str, bytes]:
    users = root.text_map("basic_auth_users")
    for name, hashed in users.items():
        if not _BCRYPT(hashed):
            problem = "is not a bcrypt hash; make one with htpasswd -nBC 10 NAME"
            raise root.error(f"basic_auth_users.{name}", problem)
    return {name: hashed.encode() for name, hashed in users.items()}


def _rate(section: Section | None) -> RateLimit | None:
    if section is None:
        return None
    seconds, burst = section.nanoseconds("interval") / 1e9, section.count("burst")
    section.reject_unknown_keys()
    if seconds > 0 and not burst:
        raise section.error("burst", "is required, 1 or more: 0 rejects every request")
    return RateLimit(seconds, burst) if seconds > 0 else None


def _headers(section: Section | None) -> dict[str, str]:
    if section is None:
        return {}
    # Only HTTP/1.1 is served; HTTP/2 clients fall back to it.
    section.boolean("http2")
    found = section.text_map("headers")
    for name, value in found.items():
        if name not in HEADERS:
            problem = f"is not one of {', '.join(HEADERS)}"
            raise section.error(f"headers.{name}", problem)
        if "\n" in value or "\r" in value:
            raise section.error(f"headers.{name}", "has more than one line")
    section.reject_unknown_keys()
    return {name: value for name, value in found.items() if value}
