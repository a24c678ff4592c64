"""What a web configuration says of TLS, as OpenSSL wants it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from zope.interface import implementer

from statsd_bridge.errors import BridgeError
from statsd_bridge.web.config import Tls


@implementer(IOpenSSLServerConnectionCreator)
class Connections:
    """Makes the TLS part of each connection from the context that holds then."""

    def __init__(self, current: Callable[[], SSL.Context]) -> None:
        self._current = current

    def serverConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        """Make it, as Twisted asks for it."""
        return SSL.Connection(self._current(), None)


def context(tls: Tls) -> SSL.Context:
    """Build what connections are made from; BridgeError: which part cannot be used."""
    made = SSL.Context(SSL.TLS_SERVER_METHOD)
    made.set_min_proto_version(tls.min_version)
    made.set_max_proto_version(tls.max_version)
    made.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_COMPRESSION)
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Without one OpenSSL breaks off when a client that has shown a certificate resumes.
    made.set_session_id(b"statsd-bridge")
    if tls.ciphers:
        made.set_cipher_list(":".join(tls.ciphers).encode())
    _show(made, tls)
    if tls.client_auth.is_asked:
        _ask(made, tls)
    return made


def _show(made: SSL.Context, tls: Tls) -> None:
    try:
        own, *chain = x509.load_pem_x509_certificates(tls.certificate)
        made.use_certificate(own)
        for each in chain:
            made.add_extra_chain_cert(each)
    except (ValueError, UnsupportedAlgorithm, SSL.Error) as error:
        raise _bad("cert_file", "no certificate in PEM") from error
    try:
        key: Any = load_pem_private_key(tls.key, None)
        made.use_privatekey(key)
    except (ValueError, TypeError, UnsupportedAlgorithm, SSL.Error) as error:
        raise _bad("key_file", "no private key in PEM, without a passphrase") from error
    try:
        made.check_privatekey()
    except SSL.Error as error:
        raise _bad("key_file", "not the key of cert_file") from error


def _ask(made: SSL.Context, tls: Tls) -> None:
    auth = tls.client_auth
    if auth.is_verified:
        try:
            authorities = x509.load_pem_x509_certificates(tls.client_ca)
        except ValueError as error:
            raise _bad("client_ca_file", "no certificate in PEM") from error
        store = made.get_cert_store()
        assert store is not None
        for each in authorities:
            store.add_cert(crypto.X509.from_cryptography(each))
            made.add_client_ca(each)

    def verify(
        connection: SSL.Connection, shown: crypto.X509, error: int, depth: int, ok: int
    ) -> bool:
        if auth.is_verified and not ok:
            return False
        wanted = tls.client_sans
        is_own = depth == 0
        return not (wanted and is_own) or not wanted.isdisjoint(_names(shown))

    needed = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if auth.is_needed else 0
    made.set_verify(SSL.VERIFY_PEER | needed, verify)


def _names(shown: crypto.X509) -> Iterator[str]:
    """List the subject alternative names of a certificate, whatever their sort."""
    try:
        found = shown.to_cryptography().extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except (x509.ExtensionNotFound, ValueError):
        return
    for name in found.value:
        if isinstance(name.value, str):
            yield name.value
        elif isinstance(name.value, ipaddress.IPv4Address | ipaddress.IPv6Address):
            yield str(name.value)


def _bad(key: str, problem: str) -> BridgeError:
    return BridgeError(f"tls_server_config.{key}: {problem}")
