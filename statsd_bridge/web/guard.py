"""
Users and rate limit of the pages, and TLS, as --web.config.file sets them.

The file is checked at every connection and request, so that a renewed certificate or
a new user needs no restart.  A file that cannot be used is logged, once for each
change, and the last good one stays in force.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IOpenSSLContextFactory
from zope.interface import implementer

from statsd_bridge import log
from statsd_bridge.errors import BridgeError
from statsd_bridge.model import Clock
from statsd_bridge.threads import Threads
from statsd_bridge.web.checks import Admission, DecidedCheck, PasswordCheck
from statsd_bridge.web.client import Client
from statsd_bridge.web.watch import WatchedFiles

# Imported when there is a file: yaml, bcrypt and OpenSSL take 70 ms and 12 MB.
if TYPE_CHECKING:
    from OpenSSL import SSL

    from statsd_bridge.web.config import RateLimit, WebConfig
    from statsd_bridge.web.users import Users


@implementer(IOpenSSLContextFactory)
class Guard:
    """
    The checks of one file; an empty `path` admits everyone.

    Passwords are checked in `threads`.  Raise BridgeError if the file cannot be used
    when the bridge starts.
    """

    def __init__(
        self, path: str, threads: Threads, clock: Clock = time.monotonic
    ) -> None:
        self._path = path
        self._clock = clock
        self._bucket: TokenBucket | None = None
        self._threads = threads
        self._users: Users | None = None
        self._config: WebConfig | None = None
        self._context: SSL.Context | None = None
        self._files = WatchedFiles()
        if path:
            self._read(is_start=True)

    @property
    def is_tls(self) -> bool:
        """Return whether connections use TLS; that cannot change after the start."""
        return self._context is not None

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the headers of every response."""
        return {} if self._config is None else self._config.headers

    def allow_request(self) -> bool:
        """Return whether one more request now is within the rate limit."""
        self._refresh()
        return self._bucket is None or self._bucket.take(self._clock())

    def authenticate(
        self, authorization: bytes | None, client: Client
    ) -> PasswordCheck:
        """Check whether an Authorization header admits the request of a client."""
        if self._users is None:
            return DecidedCheck(client, Admission.ADMITTED)
        return self._users.authenticate(authorization, client)

    def getContext(self) -> SSL.Context:
        """Return the context of the next TLS connection; Twisted calls it for each."""
        self._refresh()
        assert self._context is not None
        return self._context

    def _refresh(self) -> None:
        """Read the file again if it, or a file that it names, has changed."""
        if not self._path or not self._files.have_changed():
            return
        try:
            self._read(is_start=False)
        except BridgeError as error:
            log.logger(__name__).error(
                "web configuration refused, the old one stays", error=str(error)
            )

    def _read(self, *, is_start: bool) -> None:
        from statsd_bridge.web import config, users

        # Each file is watched before it is used, valid or not, so that each change from
        # here on is found; the main file first, because it may name others then.
        self._files.clear()
        self._files.add(Path(self._path))
        for each in config.referenced_files(self._path):
            self._files.add(each)
        loaded, context = load_config(self._path)
        if not is_start and (context is None) != (self._context is None):
            raise BridgeError(
                f"{self._path}: tls_server_config cannot be added or removed while the"
                " bridge runs; restart it"
            )
        if loaded.rate is None:
            self._bucket = None
        elif self._config is None or loaded.rate != self._config.rate:
            self._bucket = TokenBucket(loaded.rate, self._clock())
        self._config, self._context = loaded, context
        if self._users is None:
            self._users = users.Users({}, self._threads)
        self._users.replace(loaded.users)


def load_config(path: str) -> tuple[WebConfig, SSL.Context | None]:
    """Read a file, and the context of its TLS; raise BridgeError if it is invalid."""
    from statsd_bridge.web import config, tls

    loaded = config.read(path)
    try:
        return loaded, tls.new_context(loaded.tls) if loaded.tls else None
    except BridgeError as error:
        raise BridgeError(f"{path}: {error}") from error


class TokenBucket:
    """Tokens for requests: full at first, one more in every interval."""

    def __init__(self, limit: RateLimit, now: float) -> None:
        self._limit = limit
        self._tokens = float(limit.burst)
        self._updated_at = now

    def take(self, now: float) -> bool:
        """Take a token; return whether there was one."""
        gained = (now - self._updated_at) / self._limit.seconds
        self._tokens = min(self._tokens + gained, self._limit.burst)
        self._updated_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
