"""
The clock of a database, which no step of a clock of this system changes.

A server has a clock, which is sampled now and then; in between the monotonic clock goes
on.  The clock of a file continues from one run to the next:

    saved reading --> gap since it --> reading --> saved reading --> ...
        same boot: monotonic clock, also between two processes
        other boot: wall clock, from 0 to MAX_GAP_SECONDS
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Protocol, runtime_checkable

from crocbot.clocks import SystemClocks
from crocbot.errors import StoreError
from crocbot.store.interface import Connection, Reading, StoreClock

MAX_GAP_SECONDS = 7 * 86_400.0
MAX_RETENTION_GAP_SECONDS = 3600.0
# A sample that took longer is not precise; a greater step back is one of the server.
MAX_SAMPLE_SECONDS = 1.0
MAX_STEP_BACK_SECONDS = 2.0
CLOCK_COLUMNS = ("time", "retention", "wall", "monotonic", "boot")

CLOCK_SCHEMA = """
CREATE TABLE IF NOT EXISTS clock (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    time      REAL NOT NULL,
    retention REAL NOT NULL,
    wall      REAL NOT NULL,
    monotonic REAL NOT NULL,
    boot      TEXT NOT NULL
)
"""


class FileClock:
    """
    Continues from a reading of this process or an earlier one.

    `time` counts every gap in full, for ages.  `retention` counts a gap as an hour at
    most: what is deleted after 48 hours of it is not deleted because a clock was wrong.
    Both begin as the Unix time at which the file was made.
    """

    def __init__(self, reading: Reading, clocks: SystemClocks) -> None:
        self._reading = reading
        self._clocks = clocks

    @classmethod
    def load(
        cls, connection: Connection, clocks: SystemClocks | None = None
    ) -> FileClock:
        """Return the clock of a file, from its last saved reading."""
        clocks = clocks or SystemClocks()
        saved = connection.execute(
            "SELECT time, retention, wall, monotonic, boot FROM clock"
        ).fetchone()
        if saved is None:
            wall = clocks.wall()
            saved = (wall, wall, wall, clocks.monotonic(), clocks.boot)
        return cls(Reading(**dict(zip(CLOCK_COLUMNS, saved, strict=True))), clocks)

    def read(self) -> Reading:
        """Return the time of the file now."""
        last, clocks = self._reading, self._clocks
        wall, monotonic = clocks.wall(), clocks.monotonic()
        if last.boot == clocks.boot:
            gap = monotonic - last.monotonic
        else:
            gap = min(wall - last.wall, MAX_GAP_SECONDS)
        gap = max(gap, 0.0)
        self._reading = Reading(
            time=last.time + gap,
            retention=last.retention + min(gap, MAX_RETENTION_GAP_SECONDS),
            wall=wall,
            monotonic=monotonic,
            boot=clocks.boot,
        )
        return self._reading

    @staticmethod
    def save(connection: Connection, reading: Reading) -> None:
        """Store a reading, from which the next process continues."""
        connection.execute(
            "INSERT OR REPLACE INTO clock"
            " VALUES (1, :time, :retention, :wall, :monotonic, :boot)",
            asdict(reading),
        )


class ServerClock:
    """
    The Unix time of a server.  Used by several threads.

    A sample that is a little behind the last reading does not make the time go back.
    """

    def __init__(self, clocks: SystemClocks | None = None) -> None:
        self._clocks = clocks or SystemClocks()
        self._offset: float | None = None
        self._last = 0.0

    def begin(self) -> float:
        """Return the monotonic time before the server is asked for the time."""
        return self._clocks.monotonic()

    def sample(self, time: float, begun: float) -> None:
        """Take the time of the server, which was asked for at `begun`."""
        now = self._clocks.monotonic()
        if self._offset is None or now - begun <= MAX_SAMPLE_SECONDS:
            self._offset = time - (begun + now) / 2

    def read(self) -> Reading:
        """Return the time of the server now; raise StoreError before any sample."""
        if self._offset is None:
            raise StoreError("the database was never reached")
        monotonic = self._clocks.monotonic()
        time = self._offset + monotonic
        if 0 < self._last - time <= MAX_STEP_BACK_SECONDS:
            time = self._last
        self._last = time
        return Reading(
            time=time,
            retention=time,
            wall=time,
            monotonic=monotonic,
            boot=self._clocks.boot,
        )

    @staticmethod
    def save(connection: Connection, reading: Reading) -> None:
        """Store nothing: the server knows the time."""


@runtime_checkable
class HasClock(Protocol):
    """A connection to an engine that has a clock of its own."""

    @property
    def clock(self) -> StoreClock:
        """The clock of the engine."""


def load_clock(connection: Connection) -> StoreClock:
    """Return the clock of the database of a connection."""
    if isinstance(connection, HasClock):
        return connection.clock
    return FileClock.load(connection)
