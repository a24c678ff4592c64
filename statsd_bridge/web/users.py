"""
Basic authentication (RFC 7617) against bcrypt hashes, off the reactor's thread.

Checking a password takes a tenth of a second on purpose.  So one is checked at a time,
in a thread, and credentials that were right are remembered, salted and hashed, while
the process lives.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping

import bcrypt
from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.internet.threads import deferToThread

MAX_REMEMBERED = 100

# Checked for unknown users, so that the response time does not reveal that.
_UNKNOWN_USER = b"$2b$10$QFXxTpnzDq7CHT3SZnbNOu2VeOMTLHJDlWdIdHBZMNbjvNq5RnpLK"


class Users:
    """The users who may read the pages; `hashes` may be replaced at any time."""

    def __init__(self, hashes: Mapping[str, bytes]) -> None:
        self.hashes = hashes
        self._one_at_a_time = DeferredSemaphore(1)
        self._salt = os.urandom(32)
        self._verified_digests: dict[bytes, None] = {}

    def authenticate(self, authorization: bytes | None) -> Deferred[bool]:
        """Return whether a header admits its request; without users, all do."""
        if not self.hashes:
            return succeed(True)
        name, password = _parse_credentials(authorization)
        hashed = self.hashes.get(name)
        digest = self._digest(name, password, hashed or b"")
        if digest in self._verified_digests:
            return succeed(True)
        checked = self._one_at_a_time.run(
            deferToThread, _matches, password, hashed or _UNKNOWN_USER
        )
        return checked.addCallback(self._remember, digest, hashed is not None)

    def _remember(self, matches: bool, digest: bytes, is_known: bool) -> bool:
        if not (matches and is_known):
            return False
        if len(self._verified_digests) >= MAX_REMEMBERED:
            self._verified_digests.clear()
        self._verified_digests[digest] = None
        return True

    def _digest(self, name: str, password: bytes, hashed: bytes) -> bytes:
        parts = name.encode("utf-8", "surrogateescape"), password, hashed
        framed = b"".join(b"%d:%b" % (len(part), part) for part in parts)
        return hmac.digest(self._salt, framed, hashlib.sha256)


def _matches(password: bytes, hashed: bytes) -> bool:
    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:
        # Longer than bcrypt's 72 bytes, or with a NUL.
        return False


def _parse_credentials(authorization: bytes | None) -> tuple[str, bytes]:
    """Return name and password; both are empty if the header is malformed."""
    scheme, _, encoded = (authorization or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return "", b""
    try:
        name, _, password = base64.b64decode(encoded.strip()).partition(b":")
    except binascii.Error:
        return "", b""
    return name.decode("utf-8", "surrogateescape"), password
