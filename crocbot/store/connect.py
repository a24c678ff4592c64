"""
Connections to PostgreSQL: how they are made, what they take, what their errors say.

    connect(url) --> PostgresConnection --> execute("... WHERE id = ?", (7,))
                                               |  "... WHERE id = %s"
                                               v
                                             psycopg

- No setting, prepared statement or lock survives a transaction, so that a pooler in
  transaction mode works.
- Texts lose what PostgreSQL cannot store: NUL becomes U+FFFD, half a surrogate pair is
  replaced by "?".
- Errors have one line, without the details of the server, which show values, and
  without the password.
"""

from __future__ import annotations

import os
import re
import select
import socket
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import adapters, errors
from psycopg.types.numeric import IntDumper
from psycopg.types.string import StrDumper

from crocbot.database_url import DatabaseUrl
from crocbot.errors import OperatorError, StoreError
from crocbot.store.clock import ServerClock
from crocbot.store.interface import Cursor, Parameters

CONNECT_SECONDS = 5
CANCEL_SECONDS = 2.0
MAX_STATEMENTS = 1000
MAX_ERROR_CHARS = 300
# libpq shows no password that it could read; a short one may be an ordinary word.
MIN_SECRET_CHARS = 4
MIN_SERVER_VERSION = 130_000
SETTING = "CROCBOT_DATABASE_URL"
# What strings are encoded with here: the URL cannot change it.
ENCODING = {"client_encoding": "UTF8"}
# Each is in place unless the URL has it.  A server that is gone is found within 25 s
# also by a connection that only waits.
PARAMETERS: Mapping[str, object] = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "crocbot",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
SAMPLE = (
    "SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION),"
    " current_setting('server_version_num')::int, current_setting('server_encoding'),"
    " current_setting('default_transaction_isolation')"
)
# What the operator must change: by the class of the SQLSTATE, or by the text.
OPERATORS_CLASSES = frozenset({"0A", "28", "3D", "3F", "42"})
OPERATORS = re.compile(
    r"authentication failed|no password supplied|does not exist|no pg_hba\.conf entry"
    r"|permission denied|not support SSL|certificate|Name or service not known"
    r"|No address associated|is not permitted to log in|no such (database|user)"
    r"|(bad|invalid) (value|URI|port|integer|sslmode|connection option)"
    r"|definition of service",
    re.IGNORECASE,
)
TEMPORARY = re.compile(
    r"starting up|shutting down|recovery mode|timeout expired", re.IGNORECASE
)
QUESTION_MARK = re.compile(r"\?")
NAME = re.compile(r"(?<![:\w]):([a-z_]\w*)")


class _TextDumper(StrDumper):
    """A text without what PostgreSQL cannot store."""

    def dump(self, obj: str) -> bytes:
        return obj.replace("\0", "\ufffd").encode("utf-8", "replace")


class _FlagDumper(IntDumper):
    """Flags are integers in both engines."""

    def dump(self, obj: bool) -> bytes:
        return b"1" if obj else b"0"


_adapters = psycopg.adapt.AdaptersMap(adapters)
_adapters.register_dumper(str, _TextDumper)
_adapters.register_dumper(bool, _FlagDumper)


class PostgresConnection:
    """
    A connection that takes the statements that SQLite takes.

    One thread uses it; others may call `cancel` and `shut_down`.
    """

    def __init__(self, raw: psycopg.Connection[Any], clock: ServerClock) -> None:
        self.clock = clock
        self._raw = raw
        # A pooler may pass on what another client listens to; psycopg would keep it.
        raw.add_notify_handler(_ignore)
        self._lock = threading.Lock()

    def execute(self, statement: str, parameters: Parameters = (), /) -> Cursor:
        """Run a statement."""
        named = isinstance(parameters, Mapping)
        return self._raw.execute(_translated(statement, named), parameters)

    def executemany(self, statement: str, rows: Iterable[Parameters], /) -> Cursor:
        """Run a statement once for each row of parameters."""
        cursor = self._raw.cursor()
        given = list(rows)
        named = bool(given) and isinstance(given[0], Mapping)
        cursor.executemany(_translated(statement, named), given)
        return cursor

    def run(self, statements: str) -> None:
        """Run statements without parameters, with one message to the server."""
        self._raw.execute(statements.encode())

    @property
    def in_transaction(self) -> bool:
        """Return whether a transaction was begun."""
        status = self._raw.info.transaction_status
        return status is not psycopg.pq.TransactionStatus.IDLE

    @property
    def broken(self) -> bool:
        """Return whether it was closed, or the server has sent something unasked."""
        if self._raw.closed:
            return True
        poll = select.poll()
        poll.register(self._raw.fileno(), select.POLLIN)
        # The reason for which it closes the connection, or the end itself.
        return bool(poll.poll(0))

    def cancel(self) -> None:
        """
        Ask the server, by another connection, to end the running statement.

        An old libpq could only wait for that without end: then nothing is done.
        """
        if not psycopg.capabilities.has_cancel_safe():
            return
        with suppress(psycopg.Error, OSError):
            self._raw.cancel_safe(timeout=CANCEL_SECONDS)

    def shut_down(self) -> None:
        """End the connection below the thread that waits for it."""
        with self._lock, suppress(psycopg.Error, OSError):
            descriptor = os.dup(self._raw.fileno())
            with socket.socket(fileno=descriptor) as shared:
                shared.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        # Its descriptor may be another file's afterwards.
        with self._lock, suppress(psycopg.Error, OSError):
            self._raw.close()


