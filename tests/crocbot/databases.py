"""The two engines, so that a test runs over both."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from crocbot.database_url import DatabaseUrl
from crocbot.store import (
    Connection,
    Job,
    SqliteStore,
    Store,
    opened,
    opened_postgresql,
)
from crocbot.store.clock import ServerClock
from crocbot.store.postgresql import PostgresStore
from tests.crocbot.fakes import FakeClocks


class Database(Protocol):
    """A database without content."""

    def store(
        self, schemas: Sequence[str], clocks: FakeClocks | None = None
    ) -> AbstractAsyncContextManager[Store]:
        """Return the store of a new process, with the clocks of a test."""

    def opened(self, schemas: Sequence[str]) -> AbstractContextManager[Connection]:
        """Return the connection of a command."""

    def refuse_updates(self, table: str, condition: str) -> Job[None]:
        """Return a job after which updates of the rows NEW raise `no space`."""

    def allow_updates(self, table: str) -> Job[None]:
        """Return a job that ends that."""


@dataclass(frozen=True)
class SqliteDatabase:
    """A file."""

    file: Path

    def store(
        self, schemas: Sequence[str], clocks: FakeClocks | None = None
    ) -> AbstractAsyncContextManager[Store]:
        return SqliteStore(self.file, schemas, clocks and clocks.system())

    def opened(self, schemas: Sequence[str]) -> AbstractContextManager[Connection]:
        return opened(self.file, schemas)

    def refuse_updates(self, table: str, condition: str) -> Job[None]:
        return _runs(
            f"CREATE TRIGGER refused BEFORE UPDATE ON {table} WHEN {condition}"
            " BEGIN SELECT RAISE(ABORT, 'no space'); END"
        )

    def allow_updates(self, table: str) -> Job[None]:
        return _runs("DROP TRIGGER refused")


@dataclass(frozen=True)
class PostgresDatabase:
    """A database of PostgreSQL, which has all tables."""

    url: DatabaseUrl

    def store(
        self,
        _: Sequence[str],
        clocks: FakeClocks | None = None,
    ) -> AbstractAsyncContextManager[Store]:
        return PostgresStore(self.url, clocks and FakeServerClock(clocks))

    def opened(self, _: Sequence[str]) -> AbstractContextManager[Connection]:
        return opened_postgresql(self.url)

    def refuse_updates(self, table: str, condition: str) -> Job[None]:
        return _runs(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'no space'; END $$",
            f"CREATE TRIGGER refused BEFORE UPDATE ON {table} FOR EACH ROW"
            f" WHEN ({condition}) EXECUTE FUNCTION refuse()",
        )

    def allow_updates(self, table: str) -> Job[None]:
        return _runs(f"DROP TRIGGER refused ON {table}")


def _runs(*statements: str) -> Job[None]:
    def job(connection: Connection) -> None:
        for each in statements:
            connection.execute(each)

    return job


class FakeServerClock(ServerClock):
    """The clock of a server that has the time of a test's monotonic clock."""

    def __init__(self, clocks: FakeClocks) -> None:
        super().__init__(clocks.system())
        self._server = clocks

    def sample(self, time: float, begun: float) -> None:
        super().sample(self._server.monotonic, begun)
