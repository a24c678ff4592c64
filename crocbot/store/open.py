"""The engine that the settings choose; only PostgreSQL needs psycopg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    contextmanager,
)
from pathlib import Path
from typing import Protocol

from crocbot.database_url import DatabaseUrl
from crocbot.errors import OperatorError, is_missing_library
from crocbot.store.facts import DatabaseFacts
from crocbot.store.interface import Connection, Store
from crocbot.store.sqlite import SqliteStore


class DatabaseSettings(Protocol):
    """The settings that choose the database."""

    @property
    def database(self) -> Path:
        """The SQLite file."""

    @property
    def postgresql(self) -> DatabaseUrl | None:
        """The database that is used in place of the file."""


def open_store(
    settings: DatabaseSettings, schemas: Sequence[str]
) -> AbstractAsyncContextManager[Store]:
    """
    Return the database of the settings.

    To enter it raises OperatorError for what the operator must change, and StoreError
    for a server that cannot be reached.
    """
    if settings.postgresql is None:
        return SqliteStore(settings.database, schemas)
    with _needs_psycopg():
        from crocbot.store.postgresql import PostgresStore
    return PostgresStore(settings.postgresql)


def opened_postgresql(url: DatabaseUrl) -> AbstractContextManager[Connection]:
    """Open the database for one transaction of a command; raise OperatorError."""
    with _needs_psycopg():
        from crocbot.store import commands
    return commands.opened_postgresql(url)


def upgrade(url: DatabaseUrl) -> tuple[int, int]:
    """Change the tables to this version; return the versions before and after."""
    with _needs_psycopg():
        from crocbot.store import commands
    return commands.upgrade(url)


def inspect_postgresql(url: DatabaseUrl) -> int:
    """
    Return the version of the tables, 0 if there are none; change nothing.

    Raise OperatorError for what the operator must change, and StoreError for a server
    that cannot be reached.
    """
    with _needs_psycopg():
        from crocbot.store import commands
    return commands.inspect_postgresql(url)


async def find_facts(url: DatabaseUrl) -> DatabaseFacts:
    """Connect to a database.  Raise OperatorError or StoreError."""
    with _needs_psycopg():
        from crocbot.store import probe
    return await probe.find_facts(url)


async def hears_notifications(url: DatabaseUrl) -> bool:
    """Return whether LISTEN has an effect.  Raise OperatorError or StoreError."""
    with _needs_psycopg():
        from crocbot.store import probe
    return await probe.hears_notifications(url)


@contextmanager
def _needs_psycopg() -> Iterator[None]:
    """Raise OperatorError if psycopg, or the library that it loads, is missing."""
    try:
        yield
    except ImportError as error:
        if error.name is not None and not is_missing_library(error):
            raise
        raise OperatorError(
            "CROCBOT_DATABASE_URL needs psycopg: pip install 'crocbot[postgres]'"
        ) from error
