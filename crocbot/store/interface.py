"""
A database that keeps the state of the gateway, whichever engine it has.

    await store.run(job)            job(connection) in one transaction
    store.clock.read()              the time of the database

Statements that both engines run have `?` or `:name` for a parameter and neither `?` nor
`%` in a text; flags are 0 or 1 and compared with `= 1`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Parameters = Sequence[Any] | Mapping[str, Any]
Result = TypeVar("Result")


class Cursor(Protocol):
    """What a statement found or changed."""

    @property
    def rowcount(self) -> int:
        """Return how many rows were changed."""

    def fetchone(self) -> Any:
        """Return the next row, None after the last."""

    def fetchall(self) -> list[Any]:
        """Return the rows that are left."""

    def __iter__(self) -> Iterator[Any]:
        """Return the rows that are left."""


class Connection(Protocol):
    """A connection within a transaction."""

    def execute(self, statement: str, parameters: Parameters = ..., /) -> Cursor:
        """Run a statement."""

    def executemany(self, statement: str, rows: Iterable[Parameters], /) -> Cursor:
        """Run a statement once for each row of parameters."""


Job = Callable[[Connection], Result]
HELD = ":held = 1"
"""The condition of a statement that a turn may run while its chat is worked here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """
    A statement with named parameters that changes one table, as a job.

    With the condition HELD it changes nothing in a turn whose lease is lost; the job
    raises LeaseLostError then.  Several of them, of different tables, may be one
    statement (`LeasedSessions`): each has names of its own, and sees nothing of what
    the others write.
    """

    statement: str
    values: Mapping[str, Any]

    def __call__(self, connection: Connection) -> None:
        """Run the statement where no lease is needed."""
        connection.execute(self.statement.replace(HELD, "true"), self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The time of the database, and the system's clocks at that time."""

    time: float
    retention: float
    wall: float
    monotonic: float
    boot: str

    def to_monotonic(self, store_time: float) -> float:
        """Return a time of the database as a time of the monotonic clock."""
        return self.monotonic - (self.time - store_time)


class StoreClock(Protocol):
    """
    The time of a database, which no step of a clock of this system changes.

    `time` is for ages, `retention` for what is deleted after some time.
    """

    def read(self) -> Reading:
        """Return the time now."""

    def save(self, connection: Connection, reading: Reading) -> None:
        """Store a reading, from which the next process continues."""


class Store(Protocol):
    """The database of the gateway.  Used on the event loop."""

    @property
    def clock(self) -> StoreClock:
        """The clock of the database; raise StoreError if it was never open."""

    async def run(
        self,
        job: Job[Result],
        *,
        write: bool = True,
        durable: bool = True,
        atomic: bool = True,
    ) -> Result:
        """
        Return the result of a job, which runs in a transaction.

        It runs to its end even if the caller is cancelled.  Without `durable` it is
        not waited for the disk: the changes survive the end of the process, but not a
        power cut.  Without `atomic` the job has one statement, which is a transaction
        of its own and locks only the rows that it changes; otherwise jobs with `write`
        run one after the other.  Raise StoreError, with nothing changed, if the
        database cannot be read or written; only where the connection to a server ends
        during a commit, or in a statement that is one, the changes may be there.
        """

    async def shrink(self) -> None:
        """Return free space to the file system, as far as the engine does not."""
