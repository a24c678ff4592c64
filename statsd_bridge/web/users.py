"""
Basic authentication (RFC 7617) against bcrypt hashes, off the reactor's thread.

Credentials that were right are remembered, salted and hashed, while the process lives;
all others are checked one at a time (checks.py).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import NamedTuple

import bcrypt

from statsd_bridge.threads import Threads
from statsd_bridge.web.checks import (
    Admission,
    CheckQueue,
    DecidedCheck,
    PasswordCheck,
)
from statsd_bridge.web.client import Client

MAX_REMEMBERED = 100

_SALT = b"$2b$%02d$QFXxTpnzDq7CHT3SZnbNOu"
"""A salt for work whose result is not used, with the cost as its argument."""


class Credentials(NamedTuple):
    """The name and password of an Authorization header."""

    name: str
    password: bytes


class Users:
    """The users who may read the pages; `replace` changes them at any time."""

    def __init__(self, hashes: Mapping[str, bytes], threads: Threads) -> None:
        self._hashes = hashes
        self._queue = CheckQueue(threads)
        self._remembered = RememberedCredentials()

    def replace(self, hashes: Mapping[str, bytes]) -> None:
        """Set names and bcrypt hashes; checks that wait compare with the old ones."""
        self._hashes = hashes

    def authenticate(
        self, authorization: bytes | None, client: Client
    ) -> PasswordCheck:
        """Check whether a header admits the request of a client; without users, all."""
        if not self._hashes:
            return DecidedCheck(client, Admission.ADMITTED)
        credentials = _parse_credentials(authorization)
        if credentials is None:
            return DecidedCheck(client, Admission.UNAUTHORIZED)
        check = _UserCheck(
            client,
            credentials,
            hashed=self._hashes.get(credentials.name),
            cost=max(map(_cost, self._hashes.values())),
            remembered=self._remembered,
        )
        known = check.known_result()
        return self._queue.add(check) if known is None else DecidedCheck(client, known)


class RememberedCredentials:
    """Digests of credentials, each with the hash that they matched."""

    def __init__(self) -> None:
        self._salt = os.urandom(32)
        self._digests: dict[bytes, None] = {}

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._digests

    def add(self, digest: bytes) -> None:
        """Remember; too many are forgotten together."""
        if len(self._digests) >= MAX_REMEMBERED:
            self._digests.clear()
        self._digests[digest] = None

    def digest(self, credentials: Credentials, hashed: bytes) -> bytes:
        """Return what is remembered of credentials and a hash."""
        name = credentials.name.encode("utf-8", "surrogateescape")
        parts = name, credentials.password, hashed
        framed = b"".join(b"%d:%b" % (len(part), part) for part in parts)
        return hmac.digest(self._salt, framed, hashlib.sha256)


class _UserCheck(PasswordCheck):
    """Compares a password with the hash of its user; None for an unknown user."""

    def __init__(
        self,
        client: Client,
        credentials: Credentials,
        *,
        hashed: bytes | None,
        cost: int,
        remembered: RememberedCredentials,
    ) -> None:
        super().__init__(client)
        self._password = credentials.password
        self._hashed = hashed
        self._cost = cost
        self._remembered = remembered
        self._digest = remembered.digest(credentials, hashed or b"")

    def known_result(self) -> Admission | None:
        is_remembered = self._digest in self._remembered
        return Admission.ADMITTED if is_remembered else None

    def matches(self) -> bool:
        return matches(self._password, self._hashed, self._cost)

    def ended(self, matches: bool) -> Admission:
        if not matches:
            return Admission.UNAUTHORIZED
        self._remembered.add(self._digest)
        return Admission.ADMITTED


def matches(password: bytes, hashed: bytes | None, cost: int) -> bool:
    """
    Return whether a password has a bcrypt hash; None is the hash of an unknown user.

    It does as much work as one hash of `cost`, the highest of all users: the time must
    not reveal which users exist.  Each cost is twice the work of the one before, so
    2^c + (2^c + 2^(c+1) + ... + 2^(cost-1)) is 2^cost.
    """
    try:
        if hashed is None:
            bcrypt.hashpw(password, _SALT % cost)
            return False
        is_equal = bcrypt.checkpw(password, hashed)
        for each in range(_cost(hashed), cost):
            bcrypt.hashpw(password, _SALT % each)
    except ValueError:
        # Longer than bcrypt's 72 bytes, or with a NUL.
        return False
    return is_equal


def _cost(hashed: bytes) -> int:
    return int(hashed.split(b"$")[2])


def _parse_credentials(authorization: bytes | None) -> Credentials | None:
    """Return name and password; None if there is no header or it is malformed."""
    scheme, _, encoded = (authorization or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip()).partition(b":")
    except binascii.Error:
        return None
    if not colon:
        return None
    return Credentials(name.decode("utf-8", "surrogateescape"), password)