def connect(url: DatabaseUrl, clock: ServerClock) -> PostgresConnection:
    """
    Return a connection in autocommit mode; its server gives `clock` the time.

    Raise OperatorError for what a setting causes, StoreError for what may pass.
    """
    with opening(url):
        try:
            raw = psycopg.connect(
                url.text,
                autocommit=True,
                prepare_threshold=None,
                context=_adapters,
                **missing_parameters(url),
            )
        except UnicodeError:
            # Before the name is looked up.
            raise OperatorError(f"{SETTING}: {url}: the host is no name") from None
        connection = PostgresConnection(raw, clock)
        try:
            _check(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def missing_parameters(url: DatabaseUrl) -> dict[str, Any]:
    """Return the parameters of a connection that the URL does not have or set."""
    parameters = dict(PARAMETERS)
    if len(url.hosts) > 1:
        # After a failover the first host may be a standby.
        parameters["target_session_attrs"] = "read-write"
    missing = parameters.keys() - url.parameters.keys()
    return {name: parameters[name] for name in missing} | ENCODING


def describe(url: DatabaseUrl, error: Exception) -> str:
    """Return one line about an error, with neither values nor the password."""
    text = None
    if isinstance(error, psycopg.Error):
        text = error.diag.message_primary
    if text is None:
        # Further lines that are indented are hints of libpq; those of psycopg repeat
        # the errors of all hosts of the URL.
        text, _, _ = str(error).partition("\nMultiple connection attempts failed")
        lines = (text or type(error).__name__).splitlines()
        text = " ".join(each for each in lines if not each.startswith(("\t", " ")))
    text = " ".join(text.split())
    for secret in sorted(url.secrets, key=len, reverse=True):
        if len(secret) >= MIN_SECRET_CHARS:
            text = text.replace(secret, "***")
    return text[:MAX_ERROR_CHARS]


def store_error(url: DatabaseUrl, error: psycopg.Error) -> StoreError:
    """Return what the gateway raises for an error of a job."""
    no_space = isinstance(error, errors.DiskFull)
    return StoreError(f"{url}: {describe(url, error)}", no_space=no_space)


def open_error(url: DatabaseUrl, error: psycopg.Error) -> OperatorError | StoreError:
    """Return OperatorError for what a setting causes, StoreError for what may pass."""
    text = describe(url, error).removeprefix("connection failed: ")
    if error.sqlstate is None:
        # libpq has no code for what it could not connect to.
        is_operators = bool(OPERATORS.search(text)) and not TEMPORARY.search(text)
    else:
        is_operators = error.sqlstate[:2] in OPERATORS_CLASSES
    if is_operators:
        return OperatorError(f"{SETTING}: {url} cannot be used: {text}")
    return StoreError(f"{url} cannot be reached: {text}")


@contextmanager
def opening(url: DatabaseUrl) -> Iterator[None]:
    """Raise OperatorError or StoreError for an error of the database."""
    try:
        yield
    except psycopg.Error as error:
        raise open_error(url, error) from None


def _check(connection: PostgresConnection) -> None:
    """Take the time of the server; raise OperatorError if it cannot be used."""
    begun = connection.clock.begin()
    time, version, encoding, isolation = connection.execute(SAMPLE).fetchone()
    connection.clock.sample(time, begun)
    if version < MIN_SERVER_VERSION:
        raise OperatorError(
            f"{SETTING}: the server is PostgreSQL {version // 10_000}, it must be"
            f" {MIN_SERVER_VERSION // 10_000} or newer"
        )
    if encoding != "UTF8":
        raise OperatorError(
            f"{SETTING}: the encoding of the database is {encoding}: create it with"
            " ENCODING 'UTF8' TEMPLATE template0"
        )
    if isolation != "read committed":
        raise OperatorError(
            f"{SETTING}: default_transaction_isolation is {isolation}: it must be"
            " 'read committed'"
        )


def _ignore(_: psycopg.Notify) -> None:
    """Take a notification that nothing waits for."""


@lru_cache(MAX_STATEMENTS)
def _translated(statement: str, named: bool) -> bytes:
    """Return a statement with the placeholders of psycopg."""
    text = statement.replace("%", "%%")
    text = NAME.sub(r"%(\1)s", text) if named else QUESTION_MARK.sub("%s", text)
    return text.encode()
