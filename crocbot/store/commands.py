"""The PostgreSQL database for commands: one connection, one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from crocbot.database_url import DatabaseUrl
from crocbot.errors import OperatorError
from crocbot.store import schema
from crocbot.store.calls import LOCK, transaction
from crocbot.store.clock import ServerClock
from crocbot.store.connect import PostgresConnection, connect, opening
from crocbot.store.interface import Connection

COMMAND_IDLE_SECONDS = 10.0
COMMAND_LOCK_SECONDS = 10.0
# A command may take longer between two statements than a job, and in all; it ends if
# another transaction keeps a lock.
BEGIN_COMMAND = (
    "BEGIN ISOLATION LEVEL READ COMMITTED;"
    " SET LOCAL idle_in_transaction_session_timeout ="
    f" {COMMAND_IDLE_SECONDS * 1000:.0f};"
    f" SET LOCAL lock_timeout = {COMMAND_LOCK_SECONDS * 1000:.0f}"
)


def upgrade(url: DatabaseUrl) -> tuple[int, int]:
    """Change the tables to this version; return the versions before and after."""
    with connected(url) as connection:
        return upgrade_tables(connection), schema.VERSION


def inspect_postgresql(url: DatabaseUrl) -> int:
    """Return the version of the tables, 0 if there are none; change nothing."""
    with connected(url) as connection:
        return schema.version_of(connection)


@contextmanager
def opened_postgresql(url: DatabaseUrl) -> Iterator[Connection]:
    """Open the database for one transaction of a command; raise OperatorError."""
    with connected(url) as connection:
        version = schema.version_of(connection)
        if not version:
            raise OperatorError(f"CROCBOT_DATABASE_URL: there is no inbox in {url}")
        if version < schema.VERSION:
            raise OperatorError(
                f"CROCBOT_DATABASE_URL: {url} has tables of version {version}, this"
                f" crocbot needs {schema.VERSION}: crocbot database upgrade"
            )
        with transaction(connection, f"{BEGIN_COMMAND}; {LOCK}"):
            yield connection


@contextmanager
def connected(url: DatabaseUrl) -> Iterator[PostgresConnection]:
    """Connect, in autocommit mode.  Raise OperatorError or StoreError."""
    with opening(url):
        connection = connect(url, ServerClock())
        try:
            yield connection
        finally:
            connection.close()


def upgrade_tables(connection: PostgresConnection) -> int:
    """Change the tables to this version; return the version before."""
    if (version := schema.version_of(connection)) < schema.VERSION:
        with transaction(connection, BEGIN_COMMAND):
            return schema.upgrade(connection)
    return version
