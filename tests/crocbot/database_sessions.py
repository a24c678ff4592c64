"""Sessions of a PostgreSQL database, whose statements may wait for each other."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread
from typing import Any, Generic, TypeVar

from crocbot.database_url import DatabaseUrl
from crocbot.store.clock import ServerClock
from crocbot.store.connect import PostgresConnection, connect

DEADLINE_SECONDS = 60.0
POLL_SECONDS = 0.005

Result = TypeVar("Result")


class Session:
    """A connection of a test, whose statements may run in a thread."""

    def __init__(self, url: DatabaseUrl) -> None:
        self.connection: PostgresConnection = connect(url, ServerClock())

    def query(self, sql: str) -> Any:
        """Return the rows that SQL finds."""
        return self.connection.execute(sql).fetchall()

    def run(self, sql: str) -> None:
        """Run statements."""
        self.connection.run(sql)

    def start(self, work: Callable[[PostgresConnection], Result]) -> Waiting[Result]:
        """Run work in a thread."""
        return Waiting(self.connection, work)


class Waiting(Generic[Result]):
    """Work in a thread, which may wait for a lock."""

    def __init__(
        self,
        connection: PostgresConnection,
        work: Callable[[PostgresConnection], Result],
    ) -> None:
        self._results: list[Result | BaseException] = []

        def run() -> None:
            try:
                self._results.append(work(connection))
            except BaseException as error:
                self._results.append(error)

        self._thread = Thread(target=run, daemon=True)
        self._thread.start()

    @property
    def done(self) -> bool:
        """Return whether it has ended."""
        return bool(self._results)

    def result(self) -> Result:
        """Return the result once there is one."""
        self._thread.join(DEADLINE_SECONDS)
        result = self._results[0]
        if isinstance(result, BaseException):
            raise result
        return result


def wait_for_lock(observer: Session, count: int = 1) -> None:
    """Wait until sessions of the database wait for a lock."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    sql = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    while observer.query(sql)[0][0] < count:
        assert time.monotonic() < deadline, "no session waits for a lock"
        time.sleep(POLL_SECONDS)
