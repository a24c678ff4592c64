"""
Who may come in at the HTTP door, as --web.config.file says; without one, everybody.

The file is looked at when somebody comes, so that a renewed certificate or a new user
needs no restart.  What cannot be used is told, and what was read before stays.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.defer import Deferred

from statsd_bridge.errors import BridgeError
from statsd_bridge.web import config, tls
from statsd_bridge.web.config import Rate, WebConfig
from statsd_bridge.web.users import Users

Stamp = tuple[tuple[int, int, int], ...]
"""Which files these are, and when they were changed."""


class Guard:
    """
    What one file says.  An empty `path` is no file.

    `failed` hears why a file that was changed cannot be used.  BridgeError: it cannot
    be used at the start.
    """

    def __init__(
        self,
        path: str,
        failed: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._clock = clock
        self._bucket: Bucket | None = None
        self._failed = failed
        self._users = Users({})
        self._config = WebConfig()
        self._context: SSL.Context | None = None
        self._stamp: Stamp = ()
        if path:
            self._read()

    @property
    def is_tls(self) -> bool:
        """Tell whether connections are TLS: the file that was there at the start."""
        return self._context is not None

    @property
    def headers(self) -> Mapping[str, str]:
        """Give the headers that every answer has."""
        return self._config.headers

    def has_time(self) -> bool:
        """Tell whether one more request now is within the rate that is allowed."""
        self._look()
        return self._bucket is None or self._bucket.take(self._clock())

    def check(self, authorization: bytes | None) -> Deferred[bool]:
        """Tell whether a request with this header is let in."""
        return self._users.check(authorization)

    def context(self) -> SSL.Context:
        """Give what the next TLS connection is made from."""
        self._look()
        assert self._context is not None
        return self._context

    def _look(self) -> None:
        """Read the file anew if it, or one that it names, has changed."""
        if not self._path or self._stamp == (stamp := self._stamps()):
            return
        try:
            self._read()
        except BridgeError as error:
            # Told once for each change, not for each visitor.
            self._stamp = stamp
            self._failed(str(error))

    def _read(self) -> None:
        found = config.read(self._path)
        try:
            context = tls.context(found.tls) if found.tls else None
        except BridgeError as error:
            raise BridgeError(f"{self._path}: {error}") from error
        if self._stamp and (context is None) != (self._context is None):
            raise BridgeError(
                f"{self._path}: tls_server_config cannot come or go while the bridge"
                " runs; restart it"
            )
        if found.rate is None:
            self._bucket = None
        elif found.rate != self._config.rate:
            self._bucket = Bucket(found.rate, self._clock())
        self._config, self._context = found, context
        self._users.hashes = found.users
        self._stamp = self._stamps()

    def _stamps(self) -> Stamp:
        paths = [Path(self._path), *self._config.files]
        return tuple([_stamp(path) for path in paths])


class Bucket:
    """Tokens for requests: full at first, one more in every interval."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._now = now

    def take(self, now: float) -> bool:
        """Take a token, if there is one."""
        gained = (now - self._now) / self._rate.seconds
        self._tokens = min(self._tokens + gained, self._rate.burst)
        self._now = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0, 0
    return status.st_ino, status.st_mtime_ns, status.st_size
