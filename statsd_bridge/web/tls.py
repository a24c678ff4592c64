"""Build an OpenSSL context from the TLS part of a web configuration."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto

from statsd_bridge.errors import BridgeError
from statsd_bridge.web.config import Tls

# Anyone can make a certificate of which a part cannot be read.
_UNREADABLE = (
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
    ValueError,
)


def new_context(tls: Tls) -> SSL.Context:
    """
    Build the context of connections; raise BridgeError with the key that is wrong.

    Twisted's CertificateOptions is not used: it has none of the client authentication
    types but two, no check of names, and other default ciphers.
    """
    ssl = SSL.Context(SSL.TLS_SERVER_METHOD)
    ssl.set_min_proto_version(tls.min_version)
    ssl.set_max_proto_version(tls.max_version)
    ssl.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    ssl.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Without an id OpenSSL aborts when a client that showed a certificate resumes.
    ssl.set_session_id(b"statsd-bridge")
    if tls.ciphers:
        ssl.set_cipher_list(":".join(tls.ciphers).encode())
    _use_certificate(ssl, tls)
    if tls.client_auth.is_requested:
        _verify_clients(ssl, tls)
    return ssl


def _use_certificate(ssl: SSL.Context, tls: Tls) -> None:
    try:
        leaf, *chain = x509.load_pem_x509_certificates(tls.certificate)
        ssl.use_certificate(leaf)
        for each in chain:
            ssl.add_extra_chain_cert(each)
    except (ValueError, UnsupportedAlgorithm, SSL.Error) as error:
        raise _error("cert_file", "is not a certificate in PEM") from error
    try:
        key: Any = load_pem_private_key(tls.key, None)
        ssl.use_privatekey(key)
    except (ValueError, TypeError, UnsupportedAlgorithm, SSL.Error) as error:
        problem = "is not a private key in PEM without a passphrase"
        raise _error("key_file", problem) from error
    try:
        ssl.check_privatekey()
    except SSL.Error as error:
        raise _error("key_file", "is not the key of cert_file") from error


def _verify_clients(ssl: SSL.Context, tls: Tls) -> None:
    auth = tls.client_auth
    if auth.is_verified:
        try:
            authorities = x509.load_pem_x509_certificates(tls.client_ca)
        except ValueError as error:
            raise _error("client_ca_file", "is not a certificate in PEM") from error
        store = ssl.get_cert_store()
        assert store is not None
        for each in authorities:
            store.add_cert(crypto.X509.from_cryptography(each))
            ssl.add_client_ca(each)

    def verify(
        connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        if auth.is_verified and not ok:
            return False
        is_leaf = depth == 0
        allowed = tls.client_sans
        return not (allowed and is_leaf) or not allowed.isdisjoint(_names(shown))

    required = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if auth.is_required else 0
    ssl.set_verify(SSL.VERIFY_PEER | required, verify)


def _names(shown: crypto.X509) -> Iterator[str]:
    """List the subject alternative names of a certificate, of every type."""
    try:
        extension = shown.to_cryptography().extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except _UNREADABLE:
        return
    for name in extension.value:
        if isinstance(name.value, str):
            yield name.value
        elif isinstance(name.value, ipaddress.IPv4Address | ipaddress.IPv6Address):
            yield str(name.value)


def _error(key: str, problem: str) -> BridgeError:
    return BridgeError(f"tls_server_config.{key}: {problem}")
